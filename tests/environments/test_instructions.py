"""Runs in an environment whose instructions evolve: worlds open and fork under an instruction, which has the credit."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

import aepo
from aepo import api, config
from aepo.runs.metrics import read_metrics
from aepo.types import Origin
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.environments.test_runs import Letters
from tests.instructions.writer import writing

INSTRUCTIONS = (
    "instructions.enabled=true",
    'instructions.texts=["ab cd"]',
    "instructions.credit=step",
    "instructions.every=1",
    "instructions.verify_questions=3",
    "instructions.max_tokens=24",
    "rollout.questions=4",
    "train.steps=2",
)


def test_worlds_fork_under_an_instruction_and_what_they_say_is_its_credit(tmp_path: Path, model_folder: Path) -> None:
    task = aepo.Task("letters", tiny.samples(5), system="", environment=aepo.environment(Letters, max_open=12))
    with writing("ij ij", "kl") as writer:
        overrides = (*INSTRUCTIONS, f"instructions.writer={writer.url}", "algorithm.tau=0")
        api.train_task(config.load(None, tiny.settings(tmp_path / "run", model_folder, *overrides)), task)
    words, run = tiny.tokenizer(), tmp_path / "run"
    steps = [[record.group for record in read_trees(path)] for path in tree_files(run)]
    worth = defaultdict(list)
    for group in (group for step in steps for group in step):
        told, prompt = group.sample.instruction, words.decode(group.tree.nodes[0].tokens)
        assert prompt.startswith(f"<|system|>{told}<|user|>") if told else "<|system|>" not in prompt
        assert all(leaf.reward == leaf.outcome for leaf in group.tree.leaves)
    assert Origin.BRANCH in {leaf.origin for step in steps for group in step for leaf in group.tree.leaves}
    for group in steps[0]:
        worth[group.sample.instruction].append(fmean(group.rewards) - fmean(fmean(g.rewards) for g in steps[0]))
    assert len(worth) == 2, "both were drawn"
    weights = {m["text"]: m["weight"] for m in read_metrics(run / "instructions.jsonl")[0]["members"]}
    assert weights == pytest.approx({text: fmean(found) for text, found in worth.items()}) and any(weights.values())
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "reward/mean" in row]
    # The second step also has the worlds in which the two new instructions and the worst one were tried.
    assert rows[1]["instruction/tried_trajectories"] == 9
    assert all(row["environment/opened"] == row["environment/closed"] >= 4 * 6 for row in rows)
    assert rows[1]["environment/opened"] >= 4 * 6 + 9 and rows[0]["environment/replayed_calls"] > 0
