"""The policy of a run leaves as a folder that loads from anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import aepo
from aepo import config
from aepo.assembly.export import export
from aepo.cli import main
from aepo.files.instruction import read_instruction, write_instruction
from tests import tiny

LORA = ["model.lora.rank=2", "model.lora.alpha=4", "train.steps=1", "evaluation.every=0"]


def trained(run: Path, model: Path, *more: str) -> aepo.Run:
    return aepo.train(str(model), tiny.letters(), config=config.load(None, tiny.settings(run, model, *more)))


@pytest.fixture
def adapted(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with LoRA on a model that was named by a relative path, seen from another folder."""
    pytest.importorskip("peft")
    home, other = tmp_path / "home", tmp_path / "other"
    other.mkdir()
    shutil.copytree(model_folder, home / "models" / "small")
    monkeypatch.chdir(home)
    trained(Path("run"), Path("models/small"), *LORA)
    monkeypatch.chdir(other)
    return home / "run"


def logits(folder: Path) -> torch.Tensor:
    policy = aepo.load_policy(str(folder))
    with torch.no_grad():
        return policy.model(torch.tensor([[7, 8, 9]])).logits


def test_a_whole_model_is_copied(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path / "run", model_folder, "train.steps=1", "evaluation.every=0")
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "deep" / "policy")]) == 0
    assert "step-000001/policy ->" in capsys.readouterr().out
    assert torch.equal(logits(tmp_path / "deep" / "policy"), logits(tmp_path / "run"))
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "deep" / "policy")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "merged"), "--merge"]) == 2
    assert "leave --merge out" in capsys.readouterr().err
    assert not list(tmp_path.rglob(".tmp-*"))


def test_an_adapter_finds_its_model_from_any_folder_and_can_be_merged(adapted: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    (told,) = adapted.glob("checkpoints/step-000001/policy")
    write_instruction(told, "ab cd")
    export(adapted, tmp_path / "adapter")
    base = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(base) == tmp_path / "home" / "models" / "small"
    export(adapted, tmp_path / "whole", merge=True)
    assert read_instruction(tmp_path / "whole") == read_instruction(tmp_path / "adapter") == "ab cd"
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")(torch.tensor([[7, 8, 9]])).logits
    torch.testing.assert_close(whole.detach(), logits(adapted))
    torch.testing.assert_close(logits(tmp_path / "adapter"), logits(adapted))


def test_an_adapter_that_names_its_model_by_a_relative_path_is_loaded_too(adapted: Path) -> None:
    (file,) = adapted.glob("checkpoints/step-000001/policy/adapter_config.json")
    moved = shutil.copytree(file.parent, adapted.parent / "older" / "adapter")
    settings = json.loads((moved / file.name).read_text()) | {"base_model_name_or_path": "models/small"}
    (moved / file.name).write_text(json.dumps(settings))
    assert torch.equal(logits(moved), logits(adapted))


def test_what_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "is no run" in capsys.readouterr().err


def test_what_cannot_be_uploaded_is_written_all_the_same(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "run", model_folder, "train.steps=1", "evaluation.every=0")
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--push", "no/such/name"]) == 2
    assert "is written, but cannot be uploaded as no/such/name" in capsys.readouterr().err
    assert (tmp_path / "out" / "model.safetensors").is_file()
