"""Loading a policy: a causal LM and its tokenizer, from a folder or a hub name, checked before anything is run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from aepo import paths

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters instead of full training (`peft`).

    Attributes:
        rank: Of each adapter.
        alpha: Scale; the update is alpha / rank * B A.
        dropout: On the adapters' input.
        targets: Names of the modules that get one; "all-linear" for all but the output layer.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"


@dataclass
class Policy:
    """A model, its tokenizer, where they came from and where they are."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: str
    device: torch.device

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and tokenizer, for `load_policy`; with LoRA the adapter alone."""
        with quiet():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_policy(
    path: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    gradient_checkpointing: bool = False,
    lora: Lora | None = None,
    attn_implementation: str = "sdpa",
    pad_token: str | None = None,
) -> Policy:
    """Load a causal LM for sampling and training.

    Args:
        path: A folder (of a model, or of an adapter that `Policy.save` wrote), or a name on the hub.
        device: "auto" takes CUDA if there is one, else the CPU.
        dtype: "float32" or "bfloat16"; "auto" is float32 on a CPU and bfloat16 elsewhere.
        gradient_checkpointing: Compute activations again in the backward pass.
        lora: Train adapters only.
        attn_implementation: "sdpa" or "eager".
        pad_token: The token that pads, if the tokenizer names none: one of the vocabulary that texts do not use.

    Raises:
        ValueError: Something is missing or does not fit, in one line.
    """
    name = str(path)
    folder = paths.local(name)
    adapter = folder if (folder / "adapter_config.json").is_file() else None
    _check_folder(name, folder, adapter is not None)
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    tokenizer = _tokenizer(name, folder, pad_token)
    source = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] if adapter else name
    local = paths.local(source)
    try:
        # What is downloaded may take minutes; what is read from a folder needs no bar.
        with quiet() if local.is_dir() else contextlib.nullcontext():
            model = AutoModelForCausalLM.from_pretrained(
                str(local) if local.is_dir() else source,
                dtype=_dtype(dtype, where),
                attn_implementation=attn_implementation,
            )
    except (OSError, ValueError) as error:
        raise ValueError(f"model {source}: {_first_line(error)}") from error
    size = model.config.get_text_config().vocab_size
    if len(tokenizer) > size:
        raise ValueError(f"model {name}: its tokenizer has {len(tokenizer)} tokens, but the model only {size}")
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model = adapted(model, adapter, lora)
    model.to(where)
    if gradient_checkpointing:
        # transformers 5.24 renamed it.
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        if adapter or lora:
            model.enable_input_require_grads()
    return Policy(model.eval(), tokenizer, name, where)


def load_tokenizer(path: str | Path, pad_token: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer alone, checked as `load_policy` does.

    Raises:
        ValueError: Something is missing or does not fit, in one line.
    """
    name, folder = str(path), paths.local(path)
    _check_folder(name, folder, (folder / "adapter_config.json").is_file())
    return _tokenizer(name, folder, pad_token)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which would write into a run's own display and into error output."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_folder(name: str, folder: Path, adapter: bool) -> None:
    if not folder.exists():
        # A hub name is "model" or "owner/model".
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise ValueError(f"model folder {name} does not exist")
        return
    if not folder.is_dir():
        raise ValueError(f"model {name} is a file: give the folder that holds config.json and the weights")
    if not adapter and not (folder / "config.json").is_file():
        raise ValueError(f"model folder {name} has no config.json: it is not a transformers model")
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ValueError(f"model folder {name} has no tokenizer (tokenizer.json): save one with save_pretrained")


def _tokenizer(name: str, folder: Path, pad_token: str | None) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError) as error:
        raise ValueError(f"tokenizer of model {name}: {_first_line(error)}") from error
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise ValueError(f'model.pad_token: "{pad_token}" is not in the vocabulary of {name}')
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        # Taking the end token would mask it from the loss: the choice is the user's.
        raise ValueError(f'model {name} has no pad token: `model.pad_token: "<token>"` names one of its vocabulary')
    return tokenizer


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name == "float16":
        raise ValueError('model.dtype: "float16" loses small gradients; take bfloat16, or float32 where it is slow')
    if name not in DTYPES:
        raise ValueError(f'model.dtype: "{name}" is none of auto, {", ".join(DTYPES)}')
    return DTYPES[name]


def adapted(model: PreTrainedModel, adapter: Path | None, lora: Lora | None) -> PreTrainedModel:
    """The model with the adapters of a folder, or with new ones, or as it is."""
    if adapter is None and lora is None:
        return model
    try:
        import peft
    except ImportError as error:
        raise ValueError('LoRA needs the package peft: pip install "aepo-rl[lora]"') from error
    if adapter is not None:
        return peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, config)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
