"""Which models the local engine can run, found by trying: does reading token by token give what one pass gives?

What is tried is a small copy of the family: its configuration with two layers, few tokens and narrow feed-forward
parts, at random in float32, so that rounding, adapters, weights and the device play no part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache, DynamicLayer

from aepo.engines.local import tree_attention
from aepo.engines.local.schedule import compacting_moves

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KERNELS = ("sdpa", "eager")
LAYERS, VOCABULARY, NARROW = 2, 48, 32
TOLERANCE = 1e-3
"""Largest difference of a logit; those of the small copy are about 1 in size, and rounding makes some 1e-6."""
PROMPTS = (5, 9)
"""Tokens of the two rows before their first turn; rows of different length are padded."""
READ = (1, 1, 1, 4, 1, 1)
"""Tokens that are read at once after the prompt: those of a turn one by one, those of a tool's result together."""
NEAR, FAR = 8, 4
"""Tokens at the first positions, and at the last ones."""
DISTANT = 1 << 20
"""Beyond the longest sequence of any run."""
WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim", "n_inner")


@dataclass(frozen=True)
class Tried:
    """What became of a small copy.

    Attributes:
        reason: Why the family cannot be run; None if it can.
        in_place: Whether the attention of one new token can read the cache's blocks where they lie.
        steady: What it makes of the first positions stays the same, whatever is read with them.
    """

    reason: str | None
    in_place: bool = False
    steady: bool = False


def refuse_unsupported(config: PreTrainedConfig, longest: int = 0) -> None:
    """Check that a model gives the same reading token by token through the cache as in one pass, up to a length.

    Args:
        config: The model's, or that of one which will be loaded with "sdpa".
        longest: Tokens of the longest sequence; only positions below it are looked at.

    Raises:
        ValueError: It does not; names the model, the reason and what can be done.
    """
    family = config.model_type
    name = getattr(config, "_name_or_path", "") or family
    if config.is_encoder_decoder:
        raise ValueError(f"{name}: encoder-decoder models cannot be run by the local engine, only causal ones")
    types = getattr(config.get_text_config(decoder=True), "layer_types", None) or []
    for i, layer in enumerate(DynamicCache(config=config).layers):
        if type(layer) is not DynamicLayer:
            sliding = "sliding_attention" if getattr(layer, "is_sliding", False) else type(layer).__name__
            kind = types[i] if i < len(types) else sliding
            raise ValueError(
                f"{name}: layer {i} of {family} is {kind}; the local engine runs full attention only, in every layout: "
                "take another model"
            )
    kernel = _kernel(config)
    if kernel not in KERNELS:
        raise ValueError(f'{name}: attention "{kernel}" takes no 4-D mask; load it with attn_implementation="sdpa"')
    found = _tried(type(config), _text(config), kernel)
    if found.reason is not None:
        raise ValueError(f"{name}: the local engine cannot run {family}, in any layout: {found.reason}")
    if not found.steady and (most := _same_up_to(type(config), _text(config), kernel, longest)) < longest:
        raise ValueError(
            f"{name}: beyond {most} tokens, what {family} makes of a position depends on how much is read with it (its "
            f"rope does), so that it would be trained on other probabilities than it sampled by; the longest sequence "
            f"has {longest} tokens: lower rollout.max_tokens by {longest - most} or more"
        )


def reads_in_place(config: PreTrainedConfig) -> bool:
    """Whether the attention of one new token can read the blocks of the cache where they lie (`row_attention`)."""
    return _tried(type(config), _text(config), _kernel(config)).in_place


def layer_count(model: PreTrainedModel) -> int:
    """Layers that keep keys and values."""
    return cast(int, model.config.get_text_config(decoder=True).num_hidden_layers)


def _kernel(config: PreTrainedConfig) -> str:
    kernel = getattr(config, "_attn_implementation", None)
    # Without a plan it is sdpa.
    return "sdpa" if kernel in (None, tree_attention.NAME) else str(kernel)


def _text(config: PreTrainedConfig) -> str:
    return str(config.to_json_string(use_diff=False))


@lru_cache(maxsize=64)
def _tried(kind: type[PreTrainedConfig], text: str, kernel: str) -> Tried:
    try:
        with _small_copy(kind, text, kernel) as model:
            supported = bool(getattr(model, "_supports_attention_backend", False))
            reason = None
            for in_place in (True, False)[not supported :]:
                try:
                    difference = _cached_difference(model, in_place)
                # Whatever a model makes of a cache that it does not know, it must not be sampled from with it.
                except Exception as error:
                    reason = f"reading through a cache fails ({_line(error)})"
                    continue
                if difference <= TOLERANCE:
                    return Tried(None, in_place, _steady(model))
                reason = f"reading through a cache gives logits that are {difference:.1e} off those of one pass"
            return Tried(reason)
    except Exception as error:
        return Tried(_line(error))


@lru_cache(maxsize=64)
def _same_up_to(kind: type[PreTrainedConfig], text: str, kernel: str, longest: int) -> int:
    """The largest length up to `longest` at which the first positions give what they give alone."""
    if longest <= NEAR + FAR:
        return longest
    with _small_copy(kind, text, kernel) as model:

        def same(length: int) -> bool:
            # Alone first: some ropes remember the longest that they have seen until they see something short.
            alone = _near(model, 0)
            return bool((_near(model, length) - alone).abs().max() <= TOLERANCE)

        if same(longest):
            return longest
        good, bad = NEAR + FAR, longest
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if same(middle) else (good, middle)
        return good


def _steady(model: PreTrainedModel) -> bool:
    try:
        return bool((_near(model, DISTANT) - _near(model, 0)).abs().max() <= TOLERANCE)
    except (IndexError, RuntimeError):  # positions that are a table end somewhere
        return False


def _near(model: PreTrainedModel, length: int) -> Tensor:
    """(NEAR, V) logits at the first positions, read together with the last ones of a length; 0 for without."""
    places = [*range(NEAR), *range(length - FAR, length)] if length else [*range(NEAR)]
    seen = torch.ones(len(places), len(places)).tril() == 1
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    return cast(
        Tensor,
        model(
            input_ids=_tokens(1, len(places)),
            attention_mask=mask[None, None],
            position_ids=torch.tensor([places]),
            use_cache=False,
        ).logits[0, :NEAR],
    )


def _cached_difference(model: PreTrainedModel, in_place: bool) -> float:
    """Largest difference between logits that are read through the cache, as a rollout does, and those of one pass."""
    # It imports what it is asked about.
    from aepo.engines.local.table import RowTable

    rows = _tokens(len(PROMPTS), max(PROMPTS) + sum(READ))
    expected = model(input_ids=rows, use_cache=False).logits
    table = RowTable(model, VOCABULARY, len(PROMPTS), rows.shape[1], direct=False, in_place=in_place)
    held = [table.add(rows[i, :start].tolist(), 0, i, [start]) for i, start in enumerate(PROMPTS)]
    worst = 0.0
    for count in (0, *READ):
        for i, row in enumerate(held):
            row.tokens.extend(rows[i, row.length : row.length + count].tolist())
        read, logits = table.decode(held, compacting_moves) if count == 1 else table.prefill(held)
        places = [row.order for row in read], [row.length - 1 for row in read]
        worst = max(worst, float((logits - expected[places]).abs().nan_to_num(torch.inf).max()))
    return worst


def _tokens(rows: int, width: int) -> Tensor:
    return (torch.arange(rows * width).reshape(rows, width) * 31 + 7) % VOCABULARY


@contextmanager
def _small_copy(kind: type[PreTrainedConfig], text: str, kernel: str) -> Iterator[PreTrainedModel]:
    """A model of the family, without gradients; nobody's random numbers are disturbed.

    Raises:
        ValueError: transformers does not make one.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = _built(_shrunk(kind, text, WIDTHS), kernel)
        except (ValueError, RuntimeError, AssertionError, TypeError):
            # Widths may have to fit each other.
            model = _built(_shrunk(kind, text, ()), kernel)
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        yield model


def _built(config: PreTrainedConfig, kernel: str) -> PreTrainedModel:
    if getattr(config, "alibi", False):
        raise ValueError("its positions are distances (ALiBi), which a mask of the cache does not hand on")
    mapped = cast(Any, AutoModelForCausalLM)._model_mapping.get(type(config), None)
    if kernel == "sdpa" and mapped is not None and not getattr(mapped, "_supports_sdpa", True):
        raise ValueError('transformers has no attention "sdpa" for it: its scores are more than products and a mask')
    made = AutoModelForCausalLM.from_config(config, attn_implementation=kernel, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return cast("PreTrainedModel", made).eval()


def _shrunk(kind: type[PreTrainedConfig], text: str, widths: tuple[str, ...]) -> PreTrainedConfig:
    config = kind.from_dict(json.loads(text)).get_text_config(decoder=True)
    layers = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and len(value) == layers:
            setattr(config, name, value[:LAYERS])
        elif name in widths and isinstance(value, int):
            setattr(config, name, NARROW)
    config.num_hidden_layers, config.vocab_size, config.pad_token_id = min(layers, LAYERS), VOCABULARY, None
    return config


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
