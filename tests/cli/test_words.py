"""Files, settings and options of a command may stand in any order."""

from __future__ import annotations

import pytest

from aepo.cli.bench import bench
from aepo.cli.doctor import doctor
from aepo.cli.solve import solve
from aepo.cli.train import train
from aepo.cli.words import lists, settings_first, switches


@pytest.mark.parametrize(
    ("command", "words", "ordered"),
    [
        (train, "a.yaml --dry-run run=runs/q", "a.yaml run=runs/q --dry-run"),
        (train, "--dry-run a.yaml run=runs/q", "a.yaml run=runs/q --dry-run"),
        (solve, "--model runs/q Why? seed=1", "Why? seed=1 --model runs/q"),
        (solve, "--model runs/q --metadata day=1 Why?", "Why? --model runs/q --metadata day=1"),
        (doctor, "--url http://a http://b seed=1", "seed=1 --url http://a http://b"),
        (bench, "atlas --rows 1 2", "atlas --rows 1 2"),
    ],
)
def test_words_are_found_behind_options(command, words: str, ordered: str) -> None:
    assert settings_first(words.split(), switches(command), lists(command)) == ordered.split()
