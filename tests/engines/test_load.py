from __future__ import annotations

import sys

import pytest
import torch

from aepo.engines.local import load_policy
from aepo.engines.local.adapters import Lora

VOCABULARY = 96


@pytest.fixture
def folder(tmp_path, build, words):
    build().save_pretrained(tmp_path / "model")
    words(VOCABULARY).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(20)[None]).logits


def test_a_policy_is_the_same_after_saving_and_loading(folder, tmp_path):
    policy = load_policy(folder, device="cpu")
    assert policy.model.dtype == torch.float32 and not policy.model.training
    policy.save(tmp_path / "again")
    again = load_policy(tmp_path / "again", device="cpu")
    assert torch.equal(logits(policy.model), logits(again.model))
    assert again.tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    assert (tmp_path / "again" / "model.safetensors").is_file()


def test_an_adapter_is_the_same_after_saving_and_loading(folder, tmp_path):
    policy = load_policy(folder, device="cpu", lora=Lora(rank=2))
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in trained) < sum(p.numel() for p in policy.model.parameters()) / 2
    for parameter in trained:
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    policy.save(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    again = load_policy(tmp_path / "adapter", device="cpu")
    assert torch.allclose(logits(policy.model), logits(again.model), atol=1e-6)
    assert not torch.allclose(logits(again.model), logits(load_policy(folder, device="cpu").model), atol=1e-2)
    assert any(p.requires_grad for p in again.model.parameters())


def test_lora_without_peft_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"aepo-rl\[lora\]"):
        load_policy(folder, device="cpu", lora=Lora())


def test_a_model_without_a_pad_token_is_refused_until_one_is_named(folder, words):
    tokenizer = words(VOCABULARY)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"no pad token: `model.pad_token"):
        load_policy(folder, device="cpu")
    with pytest.raises(ValueError, match="not in the vocabulary"):
        load_policy(folder, device="cpu", pad_token="<nowhere>")
    policy = load_policy(folder, device="cpu", pad_token="<pad>")
    assert policy.tokenizer.pad_token_id == policy.model.config.pad_token_id == 0


def test_a_misspelt_run_is_not_asked_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "towns").mkdir(parents=True)
    (tmp_path / "runs" / "towns" / "config.yaml").write_text("seed: 1")
    with pytest.raises(ValueError, match=r"^runs has no run twons: did you mean towns\?$"):
        load_policy("runs/twons")


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a file"):
        load_policy(folder / "config.json")
    with pytest.raises(ValueError, match="none of auto"):
        load_policy(folder, device="cpu", dtype="float8")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_policy(folder, device="cpu")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match="no tokenizer"):
        load_policy(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_policy(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(folder, words):
    words(VOCABULARY + 4).save_pretrained(folder)
    with pytest.raises(ValueError, match="100 tokens, but the model only 96"):
        load_policy(folder, device="cpu")


def test_float16_is_refused_before_anything_is_loaded(model_folder):
    with pytest.raises(ValueError, match='"float16" loses small gradients; take bfloat16'):
        load_policy(model_folder, dtype="float16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_one_line(model_folder):
    with pytest.raises(ValueError, match=r"model.device is cuda, .* finds no GPU: write auto or cpu"):
        load_policy(str(model_folder), device="cuda")
