"""From documents to texts, in real sandboxes: honest documents and hostile ones."""

import io
import re
import zlib
from pathlib import Path

import anyio
import pypdf
import pytest

from aepo.tools.pages.body import ContentKind
from aepo.tools.pages.extract import Extract, extract, versions
from aepo.tools.pages.fetch import FetchedDocument
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.choose import choose
from aepo.types import ToolError


def read(
    content: bytes,
    kind: ContentKind,
    sandbox: Sandbox,
    charset: str = "",
    page: int = 1,
    part: int = 1,
    size: int = 4000,
    links: int = 0,
) -> Extract:
    document = FetchedDocument("http://site.test/a/b?c", kind, charset, content)
    return anyio.run(extract, document, sandbox, page, part, size, links)


def page(body: str, title: str = "A title") -> bytes:
    return f"<html><head><title>{title}</title></head><body>{body}</body></html>".encode()


def pdf(content: bytes, *, pages: int = 1) -> bytes:
    """A PDF whose pages all draw the same content."""
    packed = zlib.compress(content)
    font = b"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    kids = b" ".join(b"%d 0 R" % (4 + i) for i in range(pages))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages)]
    objects.append(b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(packed), packed))
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 3 0 R/Resources%s>>" % font] * pages
    made, offsets = b"%PDF-1.4\n", []
    for number, inside in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj%s endobj\n" % (number, inside)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, trailer)


def test_the_main_text_of_a_page_comes_below_its_title(reader: Sandbox) -> None:
    text = "The main text says something about the world. " * 10
    body = f"<nav><a href='/'>Home</a></nav><article><p>{text}</p></article><script>var x = 1</script>"
    assert read(page(body), ContentKind.HTML, reader).text == f"A title\n\n{text.strip()}"


def test_a_page_without_a_main_text_gives_all_of_it(reader: Sandbox) -> None:
    assert read(page("<p>Hello"), ContentKind.HTML, reader).text == "A title\n\nHello"


@pytest.mark.parametrize(
    "content",
    [
        *(
            "<p>hello",
            "hello",
            "<h1>hello",
            "<!-- c -->\n<div>hello</div>",
            "<?xml version='1.0' encoding='ascii'?><p>hello",
        ),
        *("<!doctype html><meta charset=utf-16><p>hello", "\n\n<body>hello", "<frameset><noframes>hello"),
    ],
)
def test_a_page_that_is_not_written_in_full_is_read(reader: Sandbox, content: str) -> None:
    assert read(content.encode(), ContentKind.HTML, reader).text == "hello"


@pytest.mark.parametrize("content", ["", " \n", "<html></html>", "<!-- c -->", "<title></title><script>x</script>"])
def test_a_page_without_text_has_none(reader: Sandbox, content: str) -> None:
    assert read(content.encode(), ContentKind.HTML, reader).parts == 0


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        ("Zürich – 北京".encode(), ""),
        ("Zürich – 北京".encode(), "utf-8"),
        ("Zürich – 北京".encode("gb18030"), "gb18030"),
        ("Zürich – 北京".encode("utf-16"), "utf-16"),
        ("\ufeffZürich – 北京".encode(), ""),
        ("Zürich – 北京".encode(), "no-such-charset"),
        *(
            ("Zürich – 北京".encode(), name)
            for name in ("idna", "Punycode", "zip", "hex", "undefined", "unicode_escape", "../x")
        ),
    ],
)
def test_text_comes_as_it_is_in_its_charset(reader: Sandbox, content: bytes, charset: str) -> None:
    assert read(content, ContentKind.TEXT, reader, charset) == Extract("Zürich – 北京")


def test_a_charset_is_read_from_the_page_and_guessed_at_last(reader: Sandbox) -> None:
    declared = b"<html><head><meta charset=koi8-r><title>" + "Москва".encode("koi8-r") + b"</title></head><body><p>x"
    assert read(declared, ContentKind.HTML, reader).text.startswith("Москва")
    assert read("Zürich".encode("latin-1"), ContentKind.TEXT, reader).text == "Zürich"
    assert read("€ 5".encode("cp1252"), ContentKind.TEXT, reader, "iso-8859-1").text == "€ 5"


def test_a_part_is_taken_and_all_are_counted(reader: Sandbox) -> None:
    assert read(b"0123456789", ContentKind.TEXT, reader, part=2, size=4) == Extract("4567", parts=3)
    assert read(b"0123456789", ContentKind.TEXT, reader, part=10, size=4) == Extract("", parts=3)
    longest = read("🦜".encode() * 100_000, ContentKind.TEXT, reader, size=10**9)
    assert longest == Extract("🦜" * 16_000, parts=7)


def test_a_pdf_is_read_page_after_page(reader: Sandbox) -> None:
    found = read(pdf(b"BT /F 12 Tf 10 50 Td (Hello world) Tj ET", pages=2), ContentKind.PDF, reader)
    assert found.text == "Hello world\n\nHello world"


HELLO = b"BT /F 12 Tf 10 50 Td (Hello world) Tj ET"


def test_a_page_of_a_pdf_is_read_without_those_before_it_and_with_those_behind_it_that_fit(reader: Sandbox) -> None:
    heavy = HELLO + b"\nBT /F 12 Tf 1 1 Td ( ) Tj ET" * 2000
    assert read(pdf(heavy, pages=300), ContentKind.PDF, reader, page=300) == Extract("Hello world", "", 1, 300, 300)
    several = read(pdf(HELLO, pages=9), ContentKind.PDF, reader, page=4, size=40)
    assert several == Extract("Hello world\n\nHello world\n\nHello world", "", 1, 9, 6)
    assert read(pdf(HELLO, pages=9), ContentKind.PDF, reader, page=2, part=2, size=8) == Extract("rld", "", 2, 9, 2)
    assert read(pdf(HELLO, pages=9), ContentKind.PDF, reader, page=10) == Extract("", "", 0, 9, 10)
    assert read(pdf(b"", pages=9), ContentKind.PDF, reader, page=2) == Extract("", "", 0, 9, 9)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_protected_pdf_is_read_if_it_asks_for_no_password(reader: Sandbox, algorithm: str) -> None:
    def protected(user: str) -> bytes:
        writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(pdf(HELLO))))
        writer.encrypt(user, "owner", algorithm=algorithm)
        made = io.BytesIO()
        writer.write(made)
        return made.getvalue()

    assert read(protected(""), ContentKind.PDF, reader).text == "Hello world"
    with pytest.raises(ToolError, match=r"^the page could not be read: it is protected by a password$"):
        read(protected("secret"), ContentKind.PDF, reader)


def test_links_come_with_the_text_a_part_at_a_time(reader: Sandbox) -> None:
    body = page("<p>Text.</p>" + "".join(f"<a href=/{number}>n{number}</a> " for number in range(5)), title="")
    lines = [f"- n{number}: http://site.test/{number}" for number in range(5)]
    first = read(body, ContentKind.HTML, reader, links=2)
    assert (first.links, first.parts) == ("\n".join(lines[:2]), 3) and first.text.startswith("Text.")
    assert read(body, ContentKind.HTML, reader, part=3, links=2) == Extract("", lines[4], 3)
    assert read(body, ContentKind.HTML, reader).links == ""


def test_an_empty_document_has_no_text(reader: Sandbox) -> None:
    for kind in (ContentKind.HTML, ContentKind.TEXT):
        assert read(b"", kind, reader).parts == 0


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7\n garbage", b"\x00\xff" * 5000, b"%PDF-1.4\ntrailer<</Root 1 0 R>>"]
)
def test_a_pdf_that_is_none_is_told_in_one_line(reader: Sandbox, content: bytes) -> None:
    with pytest.raises(ToolError, match=r"^the page could not be read: \S[^\n]*$"):
        read(content, ContentKind.PDF, reader)


def test_a_parser_that_runs_long_is_stopped(reader: Sandbox) -> None:
    with pytest.raises(ToolError, match=r"^the page could not be read: finding its text takes more than 3 s$"):
        read(pdf(b"BT /F 12 Tf 1 1 Td (x) Tj ET\n" * 300_000), ContentKind.PDF, reader)


@pytest.mark.parametrize(
    "content",
    [
        b"<table>" + b"<tr><td>cell</td><td>other</td></tr>" * 20_000 + b"</table>",
        b"<table>" + b"<tr><td>cell<td>other" * 150_000,
        b"<div>" * 100_000 + b"deep" + b"</div>" * 100_000,
        b"<p>" + b"&amp" * 200_000 + b"<!--" * 100_000,
    ],
)
def test_a_hostile_page_is_read_or_told(reader: Sandbox, content: bytes) -> None:
    try:
        found = read(content, ContentKind.HTML, reader)
    except ToolError as error:
        assert re.fullmatch(r"the page could not be read: .*(more than 3 s|memory)", str(error))
    else:
        assert len(found.text) <= 4000


@pytest.mark.parametrize(
    "content",
    [
        pdf(b" " * (200 << 20)),
        pdf(b"BT ET").replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]"),
        pdf(b"BT ET").replace(b"trailer<<", b"trailer<</Prev 9 "),
        pdf(b"BT ET").replace(b"/Count 1", b"/Count 999999999"),
        b"%PDF-1.4\n" + b"<<" * 200_000,
    ],
    ids=["flate bomb", "page tree in a circle", "table before itself", "count", "nested"],
)
def test_a_pdf_bomb_is_read_or_told_and_the_next_document_is_read(reader: Sandbox, content: bytes) -> None:
    try:
        assert len(read(content, ContentKind.PDF, reader).text) <= 4000
    except ToolError as error:
        assert re.fullmatch(r"the page could not be read: \S[^\n]*", str(error))
    assert read(b"fine", ContentKind.TEXT, reader).text == "fine"


@pytest.mark.parametrize("kind", ContentKind)
def test_a_document_of_another_kind_than_said_is_read_or_told(reader: Sandbox, kind: ContentKind) -> None:
    for content in (b"\x89PNG\r\n" + bytes(range(256)) * 100, b"%PDF-1.4", page("<p>hi")):
        try:
            assert len(read(content, kind, reader).text) <= 4000
        except ToolError as error:
            assert str(error).startswith("the page could not be read: Pdf")


class Scripted:
    """A sandbox whose results are written down."""

    name = "scripted"

    def __init__(self, *results: SandboxResult) -> None:
        self.results = list(results)

    async def run(self, code: str, timeout: float) -> SandboxResult:
        return self.results.pop(0)


DOWN = SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, stderr="no namespaces")


def test_a_failure_of_the_sandbox_is_tried_once_more_and_not_blamed_on_the_page() -> None:
    fine = SandboxResult(SandboxStatus.OK, "1 0 0 2\nhi", "", 0)
    assert read(b"hi", ContentKind.TEXT, Scripted(DOWN, fine)) == Extract("hi")
    with pytest.raises(ToolError, match=r"^pages cannot be read now; go on without them$"):
        read(b"hi", ContentKind.TEXT, Scripted(DOWN, DOWN))


@pytest.mark.parametrize("printed", ["", "hi", "1\nhi", "-1 0 0 2\nhi", "9999999999999 0 0 2\nhi", "٣ 0 0 2\nhi"])
def test_a_parser_that_was_taken_over_is_not_believed(printed: str) -> None:
    with pytest.raises(ToolError, match="printed something else"):
        read(b"", ContentKind.TEXT, Scripted(SandboxResult(SandboxStatus.OK, printed, "", 0)))


@pytest.mark.parametrize(
    ("status", "returncode", "stderr", "why"),
    [
        (SandboxStatus.KILLED, -11, "", "its parser crashed, or used too much memory"),
        (SandboxStatus.KILLED, -24, "", "finding its text takes more than 3 s"),
        (SandboxStatus.TIMEOUT, None, "", "finding its text takes more than 3 s"),
        (SandboxStatus.OUTPUT_LIMIT, None, "", "its parser crashed, or used too much memory"),
        (SandboxStatus.ERROR, 1, "noise\nPdfReadError: no root", "PdfReadError: no root"),
        (SandboxStatus.MEMORY_LIMIT, 1, "MemoryError", "finding its text needs too much memory"),
        (SandboxStatus.ERROR, 1, "", "its parser failed"),
    ],
)
def test_how_a_parser_ended_is_told(status: SandboxStatus, returncode: int | None, stderr: str, why: str) -> None:
    with pytest.raises(ToolError) as caught:
        read(b"", ContentKind.PDF, Scripted(SandboxResult(status, "", stderr, returncode)))
    assert str(caught.value) == f"the page could not be read: {why}"


def test_a_sandbox_says_which_parsers_it_has_and_one_without_them_what_to_install(reader: Sandbox) -> None:
    assert re.fullmatch(r"lxml \d\S*, pypdf \d\S*, chardet \d\S*, webencodings \d\S*", versions(reader))
    with pytest.raises(ImportError, match=r"No module named 'chardet'; pip install 'aepo-rl\[pages\]'"):
        versions(choose(reader.name))


def test_what_runs_inside_stands_on_its_own() -> None:
    from aepo.tools.pages import inside

    assert "aepo" not in Path(inside.__file__).read_text()
