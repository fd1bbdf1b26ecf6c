"""Log-probabilities in pieces are those of all logits at once, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aepo.doctor.allocations import Allocations
from aepo.engines.local import head as module
from aepo.engines.local.head import Head, Shaping, find_head, product

ROWS, WIDTH, IDS, PADDING = 50, 16, 300, 12


def plainly(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, shaping: Shaping) -> Tensor:
    logits = (hidden @ weight[:IDS].t()) * shaping.scale
    if shaping.cap is not None:
        logits = shaping.cap * torch.tanh(logits / shaping.cap)
    return torch.log_softmax(logits / temperature, -1).gather(-1, targets[:, None])[:, 0]


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, IDS + PADDING, bias=False)


@pytest.mark.parametrize("piece", [1 << 28, 64 * ROWS * 4], ids=["one piece", "five pieces"])
@pytest.mark.parametrize("shaping", [Shaping(), Shaping(0.25), Shaping(3.0, 2.0)], ids=["plain", "scaled", "capped"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_pieces_give_the_whole(monkeypatch, layer, piece: int, shaping: Shaping, temperature: float) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", piece)
    hidden = (3 * torch.randn(ROWS, WIDTH)).requires_grad_()
    targets = torch.randint(0, IDS, (ROWS,))
    weights = torch.linspace(-1, 1, ROWS)
    ours = Head(layer, shaping, IDS).logprobs(hidden, targets, temperature)
    theirs = plainly(hidden, layer.weight, targets, temperature, shaping)
    assert torch.allclose(ours, theirs, atol=1e-5)
    given = (hidden, layer.weight)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), given),
        torch.autograd.grad((theirs * weights).sum(), given),
        strict=True,
    ):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_half_precision_is_summed_in_float32(layer) -> None:
    hidden, weight = torch.randn(ROWS, WIDTH).bfloat16(), layer.weight.detach().bfloat16()
    assert torch.allclose(product(hidden, weight.t()), hidden.double().float() @ weight.double().float().t())
    assert product(hidden, weight.t()).dtype == torch.float32


@pytest.mark.parametrize("pieces", [1, 5])
def test_what_is_kept_for_the_backward_pass(monkeypatch, layer, pieces: int) -> None:
    """In one piece the logits; in several nothing that grows with the ids."""
    monkeypatch.setattr(module, "PIECE_BYTES", 64 * ROWS * 4 if pieces > 1 else 1 << 28)
    kept: list[int] = []
    hidden = torch.randn(ROWS, WIDTH).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        Head(layer, Shaping(), IDS).logprobs(hidden, torch.zeros(ROWS, dtype=torch.long), 1.0)
    beside = ROWS * WIDTH + layer.weight.numel() + 2 * ROWS
    assert sum(kept) == beside + (ROWS * IDS if pieces == 1 else 0)


def test_no_more_than_two_pieces_are_held_at_once(monkeypatch) -> None:
    """The logits of a piece and their gradient, however many pieces there are."""
    rows, ids = 1024, 2048
    monkeypatch.setattr(module, "PIECE_BYTES", 256 * rows * 4)
    hidden, narrow = torch.randn(rows, 4).requires_grad_(), nn.Linear(4, ids, bias=False)
    with Allocations() as live:
        Head(narrow, Shaping(), ids).logprobs(hidden, torch.zeros(rows, dtype=torch.long), 0.7).sum().backward()
    assert 2.0 < live.peak / module.PIECE_BYTES < 2.5


def test_a_layer_with_a_bias_is_left_to_the_model(model) -> None:
    assert find_head(model, 90) is not None
    model.lm_head.bias = nn.Parameter(torch.zeros(96))
    assert find_head(model, 90) is None


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_it_is_the_same(monkeypatch, layer, dtype: torch.dtype) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 64 * ROWS * 4)
    layer = layer.cuda().to(dtype)
    hidden = torch.randn(ROWS, WIDTH, device="cuda", dtype=dtype).requires_grad_()
    targets = torch.randint(0, IDS, (ROWS,), device="cuda")
    ours = Head(layer, Shaping(), IDS).logprobs(hidden, targets, 0.7)
    exact = [x.detach().double().requires_grad_() for x in (hidden, layer.weight)]
    theirs = plainly(*exact, targets, 0.7, Shaping())
    one_row = Head(layer, Shaping(), IDS).logits(hidden[:1])
    assert torch.allclose(one_row.double(), exact[0][:1] @ exact[1][:IDS].t(), atol=1e-4)
    assert (ours - theirs).abs().max() < 1e-4
    for one, other in zip(
        torch.autograd.grad(ours.sum(), (hidden, layer.weight)), torch.autograd.grad(theirs.sum(), exact), strict=True
    ):
        assert (one - other).norm() <= (1e-5 if dtype == torch.float32 else 1e-2) * other.norm()
