"""A server's output as lines, of bounded size whatever it writes."""

from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.mcp.stdio import Line, Lines, _id_of


@given(st.lists(st.binary(max_size=8)), st.integers(1, 12))
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes], limit: int) -> None:
    lines = Lines(limit)
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    whole = b"".join(chunks).split(b"\n")[:-1]
    assert [line.cut for line in found] == [len(text) > limit for text in whole]
    for line, text in zip(found, whole, strict=True):
        assert text.startswith(line.text) and text.endswith(line.tail)
        assert line.cut or line.text == text


def test_a_line_without_end_takes_no_more_room_than_the_limit() -> None:
    lines = Lines(1000)
    for _ in range(1000):
        assert list(lines.feed(b"x" * 500)) == []
    assert list(lines.feed(b"yz\nnext\n")) == [Line(b"x" * 512, b"x" * 510 + b"yz", cut=True), Line(b"next")]


def test_the_request_that_a_cut_reply_answers_is_found_at_either_end() -> None:
    assert _id_of(Line(b'{"jsonrpc": "2.0", "id": 17, "result": {"content": [{"id": 1}', b'"id": 2}', cut=True)) == 17
    assert _id_of(Line(b'{"id":"17","jsonrpc":"2.0","result":{"a', b"", cut=True)) == 17
    assert _id_of(Line(b'{"result": {"id": 1, "content": "', b'{"id": 2}}, "id": 17}', cut=True)) == 17
    assert (
        _id_of(Line(b'{"jsonrpc": "2.0", "method": "notifications/message", "params": {"id": 1}', b"", cut=True))
        is None
    )
    assert _id_of(Line(b"no JSON at all", b"", cut=True)) is None
