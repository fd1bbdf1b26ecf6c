"""What the model sees of a page: its text in order, with numbers at what can be acted on, and no more than it may."""

from collections.abc import Callable

import pytest

from tests.environments.browser.conftest import Site

Play = Callable[..., list[str]]
HEAD = "Page: Shop\nAddress: http://site.test/\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<h1>Hello</h1><p>A <b>bold</b>\n word.", "Hello\nA bold word."),
        ("<p>See <a href=/terms>the terms</a> first.", 'See [1] link "the terms" first.'),
        ("<button>Buy</button><button disabled>Sell</button>", '[1] button "Buy" [2] button "Sell" (disabled)'),
        ("<label>Name <input name=n value=Ada></label>", '[1] textbox "Name" = "Ada"'),
        ("<label for=c>I agree</label><input id=c type=checkbox checked>", '[1] checkbox "I agree" (checked)'),
        (
            "<label>Size <select><option>M<option selected>L</select></label>",
            '[1] select "Size" = "L" (of: M, L)',
        ),
        (
            "<table><tr><th>Article<th>Price<tr><td>Mug<td>3 EUR<td><form><button>Add</button></form></table>",
            'Article | Price\nMug | 3 EUR | [1] button "Add"',
        ),
        ("<div onclick='x()'>A card <a href=/a>more</a></div>", '[1] A card [2] link "more"'),
        ("<div id=d>Old</div><script>d.addEventListener('click', () => 1)</script>", '[1] item "Old"'),
        ("<span style='cursor: pointer' class='star big'>&nbsp;</span>", "[1] item (span star big)"),
        ("<p hidden>no<p style='visibility: hidden'>no<p>yes<script>1</script><template>no</template>", "yes"),
        ("<a href=#main style='position: absolute; left: -999px'>skip</a><p>yes", "yes"),
        (
            "<div id=h></div><script>h.attachShadow({mode: 'open'}).innerHTML = '<button>In</button>'</script>",
            '[1] button "In"',
        ),
        (
            "<svg width=50 height=50 onclick='x()'><rect width=20 height=20 fill=red /></svg>",
            "[1] [2] item (rect red 20x20)",
        ),
        ("<div role=tab aria-selected=true aria-expanded=false>One</div>", '[1] tab "One" (selected) (closed)'),
        (
            "<img src=data:, alt='a red mug' width=9 height=9><iframe></iframe>",
            "(picture: a red mug) (a frame, which is not shown)",
        ),
    ],
)
def test_a_page_is_text_with_numbered_elements(site: Site, play: Play, body: str, text: str) -> None:
    site.pages["/"] = f"<!doctype html><title>Shop</title>{body}"
    assert play() == [HEAD + text]


def test_a_long_page_is_cut_and_scrolling_reads_all_of_it(site: Site, play: Play) -> None:
    site.pages["/"] = "<!doctype html>" + "".join(f"<p><button>b{n}</button>" for n in range(100))
    shown = play(*[("scroll", "down")] * 12, ("scroll", "up"), max_characters=300)
    assert all(len(text) < 450 for text in shown)
    seen = {word for text in shown for word in text.split('"')[1::2]}
    assert seen == {f"b{n}" for n in range(100)}
    assert shown[0].endswith("(there is more below: scroll down)") and "more above" in shown[1]
    assert "error: the page is at its end" in shown


def test_one_long_text_is_cut_too(site: Site, play: Play) -> None:
    site.pages["/"] = "<title>x</title><p>" + "word " * 2000 + "<p>end"
    (text,) = play(max_characters=500)
    assert len(text) < 650 and text.endswith("(there is more below: scroll down)")
