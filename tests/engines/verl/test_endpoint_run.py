"""Where replies of verl's servers have no entropies, a run asks their HTTP interface, and grows its trees by those."""

from __future__ import annotations

import json

import pytest
import torch

from aepo import api

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran
from tests.engines.verl.test_equality import scored
from tests.engines.verl.test_run import BUILT_IN_MODELS, export_step, trained


def test_the_runs_metadata_names_the_source_and_why_it_is_not_a_better_one(own_task: Ran):
    source = json.loads((own_task.folder / "versions.json").read_text())["entropy_source"]
    assert (source["name"], source["estimator"]) == ("endpoint", "topk")
    assert list(source["refused"]) == ["replica"]


def test_entropies_of_the_trees_are_bounds_near_those_of_verls_own_pass(own_task: Ran):
    for step in (1, 2):
        trajectories = [t for group in trees(own_task.folder, step) for t in group.trajectories()]
        mean = sum(sum(t.entropies) for t in trajectories) / sum(sum(t.loss_mask) for t in trajectories)
        exact = trained(own_task.folder)[step]["verl/actor/entropy"]
        assert 0 < mean <= exact + 1e-5
        # The servers have the step's weights: those of the step before would be off by more.
        assert mean == pytest.approx(exact, rel=0.1)


def test_each_step_was_drawn_by_the_weights_of_the_step_before(own_task: Ran):
    after = own_task.folder.parent / "after-1"
    export_step(own_task.folder, 1, after)
    for step, model in {1: BUILT_IN_MODELS["atlas"], 2: after}.items():
        policy = api.load_policy(str(model))
        for trajectory in (t for group in trees(own_task.folder, step) for t in group.trajectories()):
            with torch.no_grad():
                logp, _ = scored(policy, trajectory)
            wrote = [at for at, trained_on in enumerate(trajectory.loss_mask) if trained_on]
            assert [trajectory.logprobs[at] for at in wrote] == pytest.approx(logp[[at - 1 for at in wrote]], abs=1e-4)
