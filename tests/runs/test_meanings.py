"""Every metric that a run writes has a sentence and a unit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aepo import api, config
from aepo.runs.meanings import MEANINGS, SHARE, meaning
from aepo.runs.metrics import read_metrics
from aepo.types import StopReason
from tests import tiny

SOURCES = Path(__file__).parents[2] / "src" / "aepo"
BALANCED = (
    "algorithm.kl_weight=0.01",
    "train.old_logprobs=recompute",
    "train.correction=truncate",
    "train.trust.rule=penalty",
    "train.entropy_control.rule=band",
    "tools.mode=cached",
)
# AXPO has no such settings.
UNKNOWN = ("algorithm.tau=0.5", "algorithm.entropy_window")


EVOLVING = (
    "instructions.enabled=true",
    'instructions.texts=["ab cd"]',
    "instructions.credit=step",
    "instructions.every=1",
    "instructions.min_groups=1",
    "instructions.max_tokens=24",
)


@pytest.mark.parametrize(
    "overrides", [BALANCED, ("algorithm.name=axpo",), ("rollout.deterministic=false", "rollout.overlap=1"), EVOLVING]
)
def test_every_metric_of_a_run_is_explained(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    model = tiny.save_model(tmp_path / "model")
    given = [one for one in tiny.settings(tmp_path / "run", model, *overrides) if not one.startswith(UNKNOWN)]
    settings = config.load(None, given)
    api.train_task(settings, tiny.letters())
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    names = {name for row in rows for name in row} - {"step"}
    assert len(names) > 50
    assert sorted(name for name in names if meaning(name) is None) == []
    shares = [row[name] for row in rows for name in row if name != "step" and meaning(name).unit == SHARE]
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_every_end_of_a_trajectory_and_every_count_of_a_tool_is_explained() -> None:
    assert all(meaning(f"stop/{reason.value}") for reason in StopReason)
    written = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    counted = re.findall(r'\bcount\("(\w[a-z_/]*)"', written)
    assert "retries" in counted and "environment/opened" in counted
    names = [name if name.startswith("environment/") else f"tool/{name}" for name in counted]
    assert [name for name in names if meaning(name) is None] == []


def test_names_with_a_part_of_their_own_are_found_and_unknown_ones_are_not() -> None:
    assert meaning("tool/my_search/error_rate").unit == SHARE
    assert meaning("eval/pass@8").text.startswith("The chance that at least one of k samples")
    assert meaning("reward/median") is None


def test_a_meaning_is_one_sentence() -> None:
    for topic in MEANINGS.values():
        for name, (_, text) in topic.items():
            assert text[0].isupper() or text[0] in "`1", name
            assert text.endswith("."), name
            assert len(text) < 130, name
