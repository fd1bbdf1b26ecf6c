"""What a machine is measured by does the work that it names: rows are sampled, steps are trained, and both agree."""

from __future__ import annotations

import pytest
import torch

from aepo.engines.local.load import Lora
from aepo.engines.local.policy import LocalPolicy
from benchmarks.bench.sampling import generated, profile, prompts_of, sampled
from benchmarks.bench.sizes import SIZES, config_of, random_policy
from benchmarks.bench.training import Agreement, agreement, made_up, shared_for, trained


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return random_policy(SIZES["toy"], torch.device("cpu"), torch.float32)


def test_sampling_and_generate_cost_time(policy: LocalPolicy) -> None:
    prompts = prompts_of(policy, 2, 8)
    cost, step = sampled(policy, prompts, 6)
    assert cost.seconds > step > 0 and cost.peak is None
    assert generated(policy, prompts, 6).seconds > 0


def test_a_decode_step_consists_of_something(policy: LocalPolicy) -> None:
    found = profile(policy, prompts_of(policy, 2, 8), 2)
    assert found["kernels"] > 0 and found["kernels_ms"] > 0 and found["wall_ms"] > 0
    assert found["top"]


def test_a_step_on_the_tree_is_the_step_on_whole_trajectories(policy: LocalPolicy) -> None:
    batch = made_up(SIZES["toy"].spoken, groups=1, rows=4, shared=shared_for(2.0, 4, 4), alone=4)
    flat, tree = (trained(policy, layout, batch, 512) for layout in ("flat", "tree"))
    assert tree["train/sharing"] == pytest.approx(2.0, rel=0.2)
    assert tree["grad/norm"] == pytest.approx(flat["grad/norm"], rel=1e-3)


def test_in_float32_trainer_and_sampler_agree(policy: LocalPolicy) -> None:
    found = agreement(policy, prompts=2, rows=2, length=8, tokens=6, temperature=1.0)
    for layout in ("flat", "tree"):
        assert isinstance(found[layout], Agreement)
        assert found[layout].largest < 1e-3 and found[layout].outside == 0


def test_adapters_train_a_small_part(policy: LocalPolicy) -> None:
    adapted = random_policy(SIZES["toy"], torch.device("cpu"), torch.float32, Lora(4, 8.0, 0.0, "all-linear"))
    count = sum(p.numel() for p in adapted.parameters())
    assert 0 < count < sum(p.numel() for p in policy.parameters()) / 10


@pytest.mark.parametrize(("name", "billions"), [("qwen3-0.6b", 0.596), ("qwen3-4b", 4.022), ("qwen3-8b", 8.191)])
def test_published_dimensions_give_published_sizes(name: str, billions: float) -> None:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(SIZES[name]))
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.001)
