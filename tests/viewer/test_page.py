"""The page in a real Chromium: what a reader sees and clicks, and that no text of a tool runs."""

import json
import re
import shutil
import threading

import pytest
import uvicorn

from aepo.viewer import view
from aepo.viewer.server import app, listening
from aepo.viewer.source import open_source
from tests.viewer.conftest import picture, three_calls, told_line, with_outcomes, world_line, write_trees

sync_api = pytest.importorskip("playwright.sync_api")
WAIT = 120_000


def read(locator):
    """The text of a card as it is seen: the page draws only those cards that are in sight."""
    locator.scroll_into_view_if_needed()
    return locator.inner_text()


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=WAIT)
        except sync_api.Error:
            pytest.skip("no chromium here")
        yield started
        started.close()


@pytest.fixture
def served():
    """Serves runs from a thread; gives their address."""
    running = []

    def serve(*folders, path=None):
        at = listening("127.0.0.1", 0)
        made = app([open_source(f) for f in folders], path=path)
        server = uvicorn.Server(uvicorn.Config(made, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{at.getsockname()[1]}/"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(browser, served):
    """A page whose errors and refusals are failures; it is closed before the server."""
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(WAIT)
    wrong = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    opened.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    yield opened
    opened.close()
    assert wrong == []


def test_from_a_run_to_a_branch_and_its_numbers(page, served, example_run, example_lines):
    page.goto(served(example_run))
    page.get_by_role("heading", name="example").wait_for()
    assert page.locator('.chart[data-metric="reward/mean"] path.curve').count() == 1
    page.get_by_role("link", name="step 20").click()
    page.wait_for_selector("a.question")
    assert page.locator("a.question").count() == 5
    page.locator("a.question").first.click()
    page.wait_for_selector(".panel .card")
    assert page.locator(".tree rect.band").count() == 3 * 8
    assert page.locator(".branch-point.branched").count() >= 1
    nodes = example_lines[0]["tree"]["nodes"]
    node = next(n for n in nodes if n["decision"] and n["decision"]["branches"])
    page.locator(f'.branch-point[data-decision="{node["id"]}"] .gauge').click()
    told = read(page.locator(f'.panel .decision[data-decision="{node["id"]}"]'))
    d = node["decision"]
    assert f"Branched: {d['branches']} new paths" in told
    numbers = {"H": f"{d['entropy']:.2f} nats", "P": f"{d['probability']:.2f}", "l": str(d["consecutive"]), "τ": "0.60"}
    for sign, value in numbers.items():
        assert re.search(rf"{sign}\s*{re.escape(value)}", told), (sign, told)
    assert page.locator(".panel .card.revealed").get_attribute("data-card") == str(node["id"])


def test_each_call_of_a_turn_is_shown_with_its_result(page, served, example_run):
    write_trees(example_run / "trees" / "step-000010.jsonl.gz", [three_calls()])
    page.goto(f"{served(example_run)}#/10/0.0")
    page.wait_for_selector(".panel .card")
    assert page.locator('.panel [data-card="1"] .call').count() == 3
    told = [one.inner_text().split("\n") for one in page.locator('.panel [data-card="2"] .result').all()]
    assert [words[0] for words in told] == ["→ search", "→ python", "→ search"]
    assert [words[-1] for words in told] == ["Paris, France", "ZeroDivisionError: division by zero", "Paris, France"]
    assert ("error" in told[1], "the same call as before" in told[2]) == (True, True)
    assert "Results of 3 calls" in read(page.locator('.panel [data-card="2"] .card-head').first)
    assert page.locator('.tree [data-node="2"] .base.failed').count() == 1
    titles = [page.locator(f'.tree [data-node="{node}"] title').first.text_content() for node in (1, 2)]
    assert "then calls search, python, search" in titles[0]
    assert "results: ok, 12 ms; error, 1.5 s; ok, under 1 ms" in titles[1]


def test_a_broken_turn_is_shown_as_untrained(page, served, example_run):
    write_trees(example_run / "trees" / "step-000010.jsonl.gz", [told_line()])
    page.goto(f"{served(example_run)}#/10/0.0")
    page.wait_for_selector(".panel .card")
    assert "not trained: <search> is not closed" in read(page.locator('.panel [data-card="1"]'))
    assert read(page.locator('.panel [data-card="2"] .card-head b').first) == "Told of the broken turn"
    assert "cut to the tokens that were left" in read(page.locator('.panel [data-card="4"]'))
    assert page.locator('.tree [data-node="1"] .base.untrained').count() == 1
    assert page.locator('.tree [data-node="3"] .base.untrained').count() == 0
    assert "not trained" in page.locator(".legend, .keys").first.inner_text()
    # The decision is about the first observation of a result.
    assert page.locator('.branch-point[data-decision="4"]').count() == 1


def test_tokens_are_coloured_by_what_is_asked_and_clipped_ones_are_marked(page, served, example_run):
    page.goto(f"{served(example_run)}#/10/0.0?path=0")
    page.wait_for_selector(".panel pre .heat")
    for mode, hue in (("advantage", "up"), ("ratio", "rise")):
        page.get_by_role("button", name=mode, exact=True).click()
        page.wait_for_selector(f".panel pre .{hue}")
        assert page.locator(f".tree .cell.{hue}").count() > 0
    assert page.locator(".panel pre .clipped.above").count() > 0  # ratio 1.5, above 1.28, of a good path
    assert page.locator(".tree .clipmark").count() > 0
    page.locator(".panel pre .clipped.above").first.hover()
    page.wait_for_selector("#tip:not([hidden])")
    tip = page.locator("#tip").inner_text()
    assert "ratio 1.500, clipped above" in tip and "advantage +0.700" in tip and "entropy" in tip


def test_questions_are_found_filtered_and_sorted(page, served, example_run):
    page.goto(f"{served(example_run)}#/10")
    page.wait_for_selector("a.question")
    page.get_by_role("searchbox").fill("vaduz")
    assert [c.get_attribute("data-id") for c in page.locator("a.question").all()] == ["test-2"]
    page.get_by_role("searchbox").fill("")
    assert page.locator("a.question").count() == 5
    assert page.get_by_role("button", name="failed").is_disabled()  # every question has a path that solved it
    page.get_by_role("button", name="format error").click()
    assert page.locator("a.question").count() == 5
    assert page.locator(".count").inner_text() == "5 questions"
    page.get_by_role("combobox").select_option("most branched")
    assert "order=most+branched" in page.url and "only=format_error" in page.url


def test_the_keyboard_goes_everywhere(page, served, example_run):
    page.goto(f"{served(example_run)}#/10/0.0?path=0")
    page.wait_for_selector(".panel h2")
    rows = [t.inner_html() for t in page.locator(".path-number").all()]
    page.keyboard.press("ArrowDown")
    assert page.locator(".panel h2").inner_text() == f"Path {rows[1]}"
    page.keyboard.press("b")
    assert page.locator(".panel .card.revealed .decision.branched").count() == 1
    page.keyboard.press("c")
    assert page.get_by_role("button", name="advantage", exact=True).get_attribute("aria-pressed") == "true"
    page.keyboard.press("x")
    assert page.get_by_role("button", name="turns", exact=True).get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#page[data-shown^="#/10/0.1"]', state="attached")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    page.wait_for_selector("a.question")
    page.keyboard.press("u")
    page.wait_for_selector(".charts")
    page.keyboard.press("t")
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_curves_move_while_it_trains(page, served, example_run):
    page.goto(served(example_run))
    curve = page.locator('.chart[data-metric="reward/mean"] .now b')
    before = curve.inner_text()
    with (example_run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 61, "reward/mean": 0.125}) + "\n")
    now = """text => document.querySelector('.chart[data-metric="reward/mean"] .now b').innerText === text"""
    page.wait_for_function(now, arg="0.125")
    assert before != "0.125"


def test_the_correction_of_sampler_and_trainer_is_seen_at_once(page, served, example_run):
    shares = {"correction/effective_sample_size": 0.97, "correction/cut_share": 0.01, "correction/dropped_share": 0.0}
    with (example_run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 61, "logprobs/rollout_difference_mean": 0.04} | shares) + "\n")
    page.goto(served(example_run))
    page.wait_for_selector('.chart[data-metric="reward/mean"]')
    for name in ("logprobs/rollout_difference_mean", *shares):
        assert page.locator(f'.chart[data-metric="{name}"]').is_visible()


def test_what_was_learned_and_where_it_fails_are_seen(page, served, example_run):
    ends = {"stop/answer": 0.9, "stop/length": 0.1, "success/mean": 0.4}
    alarm = {"alarm/entropy": 1.0, "alarm/entropy_below": 1.0, "time/step": 2.0}
    with (example_run / "metrics.jsonl").open("a") as file:
        for step in (61, 62):
            file.write(json.dumps({"step": step, "reward/mean": 0.5} | ends | alarm) + "\n")
    page.goto(served(with_outcomes(example_run)))
    page.wait_for_selector(".asked")
    assert "Policy entropy is below its band" in page.get_by_role("alert").inner_text()
    assert page.locator(".progress b").inner_text() == "step 62"
    assert page.locator('.chip[data-change="gained"]').inner_text() == "wrong to right1"
    card = page.locator(".asked")
    assert "Question a?" in card.inner_text() and "✓ Oslo" in card.inner_text() and "✕ Rome" in card.inner_text()
    page.locator('.chip[data-change="wrong"]').click()
    assert "reached the limit on tokens" in page.locator(".asked").inner_text()
    assert "50 %" in page.locator('.kinds [data-kind="answer"]').inner_text()
    assert "Rome" in page.locator(".table.wrong").inner_text()
    name = page.locator('.chart[data-metric="eval/success"] .name')
    name.click()
    assert "it is Pass@1" in page.locator('.chart[data-metric="eval/success"] .meaning').inner_text()


def test_a_folder_of_runs_leads_to_each_and_to_two_side_by_side(page, served, example_run, tmp_path):
    other = shutil.copytree(example_run, tmp_path / "runs" / "other")
    address = served(example_run, other, path=tmp_path / "runs")
    page.goto(address)
    page.wait_for_selector(".list")
    page.get_by_role("link", name="other").click()
    page.get_by_role("heading", name="other").wait_for()
    page.get_by_role("link", name="step 20").click()
    page.wait_for_selector("a.question")
    page.get_by_role("link", name="start", exact=True).click()
    page.wait_for_selector(".list")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("link", name="Show these two side by side").click()
    page.wait_for_selector('.chart[data-metric="reward/mean"] path.curve.run1')
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["example", "other"]


def test_two_runs_stand_side_by_side(page, served, example_run, tmp_path):
    other = shutil.copytree(example_run, tmp_path / "other")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("tau: 0.6", "tau: 0.9"))
    page.goto(served(example_run, other))
    page.wait_for_selector(".chart")
    assert page.locator('.chart[data-metric="reward/mean"] path.curve').count() == 2
    assert "algorithm.tau" in page.locator(".settings details").first.inner_text()
    page.goto(f"{page.url.split('#')[0]}#/10/0.0")
    page.wait_for_selector(".tree-card:nth-of-type(2) rect.band")
    assert [h.inner_text() for h in page.locator(".tree-card h3").all()] == ["example", "other"]


def test_a_narrow_screen_needs_no_sideways_scrolling(page, served, example_run):
    address = served(example_run)
    page.set_viewport_size({"width": 400, "height": 800})
    for at, ready in (("#/", ".chart"), ("#/10", "a.question"), ("#/10/0.0", ".panel .card")):
        page.goto(address + at)
        page.wait_for_selector(ready)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


WORLDS = {"opened": 6, "closed": 6, "open_seconds": 1.5, "replayed_calls": 3, "refused": 1, "lost": 2, "recovered": 1}


@pytest.fixture
def shop(example_run):
    """The run with a step whose question was asked in an environment."""
    write_trees(example_run / "trees" / "step-000010.jsonl.gz", [world_line()])
    rows = [json.loads(row) for row in (example_run / "metrics.jsonl").read_text().splitlines()]
    rows[9] |= {f"environment/{name}": value for name, value in WORLDS.items()}
    (example_run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return example_run


@pytest.mark.parametrize("how", ["server", "file"])
def test_an_environment_is_watched_step_by_step(page, served, shop, how):
    address = served(shop) if how == "server" else view(shop, steps=[10]).as_uri()
    page.goto(f"{address}#/10/0.0?path=0")
    page.wait_for_selector(".panel .end .state img")
    step, end = page.locator('.panel [data-card="2"] .state'), page.locator(".panel .end .state")
    for shown, red in ((step, 40), (end, 200)):
        assert shown.locator("img").get_attribute("src") == picture(red)
        assert shown.locator("img").evaluate("async one => { await one.decode(); return one.naturalWidth }") == 96
    end.locator(".picture").click()
    assert page.locator("dialog.picture img").get_attribute("src") == picture(200)
    page.keyboard.press("Escape")
    page.locator("dialog.picture").wait_for(state="detached")
    assert [one.inner_text() for one in end.locator(".changed dt").all()] == ["page", "cart"]
    assert end.locator("dd").all_inner_texts() == ["receipt", '["desk lamp"]']
    assert "Done" in read(page.locator(".panel .end .card-head"))
    assert read(page.locator('.panel [data-card="4"] pre')) == "paid"
    # A call after which nothing more can be done has not failed; one in a world that died has.
    assert page.locator(".tree .base.failed").count() == 1
    page.goto(f"{address}#/10/0.0?path=1")
    page.wait_for_selector('.panel h2:text-is("Path 1")')
    assert "reward 0.20, 0.00 by the environment" in read(page.locator(".panel .end .outcome"))


def test_refused_branches_and_lost_worlds_are_found(page, served, shop):
    page.goto(f"{served(shop)}#/10")
    page.wait_for_selector("a.question")
    told = page.locator(".worlds").inner_text()
    for words in ("6 worlds opened", "3 calls made again", "1 branch refused", "2 worlds lost"):
        assert words in told
    assert page.locator(".chip[data-filter=refused]").is_enabled()
    page.locator(".chip[data-filter=lost]").click()
    page.locator("a.question").click()
    page.wait_for_selector(".panel .card")
    page.locator(".branch-point.refused .gauge").click()
    assert "Branch refused" in read(page.locator(".panel .decision.refused"))
    assert "gave '2 lamps', before '3 lamps'" in read(page.locator(".panel .why-refused"))
    assert "1 refused" in page.locator(".decisions summary").inner_text()
    assert "branch refused" in page.locator(".legend").inner_text()
    assert "World lost" in read(page.locator(".panel .end"))


def test_a_run_without_environments_says_nothing_of_them(page, served, example_run):
    page.goto(f"{served(example_run)}#/10")
    page.wait_for_selector("a.question")
    assert page.locator(".worlds, .chip[data-filter=lost], .chip[data-filter=refused]").count() == 0


def hostile(lines):
    """Every text that a model, a tool or a data set may have written, as an attempt to run."""
    attack = '</script><script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)>" onclick="alert(4)'
    data = lines[0]
    data["sample"] |= {"question": attack, "target": attack, "id": attack}
    for node in data["tree"]["nodes"]:
        if node["calls"]:
            node["calls"] = [{"name": attack, "arguments": {attack: attack}, "error": attack}] * 2
        if node["results"]:
            node["results"] = [node["results"][0] | {"text": attack}] * 2
        data["token_texts"][node["id"]] = [attack for _ in node["tokens"]]
    for leaf in data["tree"]["leaves"]:
        leaf |= {"answer": attack, "format_error": attack, "state": {attack: [attack, "data:image/svg+xml,<svg/>"]}}
    return attack, [data]


@pytest.mark.parametrize("how", ["server", "file"])
def test_no_text_of_a_model_a_tool_or_a_data_set_runs(page, served, example_run, example_lines, how):
    attack, lines = hostile(example_lines)
    write_trees(example_run / "trees" / "step-000010.jsonl.gz", lines)
    with (example_run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 61, attack: 1.0}) + "\n")
    address = served(example_run) if how == "server" else view(example_run, steps=[10]).as_uri()
    for at, ready in (("#/", ".chart"), ("#/10", "a.question"), ("#/10/0.0", ".panel .card")):
        page.goto("about:blank")
        page.goto(address + at)
        page.wait_for_selector(ready)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.locator("img, main script, [onclick], [onerror], [onload]").count() == 0
    assert page.locator(".group-head h1").inner_text() == attack
    assert page.locator(".panel .answer").text_content() == attack


def test_even_markup_that_got_in_would_not_run(browser, example_run):
    page = browser.new_page()
    page.goto(view(example_run).as_uri())
    page.wait_for_selector(".chart")
    told = page.evaluate("""() => {
        try { document.body.innerHTML = "<b>x</b>"; return "written" } catch (error) { return error.name }
    }""")
    assert told == "TypeError"  # trusted types
    page.evaluate("""() => { const s = document.createElement("script");
        try { s.text = "window.ran = 1"; document.body.append(s); } catch { } }""")
    assert page.evaluate("window.ran") is None
    page.close()


def test_the_file_opens_from_disk_and_shows_a_tree(page, example_run):
    page.goto(f"{view(example_run).as_uri()}#/20/0.1")
    page.wait_for_selector(".panel .card")
    assert page.locator(".tree rect.band").count() == 3 * 8
    assert "Nicaragua" in page.locator(".group-head h1").inner_text()


def test_a_section_of_another_version_is_a_line_on_the_page(browser, served, example_run, example_lines):
    example_lines[0]["tree"]["format"] = 99
    write_trees(example_run / "trees" / "step-000010.jsonl.gz", example_lines[:1])
    page = browser.new_page()
    page.goto(f"{served(example_run)}#/10")
    line = page.get_by_role("alert").inner_text(timeout=WAIT)
    assert "trajectory tree of format 99, this version reads 1 and 2" in line and "\n" not in line
    page.close()


def test_the_population_of_a_run_with_who_came_from_whom(page, served, population):
    page.goto(served(population))
    page.get_by_role("heading", name="Instructions").wait_for()
    members = page.locator(".member")
    assert [members.nth(i).get_attribute("data-instruction") for i in range(3)] == ["0", "1", "2"]
    assert [members.nth(i).get_attribute("data-depth") for i in range(3)] == ["0", "0", "1"]
    gone, new = (read(members.nth(i)) for i in (1, 2))
    assert "left after step 25" in gone and "document.title" in gone
    assert "from 1, joined after step 25" in new and "best" in new and "Search twice." in new
    assert "worth +0.01 (−0.05 to 0.05)" in new and "35 groups" in new
    assert page.locator(".member .chart path.band").count() == 3
    assert page.title() != "owned"


def test_a_run_without_a_population_shows_none(page, served, example_run):
    page.goto(served(example_run))
    page.get_by_role("heading", name="Curves").wait_for()
    assert page.get_by_role("heading", name="Instructions").count() == 0
