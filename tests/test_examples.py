"""Every example runs as it is, only shorter."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

from aepo.api import BUILT_IN_MODELS

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    settings = {"steps": 1} if "steps" in inspect.signature(example.main).parameters else {}
    example.main(**settings)
    out = capsys.readouterr().out
    assert "Pass@1" in out
    (page,) = (Path(line) for line in out.splitlines() if line.endswith(".html"))
    assert page.is_file() and page.stat().st_size > 10_000
    (run,) = Path("runs").iterdir()
    assert list((run / "checkpoints").iterdir())


def test_there_are_examples() -> None:
    assert EXAMPLES
