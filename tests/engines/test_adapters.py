"""Training that begins from an adapter: what is trained, what the reference is, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch

from aepo.engines.local.adapters import Lora
from aepo.engines.local.load import load_policy
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.policy import LocalPolicy
from tests.engines.test_scoring import TOKENS, VOCABULARY, WANTED, on_tree, trained

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS = {
    "plain": {},
    "all-linear": {"target_modules": "all-linear"},
    "scaled by the root of the rank": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "with its biases": {"bias": "lora_only"},
    "with all biases": {"bias": "all"},
    "with an output layer": {"modules_to_save": ["lm_head"]},
    "with embeddings": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "with a low-rank output layer": {"target_modules": [*PROJECTIONS, "lm_head"]},
    "of several ranks": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"q_proj": 9}},
    "with dropout": {"lora_dropout": 0.5},
}
FITTING = Lora(rank=2, alpha=8)


@pytest.fixture
def base(tmp_path: Path, build, words):
    def base(**changes: object) -> Path:
        build(attention_bias=True, **changes).save_pretrained(tmp_path / "base")
        words(VOCABULARY).save_pretrained(tmp_path / "base")
        return tmp_path / "base"

    return base


@pytest.fixture
def adapter(base, tmp_path: Path):
    """A folder as peft writes it, of an adapter that changes the model, beside its base."""

    def adapter(changes: dict[str, object], **shape: object) -> Path:
        model = load_policy(base(**shape), device="cpu").model
        settings = {"r": 2, "lora_alpha": 8, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM"}
        made = peft.get_peft_model(model, peft.LoraConfig(**{**settings, **changes}))
        noise = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        made.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    return adapter


def as_peft_has_it(folder: Path) -> torch.Tensor:
    source = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = peft.PeftModel.from_pretrained(load_policy(source, device="cpu").model, folder)
    return ModelLogprobs(model, VOCABULARY).score(TOKENS, WANTED, 1.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [False, True])
def test_the_reference_is_the_policy_that_training_began_from(adapter, tmp_path, kind, whole, tied) -> None:
    folder = adapter(KINDS[kind], tie_word_embeddings=tied)
    targets = "all-linear" if kind == "all-linear" else (*KINDS[kind].get("target_modules", PROJECTIONS),)
    settings = {"device": "cpu", "train": True, "lora": None if whole else Lora(rank=2, alpha=8, targets=targets)}
    policy = LocalPolicy(load_policy(folder, **settings))
    assert whole == (len(list(policy.parameters())) == len(list(policy.model.parameters())))
    start = policy.score(TOKENS, WANTED, 1.0).detach()
    assert torch.allclose(start, as_peft_has_it(folder), atol=1e-4), "nothing of the adapter is left out"

    frozen = policy.frozen()
    trained(policy)
    after = policy.score(TOKENS, WANTED, 1.0).detach()
    assert (after - start).abs().max() > 0.01
    assert torch.equal(frozen.score(TOKENS, WANTED, 1.0), start)
    assert torch.allclose(on_tree(frozen), on_tree(LocalPolicy(load_policy(folder, **settings))), atol=1e-5)
    assert torch.equal(policy.score(TOKENS, WANTED, 1.0), after)

    copy = policy.weights()
    policy.save(tmp_path / "saved")
    trained(policy)
    policy.save(tmp_path / "copy", copy)
    assert contents(tmp_path / "copy") == contents(tmp_path / "saved"), "later training does not change a copy"
    again = LocalPolicy(load_policy(folder, **settings))
    resumed = again.frozen()
    again.restore(tmp_path / "saved")
    assert torch.equal(again.score(TOKENS, WANTED, 1.0), after)
    assert torch.equal(resumed.score(TOKENS, WANTED, 1.0), start), "a resumed run has the same reference"
    loaded = LocalPolicy(load_policy(tmp_path / "saved", device="cpu"))
    assert torch.allclose(loaded.score(TOKENS, WANTED, 1.0), after, atol=1e-5)


@pytest.mark.parametrize(
    ("lora", "asked"),
    [
        (Lora(rank=32, alpha=8, targets=(*PROJECTIONS,)), "rank 32, alpha 8"),
        (Lora(rank=2, alpha=4, targets=(*PROJECTIONS,)), "rank 2, alpha 4"),
        (Lora(rank=2, alpha=8, targets=("q_proj",)), r"targets \['q_proj'\]"),
        (Lora(rank=2, alpha=8), "targets all-linear"),
    ],
)
def test_settings_that_are_not_the_adapters_are_refused(adapter, lora: Lora, asked: str) -> None:
    folder = adapter({})
    with pytest.raises(ValueError, match=rf"asks for .*{asked}.*has rank 2, alpha 8 and targets .*or to null to merge"):
        load_policy(folder, device="cpu", train=True, lora=lora)
    assert load_policy(folder, device="cpu", lora=lora).model.peft_config["default"].r == 2, "an evaluation trains none"


def test_an_adapter_without_ranks_is_merged_or_refused(base, tmp_path) -> None:
    model = load_policy(base(), device="cpu").model
    settings = {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}
    made = peft.get_peft_model(model, peft.IA3Config(task_type="CAUSAL_LM", **settings))
    made.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"\(IA3\) has no rank"):
        load_policy(tmp_path / "adapter", device="cpu", train=True, lora=FITTING)
    merged = load_policy(tmp_path / "adapter", device="cpu", train=True).model
    assert not hasattr(merged, "peft_config") and all(p.requires_grad for p in merged.parameters())


def changed(folder: Path, **settings: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"base_model_name_or_path": None}, "does not name its model: set base_model_name_or_path"),
        ({"base_model_name_or_path": "/nowhere/model"}, "model folder /nowhere/model does not exist"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8}, r"\(PROMPT_TUNING\) reads or adds tokens"),
        ({"alora_invocation_tokens": [5]}, "reads or adds tokens"),
        ({"task_type": "SEQ_CLS"}, "was trained for SEQ_CLS"),
        ({"target_modules": ["c_attn"]}, "does not fit .*c_attn"),
        ({"r": 3}, "does not fit .*size mismatch"),
    ],
)
def test_an_adapter_that_cannot_be_run_is_refused_in_one_line(adapter, settings, problem: str) -> None:
    folder = adapter({})
    changed(folder, **settings)
    with pytest.raises(ValueError, match=problem) as refused:
        load_policy(folder, device="cpu")
    assert "\n" not in str(refused.value)


def test_an_adapter_of_an_adapter_and_a_folder_of_several_are_refused_by_name(adapter, tmp_path) -> None:
    folder = adapter({})
    (tmp_path / "several").mkdir()
    folder.rename(tmp_path / "several" / "first")
    with pytest.raises(ValueError, match=r"it holds adapters, give one of \['first'\]"):
        load_policy(tmp_path / "several", device="cpu")
    second = tmp_path / "second"
    second.mkdir()
    (second / "adapter_config.json").write_text((tmp_path / "several" / "first" / "adapter_config.json").read_text())
    changed(second, base_model_name_or_path=str(tmp_path / "several" / "first"))
    with pytest.raises(ValueError, match="trained on another adapter"):
        load_policy(second, device="cpu")


def test_a_second_adapter_in_a_folder_is_not_mixed_in(adapter, base) -> None:
    folder = adapter({})
    alone = LocalPolicy(load_policy(folder, device="cpu")).score(TOKENS, WANTED, 1.0)
    model = peft.PeftModel.from_pretrained(load_policy(base(), device="cpu").model, folder)
    model.add_adapter("ref", peft.LoraConfig(r=4, target_modules=["v_proj"], init_lora_weights=False))
    model.save_pretrained(folder)
    assert (folder / "ref" / "adapter_config.json").is_file()
    assert torch.equal(LocalPolicy(load_policy(folder, device="cpu")).score(TOKENS, WANTED, 1.0), alone)


def test_an_adapter_on_the_hub_is_loaded_as_one(adapter, tmp_path) -> None:
    folder = adapter({})
    for name, source in (("me/base", tmp_path / "base"), ("me/adapter", folder)):
        kept = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("abc")
        (kept / "snapshots").mkdir()
        source.rename(kept / "snapshots" / "abc")
    changed(tmp_path / "hub" / "models--me--adapter" / "snapshots" / "abc", base_model_name_or_path="me/base")
    script = (
        "from aepo.engines.local.load import load_policy\n"
        "for train in (False, True):\n"
        "    model = load_policy('me/adapter', device='cpu', train=train).model\n"
        "    print(hasattr(model, 'peft_config'), sum(p.requires_grad for p in model.parameters()))\n"
    )
    settings = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=settings, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True 16", "False 29"], done.stderr
