"""A policy that vLLM samples for is trained in worlds of this process."""

from __future__ import annotations

from pathlib import Path

from aepo import api
from aepo.runs.metrics import read_metrics
from aepo.types import Origin, StopReason
from aepo.viewer import read_trees, tree_files
from tests.engines.openai.test_environment import check, letters
from tests.engines.vllm.conftest import Serve, Settings


def test_it_is_trained_in_an_environment(serve: Serve, settings: Settings, tmp_path: Path) -> None:
    api.train_task(settings(serve(), "algorithm.tau=0"), letters())
    groups = [record.group for path in tree_files(tmp_path / "run") for record in read_trees(path)]
    leaves = [leaf for group in groups for leaf in group.tree.leaves]
    assert StopReason.DONE in check(groups) and Origin.BRANCH in {leaf.origin for leaf in leaves}
    assert all(leaf.reward == leaf.outcome for leaf in leaves)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "train/learning_rate" in row]
    assert len(rows) == 2 and all(row["environment/opened"] == row["environment/closed"] for row in rows)
    assert any(row["grad/norm"] > 0 for row in rows)
