"""Makes a small copy of a model's family, and compares its logits through a cache with those of one pass.

The copy has the family's configuration with two layers, few tokens and narrow feed-forward parts. Its weights are
random, in float32 and on the CPU, so the result does not depend on rounding, adapters, weights or the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from aepo.engines.local import tree_attention
from aepo.engines.local.forward import Forward
from aepo.engines.local.schedule import compacting_moves
from aepo.engines.local.table import RowTable

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

LAYERS, VOCABULARY, NARROW = 2, 48, 32
TOLERANCE = 1e-3
"""Largest difference of a logit. Logits of the small copy are about 1 in size, and rounding makes some 1e-6."""
PROMPTS = (5, 9)
"""Tokens of the two rows before their first turn; rows of different length are padded."""
READ = (1, 1, 1, 4, 1, 1)
"""Tokens that are read at once after the prompt: a turn is read token by token, a tool's result in one piece."""
ROOM = (len(PROMPTS), max(PROMPTS) + sum(READ))
"""Slots, and positions in each, that the cache of a trial needs."""
WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim", "n_inner")


@dataclass(frozen=True)
class Family:
    """The configuration that a small copy is made from.

    Attributes:
        kind: The class of the configuration.
        text: The configuration as JSON.
        kernel: The name of the attention.
    """

    kind: type[PreTrainedConfig]
    text: str
    kernel: str

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Self:
        """The family of a model that has this configuration; a model that is not loaded yet will have "sdpa"."""
        kernel = getattr(config, "_attn_implementation", None)
        # The attention of a trie is "sdpa" in calls without a trie.
        name = "sdpa" if kernel in (None, tree_attention.NAME) else str(kernel)
        return cls(type(config), str(config.to_json_string(use_diff=False)), name)

    @contextmanager
    def small_copy(self) -> Iterator[PreTrainedModel]:
        """A model of the family, without gradients; the state of random numbers does not change.

        Raises:
            ValueError: transformers cannot make one.
        """
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                model = _built(_shrunk(self, WIDTHS), self.kernel)
            except (ValueError, RuntimeError, AssertionError, TypeError):
                # Some families need widths that fit each other.
                model = _built(_shrunk(self, ()), self.kernel)
            for parameter in model.parameters():
                if parameter.ndim >= 2:
                    torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
            yield model


def cached_difference(model: PreTrainedModel, forward: Forward) -> float:
    """The largest difference between logits through a cache, as in a rollout, and those of one pass.

    Args:
        model: A small copy.
        forward: Its forward pass, over a cache with the size `ROOM`.
    """
    rows = tokens(*ROOM)
    expected = model(input_ids=rows, use_cache=False).logits
    table = RowTable(forward)
    held = [table.add(rows[i, :start].tolist(), 0, i, [start]) for i, start in enumerate(PROMPTS)]
    worst = 0.0
    for count in (0, *READ):
        for i, row in enumerate(held):
            row.tokens.extend(rows[i, row.length : row.length + count].tolist())
        read, logits = table.decode(held, compacting_moves) if count == 1 else table.prefill(held)
        places = [row.order for row in read], [row.length - 1 for row in read]
        worst = max(worst, float((logits - expected[places]).abs().nan_to_num(torch.inf).max()))
    return worst


def tokens(rows: int, width: int) -> Tensor:
    """(rows, width): random ids of a small copy."""
    return (torch.arange(rows * width).reshape(rows, width) * 31 + 7) % VOCABULARY


def _built(config: PreTrainedConfig, kernel: str) -> PreTrainedModel:
    if getattr(config, "alibi", False):
        raise ValueError("its positions are distances (ALiBi), which a mask of the cache does not hand on")
    mapped = cast(Any, AutoModelForCausalLM)._model_mapping.get(type(config), None)
    if kernel == "sdpa" and mapped is not None and not getattr(mapped, "_supports_sdpa", True):
        raise ValueError('transformers has no attention "sdpa" for it: its scores are more than products and a mask')
    made = AutoModelForCausalLM.from_config(config, attn_implementation=kernel, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return cast("PreTrainedModel", made).eval()


def _shrunk(family: Family, widths: tuple[str, ...]) -> PreTrainedConfig:
    config = family.kind.from_dict(json.loads(family.text)).get_text_config(decoder=True)
    layers = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and len(value) == layers:
            setattr(config, name, value[:LAYERS])
        elif name in widths and isinstance(value, int):
            setattr(config, name, NARROW)
    config.num_hidden_layers, config.vocab_size, config.pad_token_id = min(layers, LAYERS), VOCABULARY, None
    return config
