"""Every key of a configuration is honoured under `engine: trl`, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aepo.config import Config, ConfigError, flat, load
from aepo.engines.trl.keys import KEYS, groups_a_pass, refuse

PAGE = Path(__file__).parents[3] / "docs" / "trl.md"


def line_of(key: str) -> str | None:
    """The line of `KEYS` that speaks of a key: its own, or that of the section around it."""
    parts = key.split(".")
    around = [".".join(parts[:n]) + ".*" for n in range(len(parts) - 1, 0, -1)]
    return next((name for name in (key, *around) if name in KEYS), None)


def test_every_key_of_a_configuration_has_its_line_and_every_line_a_key() -> None:
    keys = flat(Config().model_dump(mode="json"))
    lines = {key: line_of(key) for key in keys}
    assert [key for key, line in lines.items() if line is None] == []
    assert set(KEYS) == set(lines.values())


def test_the_page_has_them_all() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for key, what in KEYS.items():
        assert f"| `{key}` | {what} |" in text, key


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("rollout.overlap=2", "rollout.overlap is 2, but under engine: trl"),
        ("train.steps=0", "train.steps is 0, but TRL's trainer takes at least one"),
        ("train.minibatches=3", r"train.minibatches is 3, but under engine: trl .*16 \(rollout.questions\)"),
    ],
)
def test_what_cannot_be_honoured_is_refused(override: str, line: str) -> None:
    refuse(Config())
    with pytest.raises(ConfigError, match=line):
        refuse(load(None, [override]))


def test_a_forward_pass_takes_as_many_whole_groups_as_it_has_room_for() -> None:
    def config(*overrides: str) -> Any:
        return load(None, ["rollout.questions=24", "train.minibatches=2", "algorithm.group_size=8", *overrides])

    # A group has 8 x 100 tokens, an optimizer step 12 groups, which passes of 1, 2, 3, 4, 6 or 12 groups divide.
    assert groups_a_pass(config("train.micro_batch_tokens=800"), 100) == 1
    assert groups_a_pass(config("train.micro_batch_tokens=4700"), 100) == 4
    assert groups_a_pass(config("train.micro_batch_tokens=100000"), 100) == 12
    with pytest.raises(ConfigError, match=r"train.micro_batch_tokens is 799, .* 800 tokens \(8 x 100\): set it so"):
        groups_a_pass(config("train.micro_batch_tokens=799"), 100)
