"""The page: what it says of a question, that it needs nothing else, and that no text can break it."""

import json
import re
import shutil
import subprocess

import pytest

from aepo.types import Kind, Leaf, Origin, StopReason, ToolCall, ToolResult, TrajectoryTree
from aepo.viewer import Record, export, view
from aepo.viewer.page import charts, question


def embedded(path):
    """The data inside the page, as a browser reads it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))


def test_a_question_is_counted_as_the_list_shows_it(example_lines):
    q = question(Record.from_dict(example_lines[0]))
    assert (q["m"], q["branches"], q["leftover"], len(q["leaves"])) == (3, 4, 1, 8)
    assert q["calls"] == 5  # one call a result, although four paths share the first
    assert q["solved"] == 3
    assert q["reward"] == pytest.approx((1 + 0 - 1 + 0.5 + 1 + 1.1 + 0 + 0) / 8)
    assert q["distinct"] == sum(n["size"] for n in q["nodes"]) < q["flat"]
    assert q["nodes"][2]["decision"]["branches"] == 2


def resampled_line():
    """A question whose second path makes the first one's call anew."""
    tree = TrajectoryTree(global_samples=1)
    tree.add(None, Kind.PROMPT, [1], 0)
    call = tree.add(0, Kind.POLICY, [2, 3, 4], 0)
    call.entropies, call.call = [0.1, 0.2, 1.5], ToolCall("search", {"query": "x"})
    tree.add(1, Kind.OBSERVATION, [5], 0).result = ToolResult("nothing")
    answer = tree.add(2, Kind.POLICY, [6], 0)
    anew = tree.add(tree.split(1, 2).id, Kind.POLICY, [7], 1)
    answer.entropies, anew.entropies = [0.3], [0.4]
    tree.leaves = [
        Leaf(0, answer.id, Origin.GLOBAL, StopReason.ANSWER, "no", reward=0.0),
        Leaf(1, anew.id, Origin.RESAMPLED, StopReason.ANSWER, "yes", parent_path=0, reward=1.0),
    ]
    ordered = tree.in_path_order()
    texts = [[f"{n.kind} {t} " for t in n.tokens] for n in ordered.nodes]
    return {"step": 1, "sample": {"question": "?"}, "tree": json.loads(ordered.to_json()), "token_texts": texts}


def test_a_call_that_was_made_anew_is_told_from_a_branch():
    q = question(Record.from_dict(resampled_line()))
    assert (q["m"], q["branches"], q["resampled"], q["leftover"]) == (1, 0, 1, 0)
    assert [(n["parent"], n["kind"], n["path"], n["size"]) for n in q["nodes"]] == [
        (None, "prompt", 0, 1),
        (0, "policy", 0, 2),
        (1, "policy", 0, 1),
        (2, "observation", 0, 1),
        (3, "policy", 0, 1),
        (1, "policy", 1, 1),
    ]
    assert [(leaf["origin"], leaf["parent"]) for leaf in q["leaves"]] == [("global", None), ("resampled", 0)]
    assert (q["distinct"], q["flat"]) == (7, 6 + 4)


def test_a_call_that_was_not_executed_is_not_counted(example_lines):
    data = example_lines[0]
    data["tree"]["nodes"][2]["result"]["status"] = "bad_arguments"
    assert question(Record.from_dict(data))["calls"] == 4


def test_trees_without_rewards_are_shown_too(example_lines):
    for leaf in example_lines[0]["tree"]["leaves"]:
        leaf["reward"] = None
    q = question(Record.from_dict(example_lines[0]))
    assert (q["reward"], q["solved"]) == (None, 0)


def test_the_page_is_one_file_that_loads_nothing(example_run):
    text = view(example_run).read_text(encoding="utf-8")
    shell = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    urls = set(re.findall(r"https?://[^\"'\s)]+", shell))
    assert urls == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"<link|<img|<iframe|\bsrc=|@import|url\(|fetch\(|import\(", shell)
    assert "default-src 'none'" in shell


def test_view_writes_into_the_run_or_where_it_is_told(example_run, tmp_path):
    assert view(example_run) == example_run / "trees.html"
    other = view(example_run, tmp_path / "other.html", steps=[20])
    assert other == tmp_path / "other.html"
    assert {q["step"] for q in embedded(other)["questions"]} == {20}
    assert [c["name"] for c in embedded(other)["charts"]][:2] == ["eval/success", "reward/mean"]


def test_a_long_run_is_thinned_evenly_and_says_so(example_run):
    data = embedded(view(example_run, limit=4))
    assert [q["step"] for q in data["questions"]] == [10, 10, 20, 20]
    assert data["note"].startswith("4 of 10 questions")
    assert embedded(view(example_run))["note"] == ""


def test_no_text_can_leave_its_place(example_run, example_lines):
    path = view(example_run)
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 2 and text.count("<script") == 2
    assert "owned" in text and "<img" not in text
    nodes = embedded(path)["questions"][4]["nodes"]
    assert [n["pieces"] if n["kind"] == "policy" else ["".join(n["pieces"])] for n in nodes] == [
        t if n["kind"] == "policy" else ["".join(t)]
        for n, t in zip(nodes, example_lines[4]["token_texts"], strict=True)
    ]


def test_a_title_is_escaped(example_lines, tmp_path):
    path = export([Record.from_dict(example_lines[0])], tmp_path / "x.html", title="</title><b>& {{DATA}}")
    assert "<title>&lt;/title&gt;&lt;b&gt;&amp; {{DATA}} · rollout trees</title>" in path.read_text(encoding="utf-8")
    assert embedded(path)["title"] == "</title><b>& {{DATA}}"


def test_values_that_json_or_utf8_do_not_know_are_written(example_lines, tmp_path):
    data = example_lines[0]
    data["sample"]["question"] = "half a sign \ud83d, a zero \x00, a line \u2028"
    data["tree"]["nodes"][1]["entropies"][0] = float("nan")
    data["tree"]["leaves"][0]["root_entropy"] = float("inf")
    q = embedded(export([Record.from_dict(data)], tmp_path / "x.html"))["questions"][0]
    assert q["question"] == data["sample"]["question"]
    assert q["nodes"][1]["entropies"][0] is None
    assert q["leaves"][0]["root"] is None


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no rollout trees"):
        export([], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_charts_take_the_known_metrics_else_the_first_numbers():
    rows = [{"step": i, "time/rollout": 1.0, "reward/mean": i / 9, "note": "x", "lr": float("nan")} for i in range(3)]
    assert charts(rows) == [{"name": "reward/mean", "points": [[0, 0.0], [1, 1 / 9], [2, 2 / 9]]}]
    for row in rows:
        del row["reward/mean"]
    assert [c["name"] for c in charts(rows)] == ["time/rollout"]
    assert charts([]) == charts(rows[:1]) == []


def test_a_browser_draws_the_tree_and_runs_nothing_of_a_tool_result(example_run, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium here")
    page = view(example_run)
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
    try:
        done = subprocess.run([*command, f"{page.as_uri()}#q=4&path=5"], capture_output=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium does not start here")
    dom = done.stdout.decode("utf-8", "replace")
    if done.returncode or "</html>" not in dom:
        pytest.skip("chromium does not start here")
    drawn = dom[: dom.index('id="data"')]
    assert "<title>example · rollout trees</title>" in drawn
    assert drawn.count('class="ask"') == 10
    assert drawn.count('class="row') == 8
    assert drawn.count('class="curve"') == 5
    assert "Path 5" in drawn and "branched × 1" in drawn and "−1.00" in drawn
    assert "&lt;/script&gt;&lt;script&gt;document.title" in drawn and "<img" not in drawn
    shades = [float(a) for a in re.findall(r"rgb\(var\(--heat\) / (0\.\d+)\)", drawn)]
    assert len(set(shades)) > 10 and max(shades) <= 0.7  # tokens shaded by their own entropy
