"""A user's folder with a task file of twenty lines, and a configuration that only the engine's name differs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aepo.viewer import read_trees, tree_files

USER = Path(__file__).parent / "user"
FILE = USER / "own_task.py"
STEPS, QUESTIONS, K = 2, 2, 4


def settings(engine: str, run: Path) -> dict[str, Any]:
    """What the user's YAML file says."""
    return {
        "engine": engine,
        "run": str(run),
        "task": {"name": "own_task:capitals"},
        "model": {"path": "atlas", "dtype": "float32"},
        "algorithm": {"name": "dapo", "group_size": K, "max_rounds": 2},
        "rollout": {"questions": QUESTIONS, "max_tokens": 120, "max_tool_calls": 3},
        "train": {
            "steps": STEPS,
            "minibatches": 1,
            "learning_rate": 1e-3,
            "warmup": 0,
            "trees_every": 1,
            "checkpoint_every": 1,
        },
    }


def check_trees(run: Path) -> None:
    """Every step has whole groups of the file's questions, and the file's tool answered in some of them."""
    files = tree_files(run)
    assert len(files) == STEPS
    answers: set[str] = set()
    for path in files:
        groups = [record.group for record in read_trees(path)]
        assert len(groups) >= QUESTIONS
        for group in groups:
            assert len(group.tree.leaves) == K
            assert group.sample.question.startswith("What is the capital of")
            answers |= {result.text for node in group.tree.nodes for result in node.results}
    assert any(text.startswith("capital of") for text in answers), answers
