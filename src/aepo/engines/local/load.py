"""Loads a policy, a causal LM and its tokenizer, from a folder or a hub name, and checks it before anything is run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from aepo.engines.local.adapters import Adapter, Lora, add, attach, find_adapter, merged, name_base, refuse_other
from aepo.engines.local.supported import refuse_unsupported
from aepo.engines.named import check_named
from aepo.files.paths import expanded

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class LoadedModel:
    """A model and its tokenizer, with their source and their device."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: str
    device: torch.device

    def save(self, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write weights (safetensors) and tokenizer, for `load_policy`; with LoRA the adapter alone.

        Args:
            folder: The folder; it is made if missing.
            weights: Weights by the names of the model's `state_dict`; by default the current ones.
        """
        name_base(self.model)
        with quiet():
            self.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
        self.tokenizer.save_pretrained(folder)


def load_policy(
    path: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    gradient_checkpointing: bool = False,
    lora: Lora | None = None,
    pad_token: str | None = None,
    train: bool = False,
) -> LoadedModel:
    """Load a causal LM for sampling and training.

    An adapter is put on the model that it was trained on. For training it is merged into the weights, all of which are
    then trained. With `lora` only the adapter is trained further; it must have that rank, scale and targets.

    Args:
        path: A folder or hub name of a model or of an adapter.
        device: "auto" takes CUDA if there is one, else the CPU.
        dtype: "float32" or "bfloat16"; "auto" is float32 on a CPU and bfloat16 elsewhere.
        gradient_checkpointing: Compute activations again in the backward pass.
        lora: Train adapters only, new ones or those at `path`.
        pad_token: The padding token if the tokenizer names none, a token of the vocabulary that texts do not use.
        train: The weights will be trained.

    Raises:
        ValueError: A file or a setting is missing or does not fit; the message is one line.
    """
    name, adapter = _found(path)
    where = device_named(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"model.device is {device}, and torch {torch.__version__} finds no GPU: write auto or cpu")
    tokenizer = _tokenizer(name, adapter, pad_token)
    source, revision = (adapter.base, adapter.revision) if adapter else (name, None)
    config = _config(source, revision)
    config._attn_implementation = "sdpa"
    refuse_unsupported(config)
    model = _model(source, revision, config, dtype_named(dtype, where))
    size = model.config.get_text_config().vocab_size
    if len(tokenizer) > size:
        raise ValueError(f"model {name}: its tokenizer has {len(tokenizer)} tokens, but the model only {size}")
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model = _adapted(model, adapter, lora, train)
    model.to(where)
    if gradient_checkpointing:
        checkpoint_activations(model)
    return LoadedModel(model.eval(), tokenizer, name, where)


def device_named(name: str) -> torch.device:
    """The device of a setting; "auto" takes CUDA if there is one, else the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def dtype_named(name: str, device: torch.device) -> torch.dtype:
    """The type of the weights of a setting; "auto" is float32 on a CPU and bfloat16 elsewhere.

    Raises:
        ValueError: There is no such type, or it is not supported in training.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name == "float16":
        raise ValueError('model.dtype: "float16" loses small gradients; take bfloat16, or float32 where it is slow')
    if name not in DTYPES:
        raise ValueError(f'model.dtype: "{name}" is none of auto, {", ".join(DTYPES)}')
    return DTYPES[name]


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Let the model compute activations again in the backward pass, from now on."""
    # transformers 5.24 renamed the method.
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    if hasattr(model, "peft_config"):
        model.enable_input_require_grads()


def load_config(path: str | Path) -> PreTrainedConfig:
    """Load the configuration only; for an adapter, that of its model.

    Raises:
        ValueError: A file is missing or cannot be read; the message is one line.
    """
    name, adapter = _found(path)
    return _config(adapter.base, adapter.revision) if adapter else _config(name, None)


def load_tokenizer(path: str | Path, pad_token: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer only, with the checks of `load_policy`.

    Raises:
        ValueError: A file or a setting is missing or does not fit; the message is one line.
    """
    name, adapter = _found(path)
    return _tokenizer(name, adapter, pad_token)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars of transformers, which would write into a run's own display and into error output."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _found(path: str | Path) -> tuple[str, Adapter | None]:
    """The folder or hub name of a policy, and its adapter if it is one.

    Raises:
        ValueError: It has nothing that can be loaded.
    """
    # "~" is expanded; a hub name does not change.
    name = expanded(path)
    check_named(name)
    adapter = find_adapter(name)
    if adapter is not None:
        check_named(adapter.base)
    folder = Path(name)
    if adapter is None and folder.is_dir():
        if not (folder / "config.json").is_file():
            inside = sorted(file.parent.name for file in folder.glob("*/adapter_config.json"))
            hint = f": it holds adapters, give one of {inside}" if inside else ": it is not a transformers model"
            raise ValueError(f"model folder {name} has no config.json{hint}")
        if not _has_tokenizer(folder):
            raise ValueError(f"model folder {name} has no tokenizer (tokenizer.json): save one with save_pretrained")
    return name, adapter


def _config(source: str, revision: str | None) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(source, revision=revision or "main")
    except (OSError, ValueError) as error:
        raise ValueError(f"model {source}: {_first_line(error)}") from error


def _model(source: str, revision: str | None, config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    try:
        # A download may take minutes and needs a bar; a folder is read fast.
        with quiet() if Path(source).is_dir() else contextlib.nullcontext():
            return AutoModelForCausalLM.from_pretrained(
                source,
                config=config,
                dtype=dtype,
                attn_implementation=config._attn_implementation,
                revision=revision or "main",
            )
    except (OSError, ValueError) as error:
        raise ValueError(f"model {source}: {_first_line(error)}") from error


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in TOKENIZER_FILES)


def _tokenizer(name: str, adapter: Adapter | None, pad_token: str | None) -> PreTrainedTokenizerBase:
    if adapter is not None:
        name = adapter.path if _has_tokenizer(Path(adapter.path)) else adapter.base
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"tokenizer of model {name}: {_first_line(error)}") from error
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise ValueError(f'model.pad_token: "{pad_token}" is not in the vocabulary of {name}')
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        # With the end token as padding, the loss would not see ends of turns, so the user must choose.
        raise ValueError(f'model {name} has no pad token: `model.pad_token: "<token>"` names one of its vocabulary')
    return tokenizer


def _adapted(model: PreTrainedModel, adapter: Adapter | None, lora: Lora | None, train: bool) -> PreTrainedModel:
    if adapter is None:
        return model if lora is None else add(model, lora)
    adapted = attach(model, adapter)
    if train and lora is None:
        return merged(adapted)
    if train and lora is not None:
        refuse_other(adapted, adapter, lora)
    return adapted


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
