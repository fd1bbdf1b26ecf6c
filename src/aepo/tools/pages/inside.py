"""Makes text of a document's bytes, inside the sandbox. It is sent there as source and never runs on the host.

It imports nothing of the package. It prints the text; if it fails, the last line of stderr says why.
"""

import base64
import codecs
import io
import re
import resource
import sys
import time
from itertools import islice
from operator import itemgetter
from urllib.parse import urldefrag, urljoin, urlsplit

_XML = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';]{1,40})", re.IGNORECASE)
# Codecs by the web's names: supersets that the web uses instead, and encodings that it reads as others or not at all.
_CODECS = {"gbk": "gb18030", "x-user-defined": "cp1252", "replacement": ""}
# These codecs have the additions by Windows, which Python's codecs lack.
_ADDED = {"euc_jp": "euc_jis_2004", "big5hkscs": "cp950"}
_JIS = re.compile(rb"\x1b(\$[@B]|\([BIJ])([^\x1b]*)")
# A Latin letter beside one of another alphabet is a sign that Latin text was read in a wrong encoding.
_MIXED = re.compile(r"[a-zA-Z][\u0370-\u06ff]|[\u0370-\u06ff][a-zA-Z]")
_OTHER = re.compile(r"[\u0370-\u06ff]")

# Matches control characters and lone surrogates, which no text has.
_NO_TEXT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LINK_TEXT, _LINK_ADDRESS, _LINK_LINE = 80, 300, 100
_LONGEST_CELL = 300
_WIDEST = 50
# Elements to fill in, to play or to draw, and those written for machines.
_UNREAD = ("annotation", "annotation-xml", "audio", "button", "canvas", "datalist", "object", "script", "select")
_UNREAD += ("style", "svg", "template", "textarea", "title", "video")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("ol", "ul", "menu", "dir")
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "header", "hr", "html", "iframe",
    "legend", "li", "main", "nav", "noframes", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th",
    "thead", "tr", *_HEADINGS, *_LISTS,
))  # fmt: skip
_STYLE = re.compile(r"(?:^|;)\s*(display|visibility)\s*:\s*([\w-]*)\s*(!?)")
# Landmarks, by the rules that browsers use for screen readers.
_MAIN = "descendant::*[self::main or @role='main'][not(ancestor::main or ancestor::*[@role='main'])]"
_FRAME = (
    "descendant::*[self::nav or contains(' alertdialog banner complementary contentinfo dialog navigation search ',"
    " concat(' ', @role, ' ')) or (self::header or self::footer or self::aside)"
    " and not(ancestor::article or ancestor::main or ancestor::section or ancestor::*[@role='main'])]"
)


def decode(content: bytes, charset: str, kind: str = "") -> str:
    """Decode bytes as browsers do; each broken sequence is replaced.

    The encoding is found in this order: a byte order mark, the server's charset, the document's declaration, UTF-8 if
    it fits, a detector.

    Args:
        content: The bytes.
        charset: The server's charset, or "".
        kind: "html", "xml" or "text"; by default HTML if it begins with "<".
    """
    kind = kind or ("html" if content.lstrip()[:1] == b"<" else "text")
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return content[len(mark) :].decode(name, "replace")
    name = _codec(charset)
    if name.startswith("utf-16") and b"\0" not in content and _is_utf8(content):
        name = ""
    if not name and kind != "text":
        name = _codec(_declared(content, kind))
        # In UTF-16 the declaration could not have been read, so it is wrong.
        name = "utf-8" if name.startswith("utf-16") else name
    name = name or _detected(content)
    if name == "iso2022_jp":
        # EUC-JP has the same characters, and the additions by Windows.
        content = _JIS.sub(_in_euc, content)
        name = "euc_jp"
    return content.decode(name, "web")


def _in_euc(part: re.Match[bytes]) -> bytes:
    """Convert a part from ISO-2022-JP to EUC-JP: set the eighth bit, and put a mark before half-width kana."""
    if part[1] in (b"(B", b"(J"):
        return part[2]
    raised = bytes(byte | 0x80 if byte > 0x20 else byte for byte in part[2])
    return b"".join(b"\x8e%c" % byte for byte in raised) if part[1] == b"(I" else raised


def _codec(label: str) -> str:
    """Return Python's name of the encoding that a label means on the web, or ""."""
    import webencodings

    found = webencodings.lookup(label)
    return _CODECS.get(found.name, found.codec_info.name) if found else ""


def _declared(content: bytes, kind: str) -> str:
    """Find the label in the XML declaration or in a meta element, but not in comments and scripts; "" if none."""
    import lxml.etree
    import lxml.html

    if xml := _XML.match(content):
        return xml[1].decode("ascii")
    if kind == "xml" or b"charset" not in content.lower():
        return ""
    try:
        tree = lxml.html.document_fromstring(content, parser=lxml.html.HTMLParser(encoding="iso-8859-1"))
    except lxml.etree.ParserError:
        return ""
    for meta in tree.iter("meta"):
        label = meta.get("charset", "")
        if not label and meta.get("http-equiv", "").strip().lower() == "content-type":
            label = (_CHARSET.findall(meta.get("content", "")) or [""])[0]
        if label:
            return label[:40]
    return ""


def _is_utf8(content: bytes) -> bool:
    """Tell whether at least half of the characters beyond ASCII are valid UTF-8."""
    text = re.sub(r"[\0-\x7f]+", "", content.decode("utf-8", "replace"))
    return len(text) >= 2 * text.count("\ufffd")


def _detected(content: bytes) -> str:
    import chardet

    if b"\x1b" not in content and _is_utf8(content):
        return "utf-8"
    # Mark-up does not help to detect the language, so it is removed.
    text = content if b"\x1b" in content else re.sub(rb"<[^<>]*>", b" ", content)
    name = chardet.detect(text, encoding_era=chardet.EncodingEra.MODERN_WEB)["encoding"] or "cp1252"
    shown = text[:100_000].decode(name, "replace")
    mixed = len(_MIXED.findall(shown)) * 4 > len(_OTHER.findall(shown))
    return "cp1252" if mixed else _codec(name) or codecs.lookup(name).name


def _broken(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    at = error.start
    if error.encoding == "gb18030" and error.object[at] == 0x80:
        return "€", at + 1
    if error.encoding in _ADDED:
        try:
            return error.object[at : at + 2].decode(_ADDED[error.encoding]), at + 2
        except UnicodeDecodeError:
            pass
    return "\ufffd", error.end


codecs.register_error("web", _broken)


def html_text(content: bytes, charset: str, url: str = "") -> tuple[str, list[str]]:
    """Return the text of a page and its links. The title comes first, then the main part, then the parts around it.

    Links in the parts around (menus, heads, feet) are not repeated in the text.
    """
    import lxml.etree
    import lxml.html

    # The text is encoded again below, so the parser must read UTF-8 whatever the page declares.
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    text = _NO_TEXT.sub("", decode(content, charset, "html"))
    try:
        tree = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except lxml.etree.ParserError:
        # The page is empty or has only comments.
        return "", []
    title = " ".join((tree.findtext(".//title") or "").split())
    for element in tree.xpath("//*[@hidden or @style or self::dialog]"):
        if element.tag not in ("html", "body") and _hidden(element):
            element.drop_tree()
    for button in tree.xpath(" | ".join(f"//{heading}/button" for heading in _HEADINGS)):
        # Such a button opens the text below the heading, so its words are the heading.
        button.tag = "span"
    lxml.etree.strip_elements(tree, *_UNREAD, with_tail=False)
    main, around = _parted(tree)
    lead = links(tree, (main, around), url)
    text = "\n".join(line for element in main for line in lines(element)).strip()
    rest = "\n".join(line for element in around for line in lines(element, menus=not text)).strip()
    text = "\n\n".join(part for part in (text, rest) if part)
    return (text if title in ("", text.partition("\n")[0]) else f"{title}\n\n{text}"), lead


def _hidden(element) -> bool:
    """Tell whether a browser hides an element, by its attributes alone; style sheets are not read."""
    if element.tag == "dialog" and "open" not in element.attrib:
        return True
    said = _STYLE.findall(re.sub(r"/\*.*?\*/", "", element.get("style", "")[:2000].lower()))
    # The last value counts, but "!important" ones come before others.
    style = {name: value for name, value, _ in sorted(said, key=itemgetter(2))}
    display = style.get("display", "none" if "hidden" in element.attrib else "")
    return display == "none" or style.get("visibility") in ("hidden", "collapse")


def _parted(tree) -> tuple[list, list]:
    """Split a page into the elements of its main part and those around it; none is inside another."""
    main = [element for element in tree.xpath(_MAIN) if element.text_content().strip()]
    around = tree.xpath(_FRAME)
    for element in [*around, *main]:
        element.drop_tree()
    return (main, [tree, *around]) if main else ([tree], around)


def lines(element, menus: bool = True) -> list[str]:
    """Return the text of an element, one line for each block and for each row of a table.

    List items that hold only a link share a line. Without `menus`, lines that hold only links are left out.
    """
    from lxml.etree import iterwalk

    made = _Lines(menus)
    # `lists` has the item numbers of open lists, `tables` the cells of open tables that span more rows.
    lists, tables = [], [{}]
    walk = iterwalk(element, events=("start", "end"))
    for event, inside in walk:
        tag, starts = inside.tag, event == "start"
        if tag in _BLOCKS:
            made.end()
        if tag in _LISTS:
            lists = [*lists, 0] if starts else lists[:-1]
        elif tag == "table":
            tables = [*tables, {}] if starts else tables[:-1]
        elif tag == "li" and lists:
            lists[-1] += starts
            sign = f"{lists[-1]}. " if inside.getparent().tag == "ol" else "- "
            made.mark = "  " * (len(lists) - 1) + sign if starts else ""
        elif tag in _HEADINGS:
            made.mark = (made.mark or "\n") if starts else ""
        elif tag == "a" and not inside.get("href", "").startswith(("mailto:", "tel:")):
            made.turn_link(starts)
        elif tag in ("del", "s", "strike"):
            made.write("~~")
        if not starts:
            made.write("" if inside is element else inside.tail or "")
        elif tag == "pre":
            made.add(_NO_TEXT.sub("", inside.text_content()).strip("\n"))
            walk.skip_subtree()
        elif tag == "tr" and (cells := _cells(inside, tables[-1])):
            made.add(_one_line(f"| {' | '.join(cells)} |") if any(cells) else "")
            walk.skip_subtree()
        elif tag == "iframe":
            walk.skip_subtree()
        else:
            made.write(_alternative(inside) if tag == "img" else inside.text or "")
    made.end()
    return made.lines


class _Lines:
    """Collects lines that are written piece by piece.

    Attributes:
        lines: The complete lines.
        mark: The text to put before the next line.
    """

    def __init__(self, menus: bool) -> None:
        self.lines: list[str] = []
        self.mark = ""
        self._menus = menus
        self._menu = ""
        self._parts: list[str] = []
        self._in_link = False
        self._is_menu = True

    def write(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._is_menu = self._is_menu and (self._in_link or not re.search(r"\w", text))

    def turn_link(self, starts: bool) -> None:
        self._in_link = starts
        # A blank separates two links side by side, because they are two words.
        self._parts.append(" " if starts and self._parts[-1:] == [""] else "")

    def end(self) -> None:
        line, is_menu = _one_line("".join(self._parts)), self._is_menu
        self._parts, self._is_menu = [], True
        if is_menu and line and self._menu == self.mark != "":
            self.lines[-1] += f"; {line}"
        elif line and (self._menus or not is_menu):
            menu = self.mark if is_menu and self.mark.endswith("- ") else ""
            self.add(line)
            self._menu = menu

    def add(self, text: str) -> None:
        """Add one or more complete lines."""
        self.lines += (self.mark + text).split("\n") if text else []
        self.mark = self._menu = ""


def _one_line(text: str) -> str:
    return " ".join(_NO_TEXT.sub("", text).split())


def _alternative(picture) -> str:
    """Return the text for a picture within a text, such as a formula or a sign."""
    block = next(picture.iterancestors(*_BLOCKS), None)
    return picture.get("alt", "") if block is not None and block.tag in ("p", "dd", *_HEADINGS) else ""


def _cells(row, below: dict[int, tuple[int, str]]) -> list[str]:
    """Return the texts of a row's cells; none if a cell is long. A cell that spans rows is repeated in each.

    Args:
        row: The row.
        below: For each column, how often the text of a cell above is repeated, and the text; changed for the next row.
    """
    own = [*row.iterchildren("td", "th")][:_WIDEST]
    if row.find(".//table") is not None or len(own) + len(below) < 2:
        # Such a table is used for the layout of the page.
        return []
    cells: list[str] = []
    for cell in (*own, None):
        while len(cells) in below:
            left, text = below.pop(len(cells))
            if left > 1:
                below[len(cells)] = left - 1, text
            cells.append(text)
        if cell is None:
            break
        text = _words(cell).replace("|", "¦")
        down = _span(cell, "rowspan")
        for column in range(min(_span(cell, "colspan"), _WIDEST - len(cells))):
            if down > 1:
                below[len(cells)] = down - 1, text
            cells.append("" if column else text)
    return [] if any(len(text) > _LONGEST_CELL for text in cells) else cells


def _span(cell, name: str) -> int:
    text = cell.get(name, "").strip()
    return max(1, min(int(text[:5]), 1000)) if text[:5].isdecimal() else 1


def _words(element) -> str:
    """Return the text of an element on one line."""
    return _one_line(" ".join(lines(element)))


def links(tree, groups: tuple[list, list], url: str) -> list[str]:
    """Return one line for each web address that a page links to.

    Args:
        tree: The page.
        groups: Its elements in two groups. Links of the first group come first; in a group, those of menus come last.
        url: The page's address.
    """
    base = next((tag.get("href") for tag in tree.iter("base") if tag.get("href")), "")
    base = _joined(url, base) or url
    found: dict[str, str] = {}
    for group in groups:
        leading = [link for part in group for link in part.iter("a", "area", "frame", "iframe", "meta")]
        for element in sorted(leading, key=_in_menu):
            target = element.get("href") or element.get("src") or ""
            if element.get("http-equiv", "").strip().lower() == "refresh":
                target = element.get("content", "").partition("=")[2].strip(" \"'")
            address = _joined(base, target) if target else ""
            if address and len(address) <= _LINK_ADDRESS and address != urldefrag(url)[0]:
                found[address] = found.get(address) or _name(element)
    return [f"- {address}" if text in ("", address) else f"- {text}: {address}" for address, text in found.items()]


def _in_menu(link) -> bool:
    """Tell whether a link is the only content of a list item."""
    item = next(link.iterancestors("li"), None)
    if link.tag != "a" or item is None or len([*islice(item.iter("a"), 2)]) == 2:
        return False
    return item.text_content().strip() == link.text_content().strip()


def _name(link) -> str:
    """Return the name of a link."""
    pictures = " ".join(picture.get("alt") or "" for picture in link.iter("img", "area"))
    names = [_words(link), pictures, *(link.get(name) for name in ("aria-label", "title", "name"))]
    text = next((" ".join(name.split()) for name in names if name and name.strip()), "")
    return text if len(text) <= _LINK_TEXT else f"{text[:_LINK_TEXT]}..."


def _joined(base: str, target: str) -> str:
    """Join a target to the base address; "" if the result is no web address."""
    path, mark, rest = re.sub(r"[\t\r\n]", "", target).strip().partition("?")
    try:
        parts = urlsplit(urldefrag(urljoin(base, path.replace("\\", "/") + mark + rest))[0])
    except ValueError:
        return ""
    return re.sub(r"\s", "%20", parts.geturl()) if parts.scheme in ("http", "https") and parts.netloc else ""


class Unreadable(Exception):
    """An error whose message is shown unchanged."""


def pdf_text(content: bytes, page: int, size: int, seconds: float) -> tuple[str, int, int]:
    """Return the text of as many pages of a PDF as fit, at least `page`; the last of them; the number of pages."""
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is protected by a password")
    pages = reader.pages
    if not 0 < page <= len(pages):
        return "", page, len(pages)
    text, last = pages[page - 1].extract_text().strip(), page
    while last < len(pages) and len(text) < size and time.process_time() < seconds / 2:
        try:
            more = pages[last].extract_text().strip()
        except Exception:
            # The error is reported when that page itself is asked for.
            break
        if len(text) + len(more) + 2 > size:
            break
        text, last = f"{text}\n\n{more}".strip(), last + 1
    return text, last, len(pages)


def chunks(lines: list[str], most: int) -> list[list[str]]:
    """Split lines into groups of at most `most` lines and `most * _LINK_LINE` characters."""
    groups: list[list[str]] = []
    room = 0
    for line in lines if most else ():
        if not groups or len(groups[-1]) == most or len(line) > room:
            groups.append([])
            room = most * _LINK_LINE
        groups[-1].append(line)
        room -= len(line)
    return groups


def main(
    kind: str, charset: str, url: str, packed: str, seconds: int, page: int, part: int, size: int, most_links: int
) -> None:
    """Print a part of a document's text and of its links, within `seconds` of processor time.

    The first line has four numbers: parts, the last page shown, pages (both 0 if there are none), and characters of the
    text that follows. The links come after the text.
    """
    # The limit is on processor time, which does not depend on other programs: a page that was read once can be read
    # again. The signal at the soft limit shows why it ended; SIGKILL at the hard limit would not.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    content = base64.b64decode(packed)
    last = pages = 0
    found: list[str] = []
    try:
        if kind == "pdf":
            text, last, pages = pdf_text(content, page, size, seconds)
        elif kind == "html":
            text, found = html_text(content, charset, url)
        else:
            text = decode(content, charset, kind)
    except Exception as error:
        reason = str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
        sys.stderr.write("\n" + " ".join(reason.split())[:300] + "\n")
        raise SystemExit(1) from None
    text, groups = text.strip(), chunks(found, most_links)
    parts = max(-(-len(text) // size), len(groups))
    shown = text[(part - 1) * size : part * size]
    behind = "\n".join(groups[part - 1]) if part <= len(groups) else ""
    sys.stdout.buffer.write(f"{parts} {last} {pages} {len(shown)}\n{shown}{behind}".encode("utf-8", "replace"))
