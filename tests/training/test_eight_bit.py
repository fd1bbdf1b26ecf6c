"""`train.optimizer: adamw_8bit` takes a library that works on the device, or says what to do; runs go on with it."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

import pytest
import torch

from aepo import api, config
from aepo.cli import main
from aepo.config import ConfigError
from aepo.doctor.extras import extras
from aepo.training import eight_bit
from aepo.training.eight_bit import LIBRARIES, rule_of
from aepo.training.optimizer import AdamW, exact
from tests import tiny

CPU = torch.device("cpu")
WORKING = """
import torch


class AdamW8bit(torch.optim.AdamW):
    def __init__(self, params, lr, betas, eps, weight_decay):
        super().__init__(params, torch.tensor(lr), betas, eps, weight_decay, foreach=False)
"""
BROKEN = """
class AdamW8bit:
    def __init__(self, *given):
        raise NotImplementedError("no kernel for this device\\nand more lines")
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a library of one name; those that are installed are out of sight."""
    names = ("first_library", "second_library")
    monkeypatch.setattr(eight_bit, "LIBRARIES", names)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "optim.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in names:
        sys.modules.pop(name, None), sys.modules.pop(f"{name}.optim", None)


def test_adamw_needs_no_library(library) -> None:
    assert rule_of("adamw", CPU) is exact


def test_without_a_library_the_command_says_what_to_install(
    library, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*tiny.settings(tmp_path / "run", model_folder), "train.optimizer=adamw_8bit"]
    assert main(["train", *settings]) == 2
    assert 'pip install "aepo-rl[eight-bit]", or set train.optimizer: adamw' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_doctor_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepo.doctor.extras.find_spec", lambda name: None)
    (found,) = extras(config.load(None, ["train.optimizer=adamw_8bit"]))
    assert (found.name, found.fix) == ("train.optimizer", 'pip install "aepo-rl[eight-bit]"')


def test_a_library_that_does_not_work_here_is_passed_over(library) -> None:
    library("first_library", BROKEN)
    with pytest.raises(ConfigError, match=r"does not work on cpu here \(first_library: no kernel for this device\)"):
        rule_of("adamw_8bit", CPU)
    library("second_library", WORKING)
    assert rule_of("adamw_8bit", CPU).__module__ == "second_library.optim"


def test_a_library_steps_as_pytorch_does_with_a_rate_that_changes(library) -> None:
    library("first_library", WORKING)
    ours, theirs = (torch.nn.Parameter(torch.linspace(0.5, 2.0, 8)) for _ in range(2))
    one, other = AdamW([ours], 1e-2, rule=rule_of("adamw_8bit", CPU)), torch.optim.AdamW([theirs], 1e-2, weight_decay=0)
    for rate in (1e-2, 1e-3, 0.0):
        one.param_groups[0]["lr"] = other.param_groups[0]["lr"] = rate
        ours.grad = theirs.grad = torch.ones(8)
        one.step(), other.step()
    torch.testing.assert_close(ours, theirs)


def test_moments_of_another_library_are_refused(library) -> None:
    library("first_library", WORKING)
    half = torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    kept = AdamW([half], 1e-2, rule=rule_of("adamw_8bit", CPU)).state_dict()
    with pytest.raises(ValueError, match="were kept by first_library, and torch cannot read them"):
        AdamW([half], 1e-2).load_state_dict(kept)


def test_a_run_trains_and_goes_on(library, tmp_path: Path, model_folder: Path) -> None:
    library("first_library", WORKING)
    settings = [*tiny.settings(tmp_path / "run", model_folder), "train.optimizer=adamw_8bit", "model.dtype=bfloat16"]
    task = tiny.letters(4)
    api.train_task(config.load(None, [*settings, "train.steps=1"]), task)
    run = api.train_task(config.load(None, [*settings, "train.steps=2"]), task, resume=True)
    assert run.policy is not None
    with pytest.raises(ConfigError, match=r"train\.optimizer was 'adamw_8bit' and is now 'adamw'"):
        api.train_task(config.load(None, [*settings, "train.optimizer=adamw"]), task, resume=True)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_installed_library_follows_float32_moments_and_goes_on_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    rule = pytest.importorskip(f"{name}.optim").AdamW8bit
    start = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) * 0.02
    small, large = (torch.nn.Parameter(start.to(dtype, copy=True)) for _ in range(2))
    one, other = AdamW([small], 1e-4, rule=rule), AdamW([large], 1e-4)

    def walk(first: int, *pairs: tuple[torch.nn.Parameter, AdamW]) -> None:
        for number in range(first, first + 20):
            grad = torch.randn(64, 128, generator=torch.Generator().manual_seed(number)) + 0.5
            for parameter, optimizer in pairs:
                parameter.grad = grad.clone()
                optimizer.step()

    walk(0, (small, one), (large, other))
    moved = (large.float() - start.to(dtype).float()).norm()
    assert (small.float() - large.float()).norm() < 0.1 * moved
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    again = torch.nn.Parameter(small.detach().clone())
    resumed = AdamW([again], 1e-4, rule=rule)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    walk(20, (small, one), (again, resumed))
    assert torch.equal(again, small)
