"""The output layer: logits in float32, and log-probabilities of given tokens without all logits at once.

The logits of 16,384 tokens over 151,936 ids take 10 GB in float32, and a backward pass would hold them four times. So
the ids are divided into pieces. The sum over all ids grows piece by piece, and the backward pass computes each piece
again.

    z = f(W h),   ln p = z_t / T - ln sum_j exp(z_j / T)

f is the model's change of its logits: none, a factor, or c tanh(. / c). Matrices of half precision are multiplied as
they are and summed in float32, so nothing is rounded between W h and ln p.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PIECE_BYTES = 1 << 28
"""Bytes that the logits of one piece may take; a backward pass holds twice as many."""
HALF = (torch.bfloat16, torch.float16)
AGREEMENT = 0.02
"""Largest difference to the model's own logits, relative to the largest of them; bfloat16 rounds by 0.004."""


@dataclass(frozen=True)
class Shaping:
    """A model's change of W h: f(x) = scale x, then c tanh(x / c) if there is a cap c."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Apply f in place."""
        if self.scale != 1.0:
            logits = logits.mul_(self.scale)
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)

    def backward(self, grad: Tensor, shaped: Tensor, temperature: float) -> Tensor:
        """Turn the gradient of f(W h) into that of W h, in place; `shaped` is f(W h) / temperature."""
        if self.cap is not None:
            grad = grad.mul_(1.0 - (shaped * (temperature / self.cap)).square_())
        return grad if self.scale == 1.0 else grad.mul_(self.scale)


class Head:
    """Computes a model's output layer from its weights.

    Attributes:
        vocab_size: Ids below it can be sampled; the layer may have padding rows above.
    """

    def __init__(self, layer: nn.Linear, shaping: Shaping, vocab_size: int) -> None:
        self.layer, self.shaping, self.vocab_size = layer, shaping, vocab_size

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V): the logits, in float32."""
        return self.shaping(product(hidden_ND, self.layer.weight[: self.vocab_size].t()))

    def logprobs(self, hidden_ND: Tensor, targets_N: Tensor, temperature: float) -> Tensor:
        """(N,): ln p of each target at a temperature, in float32."""
        given = (hidden_ND, self.layer.weight, targets_N, temperature, self.shaping, self.vocab_size)
        return cast(Tensor, _Logprobs.apply(*given))

    def piece_bytes(self, rows: int) -> int:
        """Bytes of the largest logits that `logprobs` of so many rows holds at once."""
        return min(PIECE_BYTES, 4 * rows * self.vocab_size)


def product(one: Tensor, other: Tensor) -> Tensor:
    """A matrix product that is summed and returned in at least float32."""
    if one.dtype in HALF and one.dtype == other.dtype and one.is_cuda:
        return torch.mm(one, other, out_dtype=torch.float32)
    exact = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
    return one.to(exact) @ other.to(exact)


def find_head(model: PreTrainedModel, vocab_size: int) -> Head | None:
    """The output layer, if the model's logits are f(W h) with h the decoder's last hidden state; tried on a few tokens.

    None if the model does something else, or its output layer has a bias or an adapter.
    """
    base = base_model(model)
    layer = base.get_output_embeddings()
    if type(layer) is not nn.Linear or layer.bias is not None:
        return None
    head = Head(layer, _shaping(model.config.get_text_config()), model.config.get_text_config().vocab_size)
    # A model on the device "meta" has no values to compare.
    if model.device.type != "meta" and not _agrees(head, model):
        return None
    head.vocab_size = vocab_size
    return head


def _agrees(head: Head, model: PreTrainedModel) -> bool:
    """Whether its logits of a few tokens equal the model's."""
    base = base_model(model)
    tokens = torch.arange(4, device=model.device)[None] % head.vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        hidden = base.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state
        ours, theirs = head.logits(hidden[0]), model(input_ids=tokens, use_cache=False).logits[0].float()
    model.train(was_training)
    return bool((ours - theirs).abs().max() <= AGREEMENT * theirs.abs().max())


def base_model(model: PreTrainedModel) -> Any:
    """The model inside its adapters, if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _shaping(config: Any) -> Shaping:
    scale = getattr(config, "logit_scale", None) or 1.0
    if divisor := getattr(config, "logits_scaling", None):
        scale /= divisor
    return Shaping(scale, getattr(config, "final_logit_softcapping", None))


class _Logprobs(torch.autograd.Function):
    """`Head.logprobs`; if one piece holds all logits, they are kept, and nothing is computed twice."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_WD: Tensor,
        targets_N: Tensor,
        temperature: float,
        shaping: Shaping,
        vocab_size: int,
    ) -> Tensor:
        pieces = list(_pieces(len(hidden_ND), vocab_size))
        total_N = picked_N = kept = None
        for piece in pieces:
            logits_NP = _tempered(hidden_ND, weight_WD[piece], shaping, temperature)
            inside_N, places_N1 = _places(targets_N, piece)
            found_N, sum_N = logits_NP.gather(-1, places_N1)[:, 0], logits_NP.logsumexp(-1)
            picked_N = found_N if picked_N is None else torch.where(inside_N, found_N, picked_N)
            total_N = sum_N if total_N is None else torch.logaddexp(total_N, sum_N)
            kept = logits_NP if len(pieces) == 1 else None
            # Else it would be held while the next piece is computed.
            del logits_NP
        assert picked_N is not None and total_N is not None
        ctx.save_for_backward(hidden_ND, weight_WD, targets_N, total_N, kept)
        ctx.temperature, ctx.shaping, ctx.pieces = temperature, shaping, pieces
        return picked_N - total_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_WD, targets_N, total_N, kept = ctx.saved_tensors
        of_hidden, of_weight = ctx.needs_input_grad[:2]
        sum_ND, grad_WD = None, torch.zeros_like(weight_WD) if of_weight else None
        for piece in ctx.pieces:
            part_PD = weight_WD[piece]
            logits_NP = _tempered(hidden_ND, part_PD, ctx.shaping, ctx.temperature) if kept is None else kept
            inside_N, places_N1 = _places(targets_N, piece)
            grad_NP = (logits_NP - total_N[:, None]).exp_().mul_(-grad_N[:, None])
            grad_NP.scatter_add_(-1, places_N1, (grad_N * inside_N)[:, None])
            if ctx.temperature != 1.0:
                grad_NP /= ctx.temperature
            grad_NP = ctx.shaping.backward(grad_NP, logits_NP, ctx.temperature)
            del logits_NP
            # An accelerator multiplies half precision directly, as in any other layer.
            grad_NP = grad_NP.to(part_PD.dtype) if grad_NP.is_cuda else grad_NP
            if of_hidden:
                part_ND = product(grad_NP, part_PD)
                sum_ND = part_ND if sum_ND is None else sum_ND.add_(part_ND)
            if grad_WD is not None:
                grad_WD[piece] = product(grad_NP.t(), hidden_ND).to(grad_WD.dtype)
            # Else it would be held while the next piece is computed.
            del grad_NP
        grad_ND = None if sum_ND is None else sum_ND.to(hidden_ND.dtype)
        return grad_ND, grad_WD, None, None, None, None


def _pieces(rows: int, vocab_size: int) -> Iterator[slice]:
    """The number of ids, a multiple of 64, whose float32 logits in all rows stay below `PIECE_BYTES`."""
    width = max(64, PIECE_BYTES // (4 * max(rows, 1)) // 64 * 64)
    for start in range(0, vocab_size, width):
        yield slice(start, min(start + width, vocab_size))


def _tempered(hidden_ND: Tensor, part_PD: Tensor, shaping: Shaping, temperature: float) -> Tensor:
    logits_NP = shaping(product(hidden_ND, part_PD.t()))
    return logits_NP if temperature == 1.0 else logits_NP.div_(temperature)


def _places(targets_N: Tensor, piece: slice) -> tuple[Tensor, Tensor]:
    """Which targets are in a piece, and (N, 1) their columns in it; other targets have an arbitrary column."""
    width = piece.stop - piece.start
    places_N = targets_N - piece.start
    return (places_N >= 0) & (places_N < width), places_N.clamp(0, width - 1)[:, None]
