"""What runs inside the sandbox: from a document's bytes to its text. Sent there as source, never run on the host.

It stands on its own, without the rest of the package. What it prints is text; why it failed is its last line of stderr.
"""

import base64
import io
import re
import resource
import sys

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{1,40})", re.IGNORECASE)

# As browsers read them.
_LATIN = dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"), "cp1252")


def decode(content: bytes, charset: str) -> str:
    """Text of bytes whose charset is said, declared in the page, or guessed; what is not in it is replaced."""
    declared = _DECLARED.search(content[:4096])
    # A page whose declaration can be read so is not in UTF-16, whatever it declares.
    said = declared[1].decode("ascii", "replace").lower() if declared else ""
    for name in (charset, "" if said.startswith("utf-16") else said, "utf-8-sig"):
        # The codecs of host names and of Python's own escapes are no charsets, and slow.
        if not name or name.lower().startswith(("idna", "punycode", "raw", "unicode")):
            continue
        try:
            return content.decode(_LATIN.get(name, name), "replace" if name == charset else "strict")
        except (LookupError, UnicodeError):
            continue
    return content.decode("cp1252", "replace")


def html_text(content: bytes, charset: str) -> str:
    """The main text of a page below its title; all of its text where no part is the main one."""
    import lxml.etree
    import lxml.html
    import trafilatura

    # Not trafilatura's own way of reading, which takes a page without <html> for none. UTF-8, whatever it declares.
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        tree = lxml.html.document_fromstring(decode(content, charset).encode("utf-8", "replace"), parser=parser)
    except lxml.etree.ParserError:
        # Nothing but comments, or nothing at all.
        return ""
    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(tree, include_comments=False, favor_recall=True) or trafilatura.html2txt(tree)
    return text if title in ("", text.partition("\n")[0]) else f"{title}\n\n{text}"


def pdf_text(content: bytes, charset: str, limit: int = 1 << 20) -> str:
    """The text of a PDF's pages, until there is enough."""
    import pypdf

    parts: list[str] = []
    for page in pypdf.PdfReader(io.BytesIO(content)).pages:
        parts.append(page.extract_text())
        if sum(map(len, parts)) > limit:
            break
    return "\n\n".join(parts)


def main(kind: str, charset: str, packed: str, seconds: int, start: int, size: int) -> None:
    """Print how many characters a document's text has, and `size` of them from `start`, within `seconds`."""
    # Processor time does not depend on what else the machine does: a page that can be read can be read again.
    # The signal at the soft limit says why it ended, unlike the one at the hard limit.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    content = base64.b64decode(packed)
    try:
        text = {"html": html_text, "pdf": pdf_text, "text": decode}[kind](content, charset)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        sys.stderr.write("\n" + " ".join(reason.split())[:300] + "\n")
        raise SystemExit(1) from None
    text = text.strip()
    sys.stdout.buffer.write(f"{len(text)}\n{text[start : start + size]}".encode("utf-8", "replace"))
