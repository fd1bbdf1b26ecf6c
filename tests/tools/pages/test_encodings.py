"""Bytes as browsers read them: marks, headers, declarations, detection, and what is broken, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("chardet")
pytest.importorskip("webencodings")

from aepo.tools.pages.inside import decode

ZH, JA, KO, RU = (
    "前总理朱镕基在北京会见了记者",
    "①東京都の人口は㈱日本データによる",
    "똠방각하 서울특별시 인구",
    "Население Москвы",
)
EU, TH, TW, HE = (
    "Zürich – 北京, café “naïve”",
    "กรุงเทพมหานครเป็นเมืองหลวง",
    "香港嘅人口係七百萬 㗎",
    "ירושלים היא בירת ישראל",
)
BOM = b"\xef\xbb\xbf"


def page(text: str, codec: str, meta: str = "", before: str = "") -> bytes:
    return f"{before}<html><head>{meta}<title>t</title></head><body><p>{text}</p></body></html>".encode(codec)


def meta(label: str) -> str:
    return f"<meta charset={label}>"


def equiv(label: str, name: str = "Content-Type") -> str:
    return f'<meta http-equiv="{name}" content="text/html; charset={label}">'


SCRIPT, COMMENT = "<script>var s = '<meta charset=koi8-r>'</script>", "<!-- <meta charset=koi8-r> -->"
LONG = f"<!-- {'x' * 9000} --><script>{'y' * 90_000}</script>"

READ = {
    # The label of an encoding means the web's superset of it.
    "gb2312 with a character of GBK": (page(ZH, "gbk", meta("gb2312")), "", ZH),
    "gb2312 in the header": (page(ZH, "gbk"), "gb2312", ZH),
    "gbk": (page(ZH, "gbk", meta("GBK")), "", ZH),
    "gbk with four bytes of gb18030": (page(ZH + "𠀀", "gb18030", meta("gbk")), "", ZH + "𠀀"),
    "x-gbk": (page(ZH, "gbk", meta("x-gbk")), "", ZH),
    "chinese": (page(ZH, "gbk", meta("chinese")), "", ZH),
    "shift_jis with Windows's characters": (page(JA, "cp932", meta("shift_jis")), "", JA),
    "shift_jis in the header": (page(JA, "cp932"), "Shift_JIS", JA),
    "x-sjis": (page(JA, "cp932", meta("x-sjis")), "", JA),
    "windows-31j": (page(JA, "cp932", meta("windows-31j")), "", JA),
    "ms_kanji": (page(JA, "cp932", meta("ms_kanji")), "", JA),
    "euc-jp": (page("東京都の人口", "euc_jp", meta("euc-jp")), "", "東京都の人口"),
    "x-euc-jp with Windows's characters": (page(JA, "euc_jis_2004", meta("x-euc-jp")), "", JA),
    "iso-2022-jp": (page("東京都の人口 x", "iso2022_jp", meta("iso-2022-jp")), "", "東京都の人口 x"),
    "iso-2022-jp with Windows's characters": (b"\x1b$B-!El5~\x1b(B ok", "iso-2022-jp", "①東京 ok"),
    "iso-2022-jp with half-width kana": (b"\x1b(I6E\x1b(B\n\x1b$BEl\n5~\x1b(J ok", "iso-2022-jp", "ｶﾅ\n東\n京 ok"),
    "euc-kr with Windows's characters": (page(KO, "cp949", meta("euc-kr")), "", KO),
    "ks_c_5601-1987": (page(KO, "cp949", meta("ks_c_5601-1987")), "", KO),
    "big5 with Hong Kong's characters": (page(TW, "big5hkscs", meta("big5")), "", TW),
    "big5-hkscs": (page(TW, "big5hkscs", meta("Big5-HKSCS")), "", TW),
    "big5 with Windows's euro": (page("七百萬 €", "cp950", meta("big5")), "", "七百萬 €"),
    "iso-8859-1 with Windows's quotes": (page("the “big” café", "cp1252", meta("iso-8859-1")), "", "the “big” café"),
    "latin1 in the header": (page("€ 5", "cp1252"), "latin1", "€ 5"),
    "us-ascii": (page("café", "cp1252", meta("us-ascii")), "", "café"),
    "iso-8859-9 with Windows's quotes": (page("İstanbul “x”", "cp1254"), "iso-8859-9", "İstanbul “x”"),
    "iso-8859-15": (page("€ œ", "iso8859-15", meta("iso-8859-15")), "", "€ œ"),
    "windows-874": (page(TH, "cp874", meta("windows-874")), "", TH),
    "tis-620 with Windows's dots": (page(TH + "…", "cp874", meta("tis-620")), "", TH + "…"),
    "iso-8859-11": (page(TH, "cp874", meta("iso-8859-11")), "", TH),
    "koi8-r": (page(RU, "koi8-r", meta("koi8-r")), "", RU),
    "koi8-u": (page("Київ", "koi8-u", meta("koi8-u")), "", "Київ"),
    "x-cp1251": (page(RU, "cp1251", meta("x-cp1251")), "", RU),
    "ibm866": (page(RU, "cp866", meta("ibm866")), "", RU),
    "x-mac-cyrillic": (page(RU, "mac_cyrillic", meta("x-mac-cyrillic")), "", RU),
    "macintosh": (page("café", "mac_roman", meta("macintosh")), "", "café"),
    "iso-8859-8-i": (page(HE, "iso8859-8", meta("iso-8859-8-i")), "", HE),
    "x-user-defined in a meta": (page("café", "cp1252", meta("x-user-defined")), "", "café"),
    "unicode-1-1-utf-8": (page(EU, "utf-8", meta("unicode-1-1-utf-8")), "", EU),
    "a label with blanks and capitals": (page(RU, "cp1251", "<meta charset=' Windows-1251 '>"), "", RU),
    # What is said twice.
    "a mark before the header": (BOM + page(EU, "utf-8"), "iso-8859-1", EU),
    "a mark before the meta": (BOM + page(EU, "utf-8", meta("gbk")), "", EU),
    "a mark of UTF-16": (b"\xff\xfe" + page(EU, "utf-16-le"), "", EU),
    "a mark of the other UTF-16": (b"\xfe\xff" + page(EU, "utf-16-be"), "utf-8", EU),
    "the header before the meta": (page(EU, "utf-8", meta("gbk")), "utf-8", EU),
    "an unknown header": (page(EU, "utf-8", meta("utf-8")), "utf8mb4", EU),
    "an unknown header and an unknown meta": (page(RU, "cp1251", meta("none")), "binary", RU),
    "utf-16 in the header": (page(EU, "utf-16-le"), "utf-16", EU),
    "utf-16be in the header": (page(EU, "utf-16-be"), "utf-16be", EU),
    "utf-16 in the header, which is not so": (page(EU, "utf-8", meta("utf-8")), "utf-16", EU),
    "utf-16 in a meta, which cannot be so": (page(EU, "utf-8", meta("utf-16")), "", EU),
    "two metas, the first counts": (page(RU, "cp1251", meta("windows-1251") + meta("utf-8")), "", RU),
    # Where a declaration is one.
    "http-equiv": (page(ZH, "gbk", equiv("gb2312")), "", ZH),
    "HTTP-EQUIV in capitals": (page(RU, "cp1251", equiv("windows-1251").upper()), "", RU),
    "http-equiv of something else": (page(EU, "utf-8", equiv("gbk", "X-Old")), "", EU),
    "content before http-equiv": (
        page(RU, "cp1251", '<meta content="text/html;charset=windows-1251" http-equiv=content-type>'), "", RU,
    ),
    "a meta far behind": (page(ZH, "gbk", meta("gbk"), LONG), "", ZH),
    "a meta in a comment": (page(EU, "utf-8", COMMENT), "", EU),
    "a meta in a comment before the real one": (page(RU, "cp1251", COMMENT + meta("windows-1251")), "", RU),
    "a meta in a script": (page(EU, "utf-8", SCRIPT), "", EU),
    "a meta in an attribute": (page(EU, "utf-8", "<meta name=x content='<meta charset=koi8-r>'>"), "", EU),
    "a meta in the text of a title": (page(EU, "utf-8", "<title>&lt;meta charset=koi8-r></title>"), "", EU),
    "warnings of a program before the page": (page(RU, "cp1251", meta("windows-1251"), "Warning: x\n"), "", RU, "html"),
    "an XML declaration": (b'<?xml version="1.0" encoding="windows-1251"?>' + page(RU, "cp1251"), "", RU),
    "an XML declaration with apostrophes": (b"<?xml version='1.0' encoding='koi8-r' ?>" + page(RU, "koi8-r"), "", RU),
    "a feed": ('<?xml version="1.0" encoding="windows-1251"?><rss>Новости'.encode("cp1251"), "", "Новости", "xml"),
    "a feed that shows a meta": (f"<rss>{meta('koi8-r')} {EU}".encode(), "", EU, "xml"),
    "plain text that shows a meta": (f"{EU} {meta('windows-1251')}".encode(), "", EU, "text"),
    "plain text that is the source of a page": (page(EU, "utf-8", meta("windows-1251")), "", EU, "text"),
    "plain text that shows an XML declaration": (f'<?xml encoding="koi8-r"?>{EU}'.encode(), "", EU, "text"),
    "JSON that holds a page": (f'{{"html": "{meta("koi8-r")} {EU}"}}'.encode(), "", EU, "text"),
    "JSON without a kind": (f'{{"html": "{meta("koi8-r")} {EU}"}}'.encode(), "", EU),
    # Nothing is said.
    "UTF-8": (page(EU, "utf-8"), "", EU),
    "GBK": (page(ZH, "gbk"), "", ZH),
    "Big5": (page("臺北市是中華民國的首都", "big5"), "", "臺北市是中華民國的首都"),
    "Shift-JIS": (page("東京都の人口", "cp932"), "", "東京都の人口"),
    "EUC-JP": (page("東京都の人口", "euc_jp"), "", "東京都の人口"),
    "ISO-2022-JP": (page("東京都の人口", "iso2022_jp"), "", "東京都の人口"),
    "EUC-KR": (page("서울특별시 인구", "euc_kr"), "", "서울특별시 인구"),
    "windows-1251": (page(RU, "cp1251"), "", RU),
    "KOI8-R": (page("Москва столица России", "koi8-r"), "", "Москва столица России"),
    "windows-1252": (page("café déjà vu", "cp1252"), "", "café déjà vu"),
    "windows-1252, one word": ("Zürich".encode("cp1252"), "", "Zürich"),
    "windows-1253": (page("Η Αθήνα είναι η πρωτεύουσα", "cp1253"), "", "Η Αθήνα είναι η πρωτεύουσα"),
    "windows-1255": (page(HE, "cp1255"), "", HE),
    "windows-1256": (page("القاهرة هي عاصمة مصر", "cp1256"), "", "القاهرة هي عاصمة مصر"),
    "Thai": (page(TH, "cp874"), "", TH),
    "UTF-7 is none": (b"+AGgAaQ-", "utf-7", "+AGgAaQ-"),
    # What is broken is replaced, and nothing else is lost.
    "one byte of Windows in UTF-8": (page(EU, "utf-8") + b" it\x92s", "utf-8", EU, "html", "it\ufffds"),
    "one byte of Windows in declared UTF-8": (page(EU, "utf-8", meta("utf-8")) + b"\x92", "", EU, "html", "\ufffd"),
    "one byte of Windows in undeclared UTF-8": (page(EU, "utf-8") + b"it\x92s", "", EU, "html", "it\ufffds"),
    "UTF-8 cut in the middle": ((EU + "京").encode()[:-1], "", EU, "text", "\ufffd"),
    "a half of a pair in UTF-8": (page(EU, "utf-8") + b"\xed\xa0\xbd!", "utf-8", EU, "html", "\ufffd\ufffd\ufffd!"),
    "a stray byte in GBK": (page(ZH, "gbk", meta("gbk")) + b"\xff.", "", ZH, "html", "\ufffd."),
    "a euro of Windows in GBK": (page(ZH, "gbk", meta("gbk")) + b"\x805", "", ZH, "html", "€5"),
    "a stray byte in Shift-JIS": (page(JA, "cp932", meta("shift_jis")) + b"\xff.", "", JA, "html", "."),
    "a stray byte in EUC-KR": (page(KO, "cp949", meta("euc-kr")) + b"\xff.", "", KO, "html", "\ufffd."),
    "a stray byte in EUC-JP": (page("東京", "euc_jp", meta("euc-jp")) + b"\xff.", "", "東京", "html", "\ufffd."),
    "a stray byte in Big5": (page(TW, "big5hkscs", meta("big5")) + b"\xff.", "", TW, "html", "\ufffd."),
    "half a unit in UTF-16": (b"\xff\xfe" + EU.encode("utf-16-le") + b"x", "", EU, "text", "\ufffd"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_bytes_are_read_as_they_are_meant(name: str) -> None:
    content, charset, text, *more = READ[name]
    found = decode(content, charset, *more[:1])
    assert text in found and all(part in found for part in more[1:])
    assert "\ufffd" not in found.replace(more[1] if len(more) > 1 else "", "")


LABELS = st.sampled_from(
    ["", "utf-8", "gbk", "big5", "shift_jis", "euc-jp", "iso-2022-jp", "utf-16", "hz-gb-2312", "x"]
)


@given(
    st.binary(max_size=300)
    | st.text(max_size=100).map(lambda text: f"<meta charset={text}>".encode("utf-8", "replace")),
    LABELS,
)
def test_any_bytes_become_text(content: bytes, label: str) -> None:
    for kind in ("", "html", "xml", "text"):
        assert isinstance(decode(content, label, kind), str)


@given(
    st.text(),
    st.sampled_from(["utf-8", "gbk", "big5", "shift_jis", "euc-kr", "windows-1251", "iso-8859-1"]),
    st.integers(0, 300),
)
def test_a_stray_byte_costs_no_more_than_itself_in_utf8(text: str, label: str, at: int) -> None:
    content = text.encode("utf-8", "replace")
    while at < len(content) and content[at] & 0xC0 == 0x80:
        at += 1
    broken = content[:at] + b"\xff" + content[at:]
    assert decode(broken, "utf-8", "text").replace("\ufffd", "", 1) == decode(content, "utf-8", "text")
