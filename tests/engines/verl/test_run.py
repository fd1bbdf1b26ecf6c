"""verl really runs: Ray, two FSDP2 ranks over gloo, two rollout servers, two steps of AEPO on `atlas`, its real tools.

A run takes a minute or two, nearly all of it the start of verl's processes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from aepo.algorithms import AEPO
from aepo.cli import main
from aepo.core.advantages import group_relative
from aepo.engines.verl.export import export, merged
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.types import Kind, Origin

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from tests.engines.verl.compared import local_step, trees
from tests.engines.verl.conftest import Ran, train

K, TOKENS = 4, 200
# So many groups are enough that two steps hardly ever have only groups whose trajectories are all rewarded alike.
QUESTIONS = 4
ALGORITHM = {"name": "aepo", "group_size": K, "tau": 0.4}
CONFIG: dict[str, Any] = {
    "model": {"path": "atlas", "dtype": "float32"},
    "task": {"name": "atlas", "options": {"size": 60, "held_out": 4}},
    "algorithm": ALGORITHM,
    "rollout": {"questions": QUESTIONS, "max_tokens": TOKENS, "max_tool_calls": 4},
    "train": {
        "steps": 2,
        "minibatches": 1,
        "learning_rate": 1e-3,
        "warmup": 0,
        "checkpoint_every": 1,
        "trees_every": 1,
        "micro_batch_tokens": 1024,
    },
    "evaluation": {"questions": 2, "samples": 2},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("verl")
    (folder / "weights").mkdir()
    dumped = {"trainer.rollout_data_dir": str(folder / "dump")}
    done = train(folder / "run", {**CONFIG, "verl": dumped}, AEPO_TEST_WEIGHTS=str(folder / "weights"))
    assert done.code == 0, done.output[-5000:]
    return done


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def trained(run: Path) -> dict[int, dict[str, Any]]:
    """The metrics of training, by step."""
    return {row["step"]: row for row in rows(run) if "loss" in row}


def test_losses_gradients_and_metrics_are_finite(ran: Ran):
    steps = trained(ran.folder)
    assert sorted(steps) == [1, 2]
    for row in steps.values():
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
        assert (row["grad/norm"] > 0) == (row["verl/critic/advantages/max"] > 0)
    assert any(row["grad/norm"] > 0 for row in steps.values())


def test_every_group_has_its_k_leaves_and_branches_where_the_explorer_made_them(ran: Ran):
    branches = 0
    for step in (1, 2):
        groups = trees(ran.folder, step)
        assert len(groups) == QUESTIONS
        for group in groups:
            tree = group.tree
            assert [leaf.path for leaf in tree.leaves] == list(range(K))
            decided = Counter({n.id: n.decision.branches for n in tree.nodes if n.decision and n.decision.branches})
            begun = Counter()
            for leaf in tree.leaves:
                if leaf.origin is Origin.BRANCH:
                    first = next(n for n in tree.walk(leaf.node) if n.path == leaf.path)
                    assert tree.nodes[first.parent].kind is Kind.OBSERVATION
                    begun[first.parent] += 1
            assert begun == decided
            branches += begun.total()
    assert branches > 0


def test_verl_trained_one_row_a_leaf_each_with_its_own_reward_in_its_own_group(ran: Ran):
    differs = False
    for step in (1, 2):
        dump = [json.loads(line) for line in (ran.folder.parent / "dump" / f"{step}.jsonl").read_text().splitlines()]
        by_uid: dict[str, list[float]] = {}
        for row in dump:
            by_uid.setdefault(row["uid"].split("_")[0], []).append(row["score"])
        found = sorted(by_uid.values())
        assert found == sorted([leaf.reward for leaf in group.tree.leaves] for group in trees(ran.folder, step))
        differs = differs or any(len(set(scores)) > 1 for scores in found)
    assert differs


def test_the_loss_the_gradient_and_the_advantages_are_those_of_one_machine(ran: Ran):
    algorithm = AEPO(group_size=K, tau=0.4)
    models = {1: BUILT_IN_MODELS["atlas"], 2: ran.folder.parent / "after-1"}
    export_step(ran.folder, 1, models[2])
    for step, model in models.items():
        local, row = local_step(model, trees(ran.folder, step), algorithm, TOKENS), trained(ran.folder)[step]
        assert row["loss"] == pytest.approx(local["loss"], abs=1e-4)
        assert row["grad/norm"] == pytest.approx(local["grad/norm"], abs=1e-4)
        for end in ("max", "min"):
            assert row[f"verl/critic/advantages/{end}"] == pytest.approx(local[f"advantages/{end}"], abs=1e-4)


def export_step(run: Path, step: int, out: Path) -> None:
    """Export another checkpoint than the newest."""
    newest = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    before = newest.read_text()
    newest.write_text(str(step))
    try:
        export(run, out)
    finally:
        newest.write_text(before)


def test_entropy_reached_the_advantage(ran: Ran):
    learned = [step for step, row in trained(ran.folder).items() if row["grad/norm"] > 0]
    assert learned
    for step in learned:
        groups = [torch.tensor(group.rewards) for group in trees(ran.folder, step)]
        largest = max(float(group_relative(rewards, torch.zeros(K, dtype=torch.long)).max()) for rewards in groups)
        # An advantage above every group's z-score is one that an uncertain token made larger.
        assert trained(ran.folder)[step]["verl/critic/advantages/max"] > largest + 1e-3


def test_entropies_of_the_trees_are_those_of_verls_own_pass(ran: Ran):
    for step in (1, 2):
        trajectories = [t for group in trees(ran.folder, step) for t in group.trajectories()]
        mean = sum(sum(t.entropies) for t in trajectories) / sum(sum(t.loss_mask) for t in trajectories)
        assert trained(ran.folder)[step]["verl/actor/entropy"] == pytest.approx(mean, abs=1e-5)
    source = json.loads((ran.folder / "versions.json").read_text())["entropy_source"]
    assert source == {"name": "replica", "estimator": "full", "refused": {}}


def test_both_servers_have_the_weights_that_the_trainer_saved(ran: Ran):
    for step in (1, 2):
        saved = merged(ran.folder / "checkpoints" / f"global_step_{step}" / "actor")
        for server in (0, 1):
            held = torch.load(ran.folder.parent / "weights" / f"step-{step}-server-{server}.pt")
            assert set(saved) == set(held)
            assert all(torch.equal(saved[name], held[name]) for name in saved)
    before = torch.load(ran.folder.parent / "weights" / "step-0-server-0.pt")
    assert any(not torch.equal(before[name], saved[name]) for name in saved)


def test_what_the_run_learned_of_its_entropies_is_in_the_checkpoint(ran: Ran):
    kept = [json.loads((ran.folder / "checkpoints" / f"global_step_{n}" / "aepo.json").read_text()) for n in (1, 2)]
    assert [state["exploration"]["steps"] for state in kept] == [1, 2]
    assert kept[1]["exploration"]["mean_observations"] > 0


def test_evaluations_before_and_after_have_pass_at_k_and_greedy(ran: Ran):
    found = {row["step"]: row for row in rows(ran.folder) if "eval/success" in row}
    assert sorted(found) == [0, 2]
    for row in found.values():
        assert {"eval/success", "eval/pass@2", "eval/greedy", "eval/calls"} <= row.keys()
    outcomes = (ran.folder / "outcomes" / "step-000002.jsonl").read_text().splitlines()
    assert len(outcomes) == 2


def test_the_newest_checkpoint_exports_to_a_folder_that_an_evaluation_opens(
    ran: Ran, capsys: pytest.CaptureFixture[str]
):
    out = ran.folder.parent / "policy"
    assert main(["export", str(ran.folder), str(out)]) == 0
    config = ["--config", str(ran.folder / "config.yaml"), "--questions", "2", "--samples", "2"]
    assert main(["eval", str(out), *config, "--out", str(ran.folder.parent / "evaluated")]) == 0
    assert "Pass@1" in capsys.readouterr().out
    assert main(["eval", str(ran.folder)]) == 2
    assert f"aepo export {ran.folder}" in capsys.readouterr().err
