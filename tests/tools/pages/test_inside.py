"""What of a page's mark-up is shown: visible text, cells of tables, and where links lead."""

import pytest
from hypothesis import given, settings

pytest.importorskip("lxml")

from aepo.tools.pages.inside import chunks, html_text
from tests.tools.pages.fuzz import bodies


def text(body: str) -> str:
    return html_text(f"<html><body>{body}</body></html>".encode(), "utf-8", "http://site.test/a/b?c")[0]


def links(body: str, url: str = "http://site.test/a/b?c") -> list[str]:
    return html_text(f"<html><body>{body}</body></html>".encode(), "utf-8", url)[1]


HIDDEN = [
    *("<p hidden>x</p>", "<p hidden=''>x</p>", "<p HIDDEN=until-found>x</p>", "<div hidden><p>a <b>x</b></p></div>"),
    *("<p style='display:none'>x</p>", "<p style='DISPLAY : NONE'>x</p>", "<p style='color:red;display:none;'>x</p>"),
    *(
        "<p style='display:none!important'>x</p>",
        "<p style='display:block;display:none'>x</p>",
        "<b style=display:none>x</b>",
    ),
    *("<p style='display:/**/none'>x</p>", "<p style='display:none!important;display:block'>x</p>"),
    *(
        "<p style='visibility:hidden'>x</p>",
        "<tr style='visibility:collapse'><td>x</tr>",
        "<template><p>x</p></template>",
    ),
    *(
        "<dialog><p>x</p></dialog>",
        "<datalist><option>x</datalist>",
        "<script>x</script>",
        "<style>x</style>",
        "<!-- x -->",
    ),
    *(
        "<ul style='display: none'><li><a href=/x>x</a></ul>",
        "<p hidden><a href=/x>x</a></p>",
        "<input type=hidden value=x>",
    ),
]
SHOWN = [
    *(
        "<p style='display:block'>x</p>",
        "<p style='display:none;display:block'>x</p>",
        "<p hidden style=display:block>x</p>",
    ),
    *(
        "<p style='background:url(display:none)'>x</p>",
        "<p data-hidden>x</p>",
        "<p aria-hidden=true>x</p>",
        "<p class=hidden>x</p>",
    ),
    *(
        "<noscript><p>x</p></noscript>",
        "<dialog open><p>x</p></dialog>",
        "<details><p>x</p></details>",
        "<p style=''>x</p>",
    ),
    "<p style='opacity:0'>x</p>",
]


@pytest.mark.parametrize("body", HIDDEN)
def test_what_a_browser_does_not_show_is_left_out_with_its_links(body: str) -> None:
    assert text(f"<p>The beginning.</p>{body}<p>The end.</p>").split() == ["The", "beginning.", "The", "end."]
    assert links(f"<p>The beginning.</p>{body}<p>The end.</p>") == []


@pytest.mark.parametrize("body", SHOWN)
def test_what_a_browser_shows_stays(body: str) -> None:
    assert "x" in text(f"<p>The beginning.</p>{body}<p>The end.</p>").split()


def test_a_body_that_its_own_scripts_would_show_is_read() -> None:
    assert html_text(b"<body style='display:none'><p>hi", "utf-8", "")[0] == "hi"


TOWNS = (
    "<table><tr><th>City<th>People<th>Area<tr><td>Malmo<td>350000<td>77<tr><td>Ystad<td><td>12"
    "<tr><td>Lund<td>90000<td></table>"
)
LINES = ["| City | People | Area |", "| Malmo | 350000 | 77 |", "| Ystad | | 12 |", "| Lund | 90000 | |"]


@pytest.mark.parametrize(
    "around",
    [
        *(
            "{}",
            "<h1>Cities</h1>{}",
            "<p>Cities of Skane.</p>{}<p>Source: SCB</p>",
            "<div><div>{}</div></div>",
            "<center>{}</center>",
        ),
        *(
            "<article><p>" + "A long text. " * 60 + "</p>{}<p>" + "More. " * 90 + "</p></article>",
            "<main>{}</main><footer>x</footer>",
        ),
        *(
            "<table><tr><td><p>Menu</p></td><td>{}</td></tr></table>",
            "{0}<p>and</p>{0}",
            "<form>{}</form>",
            "<figure>{}</figure>",
        ),
    ],
)
def test_a_table_keeps_its_cells_a_line_for_each_row(around: str) -> None:
    lines = [" ".join(line.split()) for line in text(around.format(TOWNS)).splitlines()]
    for line in LINES:
        assert line in lines


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("<tr><th rowspan=2>a<td>1<tr><td>2", ["| a | 1 |", "| a | 2 |"]),
        ("<tr><td colspan=2>a<td>b<tr><td>1<td>2<td>3", ["| a | | b |", "| 1 | 2 | 3 |"]),
        ("<thead><tr><th>k<th>v</thead><tbody><tr><td>x|y<td><b>1</b><br>2", ["| k | v |", "| x¦y | 1 2 |"]),
        ("<tr><td>H<sub>2</sub>O<td><p>a</p><p>b</p><tr><td><td>only", ["| H2O | a b |", "| | only |"]),
        ("<tr><td>a\x01\0<td>&#1;b&#xffff;<tr><td>c<td>d", ["| a | b |", "| c | d |"]),
        ("<tr><td rowspan=0>a<td colspan=x>b<tr><td>c<td>d", ["| a | b |", "| c | d |"]),
    ],
)
def test_cells_stand_where_a_browser_puts_them(table: str, lines: list[str]) -> None:
    found = [" ".join(line.split()) for line in text(f"<h1>T</h1><table>{table}</table>").splitlines()]
    assert [line for line in found if line.startswith("|")] == lines


def test_a_table_that_gives_a_page_its_form_is_read_as_its_text() -> None:
    found = text(f"<table><tr><td>{'Long words. ' * 60}<td>{'Other words. ' * 60}</table>")
    assert "Long words." in found and "Other words." in found


WRITTEN = {
    "<ol><li>one<ul><li>two</ul><li>three</ol>": "1. one\n  - two\n2. three",
    "<ul><li><h3>Card</h3><p>Words.</p><li>Other</ul>": "- Card\nWords.\n- Other",
    "<p>a</p><h2>Head</h2><p>b</p>": "a\n\nHead\nb",
    "<ul><li><a href=/x>X</a><li><a href=/y>Y</a><li>Z, <a href=/z>z</a></ul>": "- X; Y\n- Z, z",
    "<p>a</p><ul><li><a href=/x>X</a></ul><p>b</p><ul><li><a href=/y>Y</a></ul>": "a\n- X\nb\n- Y",
    "<a href=/x>Log in</a><a href=/y>Cart</a>": "Log in Cart",
    "<p>a<sup><a href=#1>[1]</a></sup><a href=#2>[2]</a>.": "a[1] [2].",
    "<dl><dt>Open</dt><dd><time>1 March</time> to <time>3 May</time></dd></dl>": "Open\n1 March to 3 May",
    "<p><del>\u20ac20</del> <ins>\u20ac10</ins>": "~~\u20ac20~~ \u20ac10",
    "<p>so <img alt='E=mc^2'> holds": "so E=mc^2 holds",
    "<div><img alt='A bridge'><h3>Bridges</h3></div>": "Bridges",
    "<pre>def f():\n\n    return <b>1</b>\n</pre><p>a": "def f():\n\n    return 1\na",
    "<h3><button>Fees</button></h3><p>None.</p><button>Buy</button>": "Fees\nNone.",
    "<label>City <select><option>a<option>b</select></label><textarea>c</textarea>": "City",
    "<figure><img><figcaption>Built in 1412</figcaption></figure>": "Built in 1412",
    "<table><caption>Towns</caption><tr><td>a<td>b</table>": "Towns\n| a | b |",
    "<p>a&#1;b": "ab",
}


@pytest.mark.parametrize("body", WRITTEN)
def test_a_page_is_written_down_as_it_is_read(body: str) -> None:
    assert text(body) == WRITTEN[body]


def test_a_box_of_facts_around_a_table_keeps_a_line_for_each_fact() -> None:
    box = (
        "<tr><th colspan=2>Malmo<tr><td colspan=2><table><tr><td>Map</table><tr><th>Mayor<td>A. Berg<tr><th>Area<td>77"
    )
    assert text(f"<table>{box}</table><p>{'A town. ' * 90}").splitlines()[:4] == [
        "Malmo",
        "Map",
        "| Mayor | A. Berg |",
        "| Area | 77 |",
    ]


def test_every_post_and_every_teaser_is_there_however_short() -> None:
    posts = [
        f"<div class=post><a href=/u/{n}>user{n}</a><div>{'Long words. ' * n}answer {n}</div></div>" for n in range(9)
    ]
    teasers = [f"<article><a href=/s/{n}><h3>Headline {n}</h3></a><p>{n} comments</p></article>" for n in range(9)]
    found = text("".join([*posts, *teasers]))
    for n in range(9):
        assert f"answer {n}" in found and f"Headline {n}" in found and f"{n} comments" in found


AROUND = {
    "<nav><a href=/>Home</a></nav><main><p>Text</main>": "Text",
    "<p>Made by X</p><main><h1>Text</h1></main><div><a href=/>A</a> | <a href=/x>X</a></div>": "Text\n\nMade by X",
    "<header>Head</header><div role=main>Text</div><footer><p>Street 1</p><a href=tel:1>01-2</a></footer>": (
        "Text\n\nHead\nStreet 1\n01-2"
    ),
    "<main><header><h1>Title</h1></header>Text<aside>Note</aside><nav>Way</nav></main>": "Title\nText\nNote\n\nWay",
    "<div role=dialog>We use <a href=/c>cookies</a></div><p>Text": "Text\n\nWe use cookies",
    "<nav><a href=/a>One</a><a href=/b>Two</a></nav>": "One Two",
    "<main></main><p>Text": "Text",
}


@pytest.mark.parametrize("body", AROUND)
def test_what_stands_around_the_main_part_comes_behind_it_without_its_menus(body: str) -> None:
    assert text(body) == AROUND[body]


LEADS = {
    "<a href=c>n</a>": "- n: http://site.test/a/c",
    "<a href='/c d'>n</a>": "- n: http://site.test/c%20d",
    "<a href=' /c\n'>n</a>": "- n: http://site.test/c",
    "<a href='?q=1&amp;r=2'>n</a>": "- n: http://site.test/a/b?q=1&r=2",
    "<a href='//other.test/x#y'>n</a>": "- n: http://other.test/x",
    "<a href='HTTPS://Other.test/'>n</a>": "- n: https://Other.test/",
    "<a href='\\x\\y?a\\b'>n</a>": "- n: http://site.test/x/y?a\\b",
    "<a href=../../../c>n</a>": "- n: http://site.test/c",
    "<a href='/北京'>北京</a>": "- 北京: http://site.test/北京",
    "<a href=/c><img alt='a picture'></a>": "- a picture: http://site.test/c",
    "<a href=/c aria-label=label></a>": "- label: http://site.test/c",
    "<a href=/c></a>": "- http://site.test/c",
    "<a href=/c>one<br>two <b>three</b></a>": "- one two three: http://site.test/c",
    f"<a href=/c>{'n' * 200}</a>": f"- {'n' * 80}...: http://site.test/c",
    "<map><area href=/c alt=zone></map>": "- zone: http://site.test/c",
    "<iframe src=/c title=inner></iframe>": "- inner: http://site.test/c",
    "<meta http-equiv=refresh content='0; url=/c'>": "- http://site.test/c",
    "<base href=/d/><a href=c>n</a>": "- n: http://site.test/d/c",
    "<base href=https://other.test><a href=c>n</a>": "- n: https://other.test/c",
    "<base href='javascript:x'><a href=/c>n</a>": "- n: http://site.test/c",
    "<a href=/c>http://site.test/c</a>": "- http://site.test/c",
    "<a href=/c></a><a href=/c>n</a><a href=/c#z>m</a>": "- n: http://site.test/c",
}


@pytest.mark.parametrize("body", LEADS)
def test_a_link_is_told_with_its_whole_address(body: str) -> None:
    assert links(f"<p>Text.</p>{body}") == [LEADS[body]]


@pytest.mark.parametrize(
    "target",
    [
        *(
            "javascript:x()",
            "mailto:a@b",
            "tel:1",
            "data:text/html,x",
            "#top",
            "",
            "ftp://x/",
            "http://",
            "http://[::1",
            "?c",
        ),
        *("blob:http://x/1", "about:blank", "file:///etc/passwd", "/" + "x" * 400, "JaVaScRiPt:x", "java\nscript:x"),
    ],
)
def test_what_browse_could_not_open_or_is_the_page_itself_is_no_link(target: str) -> None:
    assert links(f"<p>Text.</p><a href='{target}'>n</a>") == []


def test_links_of_the_text_come_before_those_of_the_frame() -> None:
    body = "<header><a href=/h>h</a></header><nav><a href=/1>menu</a><a href=/2>x</a></nav>"
    body += "<p><a href=/1>one</a> <a href=/3>y</a>"
    assert [line.rpartition("/")[2] for line in links(body)] == ["1", "3", "h", "2"]
    assert links(body)[0] == "- one: http://site.test/1"


def test_links_of_menus_come_behind_those_of_sentences() -> None:
    body = "<ul><li><a href=/1>de</a><li><a href=/2>fr</a></ul>"
    body += "<p>A <a href=/3>town</a><ul><li><a href=/4>Ek</a>, writer</ul>"
    assert [line[-1] for line in links(f"<main>{body}</main><a href=/5>x</a>")] == ["3", "4", "1", "2", "5"]


def test_links_are_parted_by_number_and_by_characters() -> None:
    lines = [str(number) for number in range(10)]
    assert [len(group) for group in chunks(lines, 4)] == [4, 4, 2]
    assert [len(group) for group in chunks(["x" * 150] * 5, 4)] == [2, 2, 1]
    assert chunks(["x" * 150], 1) == [["x" * 150]] and chunks(lines, 0) == chunks([], 4) == []


@settings(max_examples=200, deadline=None)
@given(bodies)
def test_any_page_has_a_text_and_links(body: tuple[bytes, str]) -> None:
    found, lines = html_text(*body, "http://site.test/")
    assert isinstance(found, str) and all(line.startswith("- ") for line in lines)
