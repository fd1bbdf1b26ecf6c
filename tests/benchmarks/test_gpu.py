"""What `benchmarks/gpu.sh` is made of: the profile, the agent inside a larger model, the targets beside the figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from aepo.bench.published import dimensions
from aepo.bench.random_model import config_from, random_policy
from aepo.bench.sampling import random_prompts
from aepo.equipment.models import BUILT_IN_MODELS
from benchmarks.decode_profile import profile
from benchmarks.gpu import TOY, targets
from benchmarks.grown import grow
from tests.bench import toy


def test_a_decode_step_consists_of_something() -> None:
    policy = random_policy(toy.DIMENSIONS, torch.device("cpu"), torch.float32)
    found = profile(policy, random_prompts(512, 2, 8), 2)
    assert min(found["kernels"], found["kernels_ms"], found["wall_ms"]) > 0 and found["top"]


def test_the_agent_in_a_larger_model_says_what_it_says_alone(tmp_path: Path) -> None:
    folder = grow(config_from(dimensions(str(TOY))), tmp_path / "model", torch.float32)
    small, large = (AutoModelForCausalLM.from_pretrained(path).eval() for path in (BUILT_IN_MODELS["atlas"], folder))
    tokens = torch.arange(20, 44)[None]
    with torch.no_grad():
        one, other = (model(tokens).logits.log_softmax(-1)[0, :, :1500] for model in (small, large))
    # The norms divide by a mean in which the constant channel counts a little.
    assert large.config.num_hidden_layers > small.config.num_hidden_layers
    assert torch.allclose(one, other, atol=0.05)


def test_each_target_stands_beside_its_figure() -> None:
    figures = {
        "runs/full/aepo": {"time/step": [90.0, 4.0, 5.0, 6.0], "fits": True},
        "runs/full/grpo": {"time/step": [90.0, 4.0, 4.0, 4.0], "fits": True, "state": "out of memory"},
        "bench/qwen3-0.6b/sampling, 64 rows": {"tokens_per_second": 900.0, "fits": True},
        "bench/qwen3-0.6b/generate, 64 rows": {"tokens_per_second": 300.0, "fits": None},
        "bench/qwen3-0.6b/training, tree": {"state": "out of memory", "fits": False},
    }
    found = list(targets(figures).items())
    assert [one["figure"] for _, one in found] == [pytest.approx(1.25), pytest.approx(3.0), None, 1.0]
    assert [one["met"] for _, one in found] == [False, True, None, False]
    assert "of the 3 parts that doctor's estimate calls fitting" in found[-1][0]
    assert {one["figure"] for one in targets({}).values()} == {None}
