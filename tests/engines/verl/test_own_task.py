"""The user's file that `local` and `trl` train (`tests/engines/own_task.py`) trains on verl, with the same settings."""

from __future__ import annotations

import pytest

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from tests.engines.own_task import QUESTIONS, USER, check_trees, settings
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran, train
from tests.engines.verl.test_run import trained


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("verl") / "run"
    return train(folder, settings("verl", folder), home=USER)


def test_the_file_trains_as_it_is(ran: Ran):
    assert ran.code == 0, ran.output[-5000:]
    check_trees(ran.folder)
    assert sorted(trained(ran.folder)) == [1, 2]


def test_a_step_drops_no_more_groups_than_its_rounds_allow_and_trains_on_two(ran: Ran):
    for step, row in trained(ran.folder).items():
        assert row.get("verl/training/filter_groups/evicted_samples", 0) <= QUESTIONS
        assert len(trees(ran.folder, step)) == QUESTIONS
