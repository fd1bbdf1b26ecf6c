"""Trees are the same bytes whoever writes them, and what a writer could not do is told."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path

import pytest

from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.records import read_trees
from aepo.runs.trees import TreeWriter, save_trees
from aepo.runs.updates import TokenUpdates
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, TrajectoryTree


class Opaque:
    """What a reward may leave in metadata: another process has no such class."""

    def __repr__(self) -> str:
        return "opaque"


def group(name: str) -> Group:
    tree = TrajectoryTree(gap=0.1 + 0.2, global_samples=1)
    prompt = tree.add(None, Kind.PROMPT, [1, 2], 0)
    policy = tree.add(prompt.id, Kind.POLICY, [3, 4], 0)
    policy.logprobs, policy.entropies = [-0.1, -1 / 3], [float("nan"), 2 / 3]
    policy.calls = (ToolCall("search", {"query": "ä\ud800"}),)
    tree.add(policy.id, Kind.OBSERVATION, [5], 0).results = (ToolResult("a \ud800 surrogate", seconds=0.25),)
    tree.leaves.append(Leaf(0, policy.id, Origin.PROBE, StopReason.ANSWER, "x", reward=1.0))
    return Group(Sample("Wer? \u2028", ["a", "b"], name, {"seen": Opaque(), "by": {3: "three"}}), tree)


def updates() -> TokenUpdates:
    return TokenUpdates(0.2, 0.3, [[1 / 3, -2 / 3]], [[], [1.0000001, None], []])


def test_another_process_writes_the_same_bytes_step_after_step(tmp_path: Path) -> None:
    here, there = RunFolder(tmp_path / "here"), RunFolder(tmp_path / "there")
    writer = TreeWriter(there, str)
    for step in (1, 2, 3):
        groups = [group("one"), group("two")][:step]
        writer.save(step, groups, [updates()])
        save_trees(here, step, groups, str, [updates()])
    writer.wait()
    written = {path.name: path.read_bytes() for path in here.trees.iterdir()}
    assert len(written) == 3 and {path.name: path.read_bytes() for path in there.trees.iterdir()} == written
    writer.close()


def test_a_line_has_the_numbers_in_their_places_and_those_of_an_update_are_short(tmp_path: Path) -> None:
    path = save_trees(RunFolder(tmp_path), 7, [group("one"), group("two")], str, [updates()])
    first, second = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    assert list(first) == ["step", "sample", "tree", "token_texts", "update"] and "update" not in second
    assert list(first["tree"]["nodes"][1])[:7] == ["id", "parent", "kind", "tokens", "path", "logprobs", "entropies"]
    assert first["tree"]["nodes"][1]["logprobs"] == [-0.1, -1 / 3]
    assert first["sample"]["metadata"] == {"seen": "opaque", "by": {"3": "three"}}
    assert first["update"]["advantages"] == [[0.33333, -0.66667]] and first["update"]["ratios"][1] == [1.0, None]
    (one, _) = read_trees(path)
    assert one.group.tree.nodes[2].results == group("one").tree.nodes[2].results


def test_a_disk_that_refuses_is_one_clear_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.trees.write_text("in the way")
    writer = TreeWriter(folder, str)
    writer.save(1, [group("one")])
    with pytest.raises(RunFolderError, match=r"^cannot write .*trees.*; make room, or choose a run folder") as error:
        writer.wait()
    assert "\n" not in str(error.value)
    writer.close()
    assert folder.trees.read_text() == "in the way"


def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    writer = TreeWriter(folder, killed)
    writer.save(1, [group("one")])
    with pytest.raises(RuntimeError, match="the process that writes trees was killed by signal 9"):
        writer.wait()
    writer.close()
    assert not folder.trees.exists()


def killed(tokens: list[int]) -> str:
    """Decode, in a process that the system ends meanwhile."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""
