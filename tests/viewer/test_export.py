"""The single file: what is in it, that it needs nothing else, and that no text can leave its place."""

import base64
import hashlib
import json
import re

import pytest

from aepo.viewer import view
from aepo.viewer.bundle import bundle
from aepo.viewer.export import Choice, export
from aepo.viewer.source import open_source
from tests.viewer.conftest import write_trees


def embedded(path):
    """The data inside the file by address, as a browser reads it."""
    text = path.read_text(encoding="utf-8")
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1)
    return {address: json.loads(value) for address, value in json.loads(held).items()}


def test_the_file_holds_what_the_server_would_tell(example_run):
    data = embedded(view(example_run))
    assert [s["key"] for s in data["view.json"]["runs"][0]["sections"]] == ["10", "20"]
    assert data["view.json"]["live"] is False and "note" not in data["view.json"]
    assert len(data["runs/0/metrics.json"]["rows"]) == 60
    assert [q["id"] for q in data["runs/0/sections/20.json"]] == [f"test-{i}" for i in range(5)]
    assert data["runs/0/sections/20/4.json"]["leaves"][0]["advantages"]


def test_view_writes_into_the_run_or_where_it_is_told(example_run, tmp_path):
    assert view(example_run) == example_run / "trees.html"
    other = view(example_run, tmp_path / "other.html", steps=[20])
    assert other == tmp_path / "other.html"
    assert "runs/0/sections/10.json" not in embedded(other) and "runs/0/sections/20.json" in embedded(other)


def test_chosen_questions_keep_their_numbers(example_run, tmp_path):
    choice = Choice(sections=["10"], questions=["test-3"])
    data = embedded(export([open_source(example_run)], tmp_path / "x.html", choice))
    assert [q["index"] for q in data["runs/0/sections/10.json"]] == [3]
    assert "runs/0/sections/10/3.json" in data


def test_a_large_run_is_thinned_evenly_to_the_size_and_says_so(example_run, tmp_path):
    whole = len(view(example_run).read_bytes())
    path = view(example_run, tmp_path / "small.html", megabytes=0.1)
    data = embedded(path)
    shown = [q["step"] for key, value in data.items() if re.fullmatch(r"runs/0/sections/\d+\.json", key) for q in value]
    assert 2 <= len(shown) < 10 and set(shown) == {10, 20}
    assert data["view.json"]["note"].startswith(f"{len(shown)} of 10 questions")
    assert len(path.read_bytes()) < whole


def test_two_runs_lie_side_by_side(example_run, tmp_path):
    data = embedded(view(example_run, tmp_path / "x.html", other=example_run))
    assert len(data["view.json"]["runs"]) == 2
    assert data["runs/1/sections/10/0.json"] == data["runs/0/sections/10/0.json"]


def test_it_loads_nothing_and_its_policy_names_its_scripts_by_hash(example_run):
    text = view(example_run).read_text(encoding="utf-8")
    shell = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"<link|<img|<iframe|<[^>]*\bsrc=|@import|url\(|\bimport\(", shell)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src" not in policy
    parts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL) + re.findall(
        r"<style>(.*?)</style>", text, re.DOTALL
    )
    assert len(parts) == 3
    for part in parts:
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in policy


def test_no_text_can_leave_its_place(example_run, example_lines):
    path = view(example_run)
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 3 and "owned" in text and "<img" not in text
    nodes = embedded(path)["runs/0/sections/10/4.json"]["nodes"]
    assert [n["pieces"] if n["kind"] == "policy" else ["".join(n["pieces"])] for n in nodes] == [
        t if n["kind"] == "policy" else ["".join(t)]
        for n, t in zip(nodes, example_lines[4]["token_texts"], strict=True)
    ]


def test_a_title_is_escaped(example_run, tmp_path):
    folder = example_run.rename(example_run.parent / "a <b> & c")
    text = view(folder, tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<title>a &lt;b&gt; &amp; c · rollout trees</title>" in text


def test_values_that_json_or_utf8_do_not_know_are_written(example_run, example_lines, tmp_path):
    data = example_lines[0]
    data["sample"]["question"] = "half a sign \ud83d, a zero \x00, a line \u2028"
    data["tree"]["nodes"][1]["entropies"][0] = float("nan")
    data["tree"]["leaves"][0]["root_entropy"] = float("inf")
    write_trees(example_run / "trees" / "step-000030.jsonl.gz", [data])
    q = embedded(view(example_run, tmp_path / "x.html", steps=[30]))["runs/0/sections/30/0.json"]
    assert q["question"] == data["sample"]["question"]
    assert q["nodes"][1]["entropies"][0] is None and q["leaves"][0]["root"] is None


def test_nothing_to_show_is_an_error(example_run, tmp_path):
    with pytest.raises(ValueError, match="there are no trees of 7: there are 10, 20"):
        view(example_run, tmp_path / "x.html", steps=[7])
    with pytest.raises(ValueError, match="holds no rollout trees that were chosen"):
        export([open_source(example_run)], tmp_path / "x.html", Choice(questions=["nobody"]))
    assert not (tmp_path / "x.html").exists()


def test_modules_become_one_script_in_the_order_of_their_imports():
    script = bundle()
    order = re.findall(r'^modules\["(\w+)"\]', script, re.MULTILINE)
    assert order[-1] == "main" and len(order) == len(set(order)) > 15
    assert order.index("dom") < order.index("marks") < order.index("tree") < order.index("group")
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
