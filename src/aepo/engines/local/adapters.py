"""Finds adapters (`peft`), puts them on their base model, and checks them against the settings of a run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import snapshot_download
from torch import nn
from transformers.utils.peft_utils import find_adapter_config_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters instead of full training (`peft`).

    Attributes:
        rank: The rank of each adapter.
        alpha: The scale; the update is alpha / rank * B A.
        dropout: The dropout on the adapters' input.
        targets: The names of the modules that get an adapter; "all-linear" means all but the output layer.
    """

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = ALL_LINEAR


@dataclass(frozen=True)
class Adapter:
    """A saved adapter.

    Attributes:
        path: The adapter's folder.
        base: The absolute folder, or the hub name, of the model that it was trained on.
        revision: The revision of the base on the hub; None is the newest.
    """

    path: str
    base: str
    revision: str | None


def find_adapter(path: str) -> Adapter | None:
    """Find the adapter of a folder or a hub name; None if it is no adapter. An adapter on the hub is downloaded.

    Raises:
        ValueError: The adapter does not say what it was trained on, changes more than weights, or was trained on
            another adapter.
    """
    file = _config_file(path)
    if file is None:
        return None
    saved = json.loads(Path(file).read_text(encoding="utf-8"))
    kind, base = saved.get("peft_type"), saved.get("base_model_name_or_path")
    if not base:
        raise ValueError(f"adapter {path} does not name its model: set base_model_name_or_path in adapter_config.json")
    if saved.get("num_virtual_tokens") or saved.get("alora_invocation_tokens"):
        raise ValueError(f"adapter {path} ({kind}) reads or adds tokens; only adapters that change weights can be run")
    if saved.get("task_type") not in (None, "CAUSAL_LM"):
        raise ValueError(f"adapter {path} was trained for {saved['task_type']}, not for CAUSAL_LM")
    base = _found_base(os.path.expanduser(base), Path(path))
    if _config_file(base) is not None:
        raise ValueError(f"adapter {path} was trained on another adapter, {base}: merge that into its model first")
    folder = path if Path(path).is_dir() else snapshot_download(path, ignore_patterns="*/*")
    return Adapter(folder, base, saved.get("revision"))


def _found_base(base: str, adapter: Path) -> str:
    """The base with an absolute path if it is a folder: here, or beside one of the folders above the adapter."""
    places = [Path(), *adapter.absolute().parents] if adapter.is_dir() else [Path()]
    return next((str((place / base).resolve()) for place in places if (place / base / "config.json").is_file()), base)


def name_base(model: PreTrainedModel) -> None:
    """Write the folder of the base into the adapters' configuration as an absolute path, to be found from anywhere."""
    for config in getattr(model, "peft_config", {}).values():
        config.base_model_name_or_path = _found_base(config.base_model_name_or_path or "", Path())


def _config_file(path: str) -> str | None:
    try:
        found: str | None = find_adapter_config_file(path)
    except OSError:  # a name that is no folder and not on the hub is refused when the model is loaded
        return None
    return found


def attach(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """Put a saved adapter on its model, so that it can be trained.

    Raises:
        ValueError: The adapter does not fit the model.
    """
    try:
        return _peft().PeftModel.from_pretrained(model, adapter.path, is_trainable=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # PyTorch names the sizes in the lines after the first.
        raise ValueError(f"adapter {adapter.path} does not fit {adapter.base}: {' '.join(lines[:2])}") from error


def add(model: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    """Put new adapters on a model. Only they are trained, and they change nothing yet.

    Raises:
        ValueError: No module has one of the names.
    """
    peft = _peft()
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, config)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """Add a model's adapter to its weights, all of which can then be trained.

    Raises:
        ValueError: Its adapter cannot be added to weights.
    """
    base = model.get_base_model()
    head, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    if any(p.requires_grad for end in (head, embeddings) if end is not None for p in end.parameters()):
        _untie(base)
    try:
        whole: PreTrainedModel = model.merge_and_unload()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ValueError(f"the adapter cannot be merged into the weights: {error}") from error
    return whole.requires_grad_(True)


def refuse_other(model: PreTrainedModel, adapter: Adapter, lora: Lora) -> None:
    """Check that settings for new adapters are those of the adapter that is trained on.

    Raises:
        ValueError: They differ; the message has both.
    """
    own = model.peft_config["default"]
    rank, alpha, targets = (getattr(own, name, None) for name in ("r", "lora_alpha", "target_modules"))
    named = targets if isinstance(targets, str) else sorted(targets or ())
    asked = lora.targets if isinstance(lora.targets, str) else sorted(lora.targets)
    if (rank, alpha) == (lora.rank, lora.alpha) and (asked == named or _selected(model, asked) == _adapted(model)):
        return
    kind = getattr(own.peft_type, "value", own.peft_type)
    has = f"rank {rank}, alpha {alpha:g} and targets {named}" if rank is not None and alpha is not None else "no rank"
    raise ValueError(
        f"model.lora asks for rank {lora.rank}, alpha {lora.alpha:g} and targets {asked}, but the adapter in "
        f"{adapter.path} ({kind}) has {has}: set model.lora to these to train it on, or to null to merge it and train "
        "all weights"
    )


def _adapted(model: PreTrainedModel) -> set[str]:
    """Names of the modules that an adapter changes."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name for name, module in model.get_base_model().named_modules() if isinstance(module, BaseTunerLayer)}


def _selected(model: PreTrainedModel, targets: str | list[str]) -> set[str]:
    """Names of the modules that new adapters would change."""
    base = model.get_base_model()
    names = {name for name, _ in base.named_modules()}
    if targets == ALL_LINEAR:
        head = base.get_output_embeddings()
        layers = {name.removesuffix(".base_layer"): module for name, module in base.named_modules()}
        return {
            name
            for name, module in layers.items()
            if isinstance(module, nn.Linear) and module is not head and ".lora_" not in name
        }
    wanted = [targets] if isinstance(targets, str) else targets
    return {name for name in names for target in wanted if name == target or name.endswith(f".{target}")}


def _untie(base: PreTrainedModel) -> None:
    """Give the output layer its own weights, so that an adapter's update of one does not change the other."""
    head = base.get_output_embeddings()
    layer = getattr(head, "original_module", head)
    layer = getattr(layer, "base_layer", layer)
    layer.weight = nn.Parameter(layer.weight.detach().clone())
    base.config.tie_word_embeddings = base.config.get_text_config().tie_word_embeddings = False


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError('LoRA needs the package peft: pip install "aepo-rl[lora]"') from error
    return peft
