"""What training needs, counted on the device "meta", where tensors have their sizes and no numbers.

A model of the configuration, cut to a few layers, really makes a forward and a backward pass there, and every tensor is
counted from the moment in which it is made to that in which it is freed. The other layers add what one of them keeps.
So adapters, checkpointing, precision and the form of a layer need no formulas.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from aepo.assembly.policies import adapters
from aepo.config import ModelConfig
from aepo.core.trie import Trie
from aepo.doctor.allocations import Allocations
from aepo.engines.local.adapters import add
from aepo.engines.local.dispatch import copied_bytes
from aepo.engines.local.head import base_model
from aepo.engines.local.load import checkpoint_activations
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.residual import widen_residual
from aepo.training.optimizer import AdamW

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KEPT = 3
"""Layers of the model that is counted: what is kept between the entries of the last two is what each layer keeps."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes, and numbers of parameters.

    Attributes:
        parameters: All of them, adapters too.
        trained: Those that are trained.
        weights: Bytes of all weights.
        copied: Bytes of the weights that an engine on a CPU holds a second time.
        held: Gradients and the optimizer: rests of bfloat16 weights, and moments.
        worst: What a forward and backward pass takes besides, or the optimizer's step, whichever is more.
    """

    parameters: int
    trained: int
    weights: int
    copied: int
    held: int
    worst: int


def training_memory(
    config: PreTrainedConfig, settings: ModelConfig, dtype: torch.dtype, tokens: int, eight_bit: bool = False
) -> TrainingMemory:
    """Count what training needs.

    Args:
        config: The configuration of the model.
        settings: Its `lora` and `gradient_checkpointing` are used.
        dtype: The type of the weights.
        tokens: The tokens of a forward pass.
        eight_bit: Whether moments have 8 bits.
    """
    with torch.device("meta"):
        # It is changed when the model is cut.
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    if (lora := adapters(settings)) is not None:
        model = add(model, lora)
    if settings.gradient_checkpointing:
        checkpoint_activations(model)
    widen_residual(model)
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    moments = 2 + 2 * 4 / 256 if eight_bit else 8
    rests = sum(2 * p.numel() for p in trained if p.dtype is torch.bfloat16)
    count = sum(p.numel() for p in trained)
    step = max(_step_bytes(p) for p in trained)
    return TrainingMemory(
        parameters=sum(p.numel() for p in parameters),
        trained=count,
        weights=sum(p.numel() * p.element_size() for p in parameters),
        copied=copied_bytes(model, "cpu"),
        held=rests + int((4 + moments) * count),
        worst=max(step, _pass_bytes(model.eval(), tokens)),
    )


def _step_bytes(parameter: nn.Parameter) -> int:
    """What the optimizer's step of one parameter takes."""
    one = nn.Parameter(torch.empty_like(parameter))
    optimizer = AdamW([one], 1.0)
    one.grad = torch.zeros_like(one, dtype=torch.float32)
    optimizer.step()
    with Allocations() as live:
        optimizer.step()
    return live.peak


def _pass_bytes(model: PreTrainedModel, tokens: int) -> int:
    """What a forward and a backward pass take, beside weights and gradients."""
    decoder = base_model(model).get_decoder()
    layers = cast(nn.ModuleList, decoder.layers)
    left_out = max(0, len(layers) - KEPT)
    decoder.layers = layers[: len(layers) - left_out]
    decoder.config.num_hidden_layers = len(decoder.layers)
    for module in model.modules():
        module.training = getattr(module, "gradient_checkpointing", False)
    for parameter in model.parameters():
        if parameter.requires_grad:
            # A later pass of an optimizer step: the gradients are there.
            parameter.grad_dtype = torch.float32
            parameter.grad = torch.zeros_like(parameter, dtype=torch.float32)
    logprobs = ModelLogprobs(model, model.config.get_text_config().vocab_size)
    ids_N = torch.zeros(tokens, dtype=torch.int64, device="meta")
    with Allocations() as live:
        entries = _Entries(live, decoder.layers)
        logprobs.score_tree(Trie(*[ids_N] * 6), ids_N, ids_N, 1.0).sum().backward()
    each = entries.kept[-1] - entries.kept[-2] if left_out else 0
    return max(live.peak, entries.peak + left_out * each)


class _Entries:
    """Looks at the count when layers are entered, and when the backward pass leaves the last one.

    Attributes:
        kept: Bytes at the entry of each layer.
        peak: The most until the last layer's gradient is there: then all layers still hold what they keep.
    """

    def __init__(self, live: Allocations, layers: nn.ModuleList) -> None:
        self.kept: list[int] = []
        self.peak = 0
        self._live = live
        for layer in layers:
            layer.register_forward_pre_hook(self._entered)
        layers[-1].register_forward_pre_hook(self._last)

    def _entered(self, layer: nn.Module, given: Any) -> None:
        self.kept.append(self._live.now)

    def _last(self, layer: nn.Module, given: Any) -> None:
        if given[0].requires_grad:
            given[0].register_hook(self._left)

    def _left(self, grad: Tensor) -> None:
        self.peak = self.peak or self._live.peak
