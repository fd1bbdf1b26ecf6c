"""A server's output as lines, of bounded size whatever it writes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import JSONRPCRequest

from aepo.tools.mcp.life import TOO_LONG
from aepo.tools.mcp.lines import Line, LineReader, Reader
from aepo.tools.mcp.messages import NO_RESULT, UNREADABLE, answered


@given(st.lists(st.binary(max_size=8)), st.integers(1, 12))
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes], limit: int) -> None:
    lines = LineReader(limit)
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    whole = b"".join(chunks).split(b"\n")[:-1]
    assert [line.cut for line in found] == [len(text) > limit for text in whole]
    for line, text in zip(found, whole, strict=True):
        assert text.startswith(line.text) and text.endswith(line.tail)
        assert line.cut or line.text == text


def test_a_line_without_end_takes_no_more_room_than_the_limit() -> None:
    lines = LineReader(1000)
    for _ in range(1000):
        assert list(lines.feed(b"x" * 500)) == []
    assert list(lines.feed(b"yz\nnext\n")) == [Line(b"x" * 512, b"x" * 510 + b"yz", cut=True), Line(b"next")]


def test_the_request_that_a_cut_reply_answers_is_found_at_either_end() -> None:
    assert answered(b'{"jsonrpc": "2.0", "id": 17, "result": {"content": [{"id": 1}', b'"id": 2}') == 17
    assert answered(b'{"id":"17","jsonrpc":"2.0","result":{"a', b"") == 17
    assert answered(b'{"result": {"id": 1, "content": "', b'{"id": 2}}, "id": 17}') == 17
    assert answered(b'{"jsonrpc": "2.0", "method": "notifications/message", "params": {"id": 1}', b"") is None
    assert answered(b"no JSON at all", b"") is None


TEXT = {"content": [{"type": "text", "text": "x"}]}
REPLY = {"jsonrpc": "2.0", "id": 7, "result": TEXT}
LINE = json.dumps(REPLY).encode()


def read(data: bytes) -> list[dict[str, Any]]:
    """What a session is given of the output, while request 7 waits."""
    reader, lines = Reader(), LineReader(1 << 20)
    reader.sent(JSONRPCRequest(jsonrpc="2.0", id=7, method="tools/call"))
    return [
        one.message.model_dump(exclude_unset=True, exclude={"jsonrpc"})
        for line in lines.feed(data + b"\n")
        for one in reader.read(line)
    ]


def failed(words: str) -> list[dict[str, Any]]:
    return [{"id": 7, "error": {"code": -32603, "message": words}}]


@pytest.mark.parametrize(
    "data",
    [
        LINE,
        LINE + b"\r",
        b"\xef\xbb\xbf" + LINE,
        json.dumps(REPLY, indent=1).encode(),
        json.dumps(REPLY, indent="\t").encode().replace(b"\n", b"\r\n"),
        b"[" + LINE + b"]",
        b"starting {server} ... " + LINE,
        b'{"level": "info", "id": 7}\n' + LINE,
        b"log\n\n{\n" + LINE,
        b"Content-Length: 90\r\n\r\n" + LINE + b"Content-Length: 90",
        LINE.replace(b"7", b"7.0"),
        LINE.replace(b'"jsonrpc": "2.0", ', b""),
        LINE.replace(b'"2.0"', b'"1.0"'),
    ],
)
def test_a_reply_is_found_however_it_is_written(data: bytes) -> None:
    assert read(data) == [{"id": 7, "result": TEXT}]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (LINE.replace(b'"x"', b'"a \\ud83c"'), "a \ufffd"),
        (LINE.replace(b'"x"', b'"\\udf78 b \\ud83d\\ude00"'), "\ufffd b 😀"),
        (LINE.replace(b'"x"', b'"a\xff"'), "a\ufffd"),
        (LINE.replace(b'"x"', b'"a\tb\x00"'), "a\tb\x00"),
    ],
)
def test_a_text_with_broken_characters_is_read(data: bytes, text: str) -> None:
    assert read(data) == [{"id": 7, "result": {"content": [{"type": "text", "text": text}]}}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"jsonrpc": "2.0", "id": 7, "result": {"content": [', UNREADABLE),
        (b'{"jsonrpc": "2.0", "id": 7, "result": ' + b"[" * 100_000, UNREADABLE),
        (b'{"jsonrpc": "2.0", "id": 7, "result": {"a": undefined}}', UNREADABLE),
        (b'{"jsonrpc": "2.0", "id": 7, "result": {"text": "two\nlines"}}', UNREADABLE),
        (b'{\n "jsonrpc": "2.0",\n "id": 7,\n "result": {"a": undefined}\n}', UNREADABLE),
        (b'{"jsonrpc": "2.0", "id": 7, "result": "' + b"x" * (2 << 20), TOO_LONG),
        (b'{"jsonrpc": "2.0", "id": 7, "result": "words"}', NO_RESULT),
        (b'{"jsonrpc": "2.0", "id": 7, "result": null}', NO_RESULT),
        (b'{"jsonrpc": "2.0", "id": 7}', NO_RESULT),
        (b'{"jsonrpc": "2.0", "id": 7, "error": "went wrong"}', "went wrong"),
        (b'{"jsonrpc": "2.0", "id": 7, "error": {"code": "E1", "message": "went wrong"}}', "went wrong"),
        (b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "went wrong"}}', "went wrong"),
    ],
)
def test_a_reply_that_is_none_answers_its_request_in_words(data: bytes, words: str) -> None:
    assert read(data) == failed(words)


@pytest.mark.parametrize(
    "data",
    [b"hello", b'{"id": 7}', b'{"a": 1}', b"{", b"[]", b"3", b'{"jsonrpc": "2.0", "result": {}}', b"{" * 10_000,
     b'{"error": "of a log"}', b'{"jsonrpc": "2.0", "method": "m", "params": {"id": 7, "result"'],
)  # fmt: skip
def test_other_lines_answer_nothing(data: bytes) -> None:
    assert read(data) == []
    assert read(data + b"\n" + LINE) == [{"id": 7, "result": TEXT}]


@given(
    st.lists(
        st.sampled_from(
            [LINE, b"{", b"}", b'"id": 7', b",", b"\n", b"[", b"\xef\xbb\xbf", b'{"a":', b"\\ud83c", b"\xff"]
        )
    )
)  # type: ignore[misc]
def test_no_output_ends_the_reading(pieces: list[bytes]) -> None:
    for message in read(b"".join(pieces)):
        assert message["id"] == 7
