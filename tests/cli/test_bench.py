"""`aepo bench` as a user runs it: one table, the figures as JSON, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepo.cli import main

FEW = ["--rows", "1", "2", "--prompt", "8", "--tokens", "8"]
PARTS = [
    "sampling, 1 row",
    "sampling, 2 rows",
    "sampler and trainer",
    "weight push",
    "generate, 1 row",
    "generate, 2 rows",
    "training, flat",
    "training, tree",
]


def test_the_model_of_the_package_is_measured_part_by_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    assert main(["bench", "atlas", "train.threads=1", *FEW, "--out", str(out)]) == 0
    shown, said = capfd.readouterr()
    found = json.loads(out.read_text())
    assert list(found["parts"]) == PARTS
    assert {part["state"] for part in found["parts"].values()} == {"measured"}
    parts = found["parts"]
    for name in ("sampling, 2 rows", "generate, 2 rows", "training, flat", "training, tree"):
        assert parts[name]["tokens_per_second"] > 0
    for name in ("sampling, 2 rows", "training, flat"):
        assert parts[name]["estimate_bytes"] > 4 * found["shape"]["parameters"] and parts[name]["fits"]
    assert parts["sampler and trainer"]["tree/max"] < 1e-3
    table = shown.splitlines()
    assert table[0].split()[:3] == ["part", "measured", "compared"]
    assert [line for line in table if line.startswith("generate, 2 rows") and "sampling is" in line]
    assert [line for line in table if line.startswith("training, tree") and "of flat's time" in line]
    assert [line for line in table if line.startswith("atlas: 1.3 M parameters, float32, on CPU (1 thread), torch ")]
    assert said.startswith("atlas: loading\nsampling, 1 row (1 of 8, ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name a model, or a size with --random qwen3-0.6b: neither is given"),
        (["atlas", "--random", "qwen3-0.6b"], "both are given"),
        (["--random", "qwen3"], "there is no such file and no such size; did you mean qwen3-"),
        (["http://localhost:1/v1"], "is a server, which cannot be measured from here"),
        (["atlas", "train.steps=3"], "train.steps=3: a measurement reads only model.*, rollout.temperature"),
        (["model.dtype=bfloat16"], "neither is given"),
        (["nowhere/at/all"], "model folder nowhere/at/all does not exist"),
        (["atlas", "--rows", "0"], "--rows: give numbers of 1 or more"),
        (["atlas", "--tokens", "2"], "at least 1 and 8 are needed"),
        (["atlas", "--minutes", "nan"], "--minutes is nan"),
        (["atlas", "--out", "/nowhere/bench.json"], "there is no folder /nowhere"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    error = [line for line in capfd.readouterr().err.splitlines() if not line.endswith(": loading")]
    assert len(error) == 1 and error[0].startswith("aepo: ") and told in error[0]
