"""Instructions evolve under verl: a run, and a resumed one that renews them by a writer behind a loopback server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from aepo.config import parse
from aepo.engines.verl.export import export
from aepo.files.instruction import read_instruction
from aepo.runs.metrics import read_metrics

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from aepo.engines.verl.launch import prepared
from aepo.tasks import load
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran, train
from tests.engines.verl.test_run import CONFIG, trained
from tests.instructions.writer import ScriptedWriter, writing

TEXT = "Search for the river first."
INSTRUCTIONS: dict[str, Any] = {
    "enabled": True,
    "texts": [TEXT],
    "credit": "step",
    "every": 2,
    "min_groups": 1,
    "keep": 0.25,
    "verify_questions": 3,
    "max_tokens": 40,
}


@dataclass(frozen=True)
class Resumed:
    """A run of two steps that was resumed for a third one."""

    ran: Ran
    writer: ScriptedWriter


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resumed]:
    folder = tmp_path_factory.mktemp("verl") / "run"
    with writing("Look at the map.", "use <search>") as writer:
        config = {**CONFIG, "instructions": {**INSTRUCTIONS, "writer": writer.url}}
        first = train(folder, config)
        assert first.code == 0, first.output[-5000:]
        assert not writer.asked
        second = train(folder, config, "--resume", str(folder), "train.steps=3")
        assert second.code == 0, second.output[-5000:]
        yield Resumed(second, writer)


def population(run: Path) -> list[dict[str, Any]]:
    return read_metrics(run / "instructions.jsonl")


def test_each_group_was_asked_under_one_instruction_and_the_draw_is_logged(resumed: Resumed) -> None:
    run = resumed.ran.folder
    words = AutoTokenizer.from_pretrained(run / "checkpoints" / "global_step_3" / "actor" / "huggingface")
    for row in population(run):
        logged = trained(run)[row["step"]]
        drawn = [group.sample.instruction for group in trees(run, row["step"])]
        assert set(drawn) <= {member["text"] for member in row["members"]} | {TEXT}
        assert len(drawn) == sum(logged["instruction/groups_histogram"].values())
        for group in trees(run, row["step"]):
            prompt = words.decode(group.tree.nodes[0].tokens)
            assert (TEXT in prompt) == (group.sample.instruction == TEXT)
    assert [row["step"] for row in population(run)] == [1, 2, 3]


def test_a_resumed_run_goes_on_with_its_population_and_renews_it(resumed: Resumed) -> None:
    run, rows = resumed.ran.folder, population(resumed.ran.folder)
    assert sum(member["groups"] for member in rows[1]["members"]) == 2 * CONFIG["rollout"]["questions"]
    renewal = trained(run)[3]
    assert renewal["instruction/writer_calls"] == 2 and renewal["instruction/proposal_failed"] == 1
    assert renewal["instruction/tried_trajectories"] == 2 * INSTRUCTIONS["verify_questions"]
    assert "it holds '<search>'" in resumed.ran.output
    assert all("Write a better instruction" in text for text in resumed.writer.asked)
    joined = [member for member in rows[2]["members"] if member["parent"] is not None]
    assert len(joined) == renewal["instruction/accepted"]


def test_the_best_instruction_is_in_the_checkpoint_and_in_the_export(resumed: Resumed, tmp_path: Path) -> None:
    run, last = resumed.ran.folder, population(resumed.ran.folder)[-1]
    best = next(member["text"] for member in last["members"] if member["id"] == last["best"])
    export(run, tmp_path / "policy")
    assert read_instruction(tmp_path / "policy") == best
    kept = json.loads((run / "checkpoints" / "global_step_3" / "aepo.json").read_text())["instructions"]
    assert [member["text"] for member in kept["members"]] == [member["text"] for member in last["members"]]
    measured = [row for row in read_metrics(run / "metrics.jsonl") if "eval/success" in row and row["step"] == 3]
    assert measured and all(("instruction/own_success" in row) == (last["best"] != 0) for row in measured)


def test_a_text_with_a_tag_is_refused_before_anything_starts(tmp_path: Path) -> None:
    bad = {**INSTRUCTIONS, "texts": ["write <answer>"]}
    config = parse({**CONFIG, "engine": "verl", "run": str(tmp_path / "run"), "instructions": bad})
    with pytest.raises(ValueError, match="it holds '<answer>'"):
        prepared(config, load("atlas", CONFIG["task"]["options"]))
