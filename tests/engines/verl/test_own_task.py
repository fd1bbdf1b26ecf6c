"""The user's file that `local` trains (`tests/engines/own_task.py`) trains on verl, with the same settings.

The rollout servers of this run give no entropies in their replies but have an HTTP interface: `test_endpoint_run` looks
at what was made of it.
"""

from __future__ import annotations

import pytest

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from tests.engines.own_task import QUESTIONS, check_trees
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran
from tests.engines.verl.test_run import trained


def test_the_file_trains_as_it_is(own_task: Ran):
    assert own_task.code == 0, own_task.output[-5000:]
    check_trees(own_task.folder)
    assert sorted(trained(own_task.folder)) == [1, 2]


def test_a_step_drops_no_more_groups_than_its_rounds_allow_and_trains_on_two(own_task: Ran):
    for step, row in trained(own_task.folder).items():
        assert row.get("verl/training/filter_groups/evicted_samples", 0) <= QUESTIONS
        assert len(trees(own_task.folder, step)) == QUESTIONS
