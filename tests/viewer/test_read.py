"""Reading a run's trees and metrics, and what is said about broken files."""

import gzip
import json

import pytest

from aepo.runs.records import nth_record
from aepo.types import TrajectoryTree
from aepo.viewer import Record, read_metrics, read_trees, tree_files, view


def test_records_come_back_as_written(example_run, example_lines):
    records = list(read_trees(example_run / "trees" / "step-000010.jsonl.gz"))
    assert [r.group.sample.id for r in records] == [f"test-{i}" for i in range(5)]
    assert records[1].step == 10
    assert records[1].group.tree == TrajectoryTree.from_dict(example_lines[1]["tree"])
    assert records[1].texts == example_lines[1]["token_texts"]


def test_texts_of_whole_nodes_are_one_piece_each(example_lines):
    data = example_lines[0]
    data["texts"] = ["".join(pieces) for pieces in data["token_texts"]]
    assert Record.from_dict(data).texts == data["token_texts"]  # texts of tokens are preferred
    del data["token_texts"]
    assert Record.from_dict(data).texts == [[text] for text in data["texts"]]


def broken(example_lines, change):
    data = json.loads(json.dumps(example_lines[0]))
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("tree"), "no 'tree'"),
        (lambda d: d.pop("step"), "no 'step'"),
        (lambda d: d["tree"].update(format=99), "format 99"),
        (lambda d: d["sample"].update(colour="red"), "not a rollout tree"),
        (lambda d: d["tree"].update(nodes=[1]), "not a rollout tree"),
        (lambda d: d["tree"]["nodes"][1].update(kind="dream"), "dream"),
        (lambda d: d["token_texts"].pop(), "texts for"),
        (lambda d: d.pop("token_texts"), "give 'texts' or 'token_texts'"),
        (lambda d: d["token_texts"][1].pop(), "node 1 has 13 tokens and 12 texts"),
        (lambda d: d["tree"]["nodes"][1].update(parent=1), "node 1 comes after node 1"),
        (lambda d: d["tree"]["leaves"][0].update(node=999), "node 999, which does not exist"),
    ],
)
def test_a_broken_record_says_what_is_wrong(example_lines, change, told):
    with pytest.raises(ValueError, match=told):
        Record.from_dict(broken(example_lines, change))


def test_a_broken_line_is_named(tmp_path, example_lines):
    path = tmp_path / "step-000001.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(example_lines[0]) + "\n{broken\n")
    with pytest.raises(ValueError, match=r"step-000001\.jsonl\.gz, line 2: "):
        list(read_trees(path))


def test_a_cut_file_and_a_file_that_is_no_gzip_are_named(tmp_path, example_run):
    whole = (example_run / "trees" / "step-000010.jsonl.gz").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:50] + b"\xff" * 40 + whole[90:], b"not compressed"):
        path = tmp_path / "step-000002.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"step-000002\.jsonl\.gz, line"):
            list(read_trees(path))


def test_files_come_by_step_whatever_else_lies_there(example_run):
    (example_run / "trees" / "notes.txt").write_text("x")
    (example_run / "trees" / "step-000020.jsonl.gz.tmp").write_text("x")
    assert [p.name for p in tree_files(example_run)] == ["step-000010.jsonl.gz", "step-000020.jsonl.gz"]
    assert [p.name for p in tree_files(example_run, [20, 30])] == ["step-000020.jsonl.gz"]


def test_missing_folders_and_steps_are_named(tmp_path, example_run):
    with pytest.raises(FileNotFoundError, match=r"no run folder .*nowhere"):
        view(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no rollout trees of step 7 "):
        tree_files(example_run, [7])
    with pytest.raises(ValueError, match="holds no rollout trees "):
        tree_files(tmp_path)


def test_one_record_is_read_without_the_others(example_run, tmp_path):
    path = example_run / "trees" / "step-000010.jsonl.gz"
    assert nth_record(path, 3)[0] == list(read_trees(path))[3]
    assert nth_record(path, 7) == (None, 5)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\n{broken\n" + lines[0]))
    assert nth_record(tmp_path / "x.gz", 1)[0].group.sample.id == "test-0"
    with pytest.raises(ValueError, match=r"x\.gz, line 2: "):
        nth_record(tmp_path / "x.gz", 0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda u: u.update(format=2), "an update of format 2, this version reads 1"),
        (lambda u: u.pop("ratios"), "an update without 'ratios'"),
        (lambda u: u["ratios"][1].pop(), "does not fit its tree"),
        (lambda u: u["advantages"].pop(), "does not fit its tree"),
    ],
)
def test_a_broken_update_says_what_is_wrong(example_lines, change, told):
    change(example_lines[0]["update"])
    with pytest.raises(ValueError, match=told):
        Record.from_dict(example_lines[0])


def test_metrics_are_optional(tmp_path, example_run):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    rows = read_metrics(example_run / "metrics.jsonl")
    assert [r["step"] for r in rows] == list(range(1, 61))
