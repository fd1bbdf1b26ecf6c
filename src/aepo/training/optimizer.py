"""AdamW with float32 masters for half-precision weights, and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch

HALF = (torch.bfloat16, torch.float16)
Schedule = Literal["constant", "linear"]


def rate_factor(schedule: Schedule, warmup: int, total: int) -> Callable[[int], float]:
    """Factor of the learning rate in optimizer step n = 0, 1, ...

    min(1, (n + 1) / (warmup + 1)), and with "linear" at most (total - n) / (total - warmup): from 1 after the warm-up
    down towards 0 at the end.

    Args:
        schedule: "constant" stays at 1.
        warmup: Optimizer steps.
        total: Optimizer steps of the whole run.
    """

    def factor(n: int) -> float:
        risen = min(1.0, (n + 1) / (warmup + 1))
        if schedule == "constant":
            return risen
        return min(risen, max(0.0, (total - n) / max(1, total - warmup)))

    return factor


class AdamW(torch.optim.AdamW):
    """AdamW that updates float32 masters of half-precision parameters and rounds them into the parameters.

    An RL update is often smaller than the distance between two bfloat16 numbers (1/256 of a weight), so without
    masters rounding would remove it. Float32 parameters have no masters.

    Args:
        parameters: The trained parameters.
        learning_rate: The learning rate.
        weight_decay: Decoupled.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        trained = list(parameters)
        masters = [p.detach().float().requires_grad_() if p.dtype in HALF else p for p in trained]
        self._rounded = [(p, m) for p, m in zip(trained, masters, strict=True) if m is not p]
        super().__init__(masters, lr=learning_rate, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update by the parameters' gradients; parameters without a gradient stay as they are."""
        for parameter, master in self._rounded:
            master.grad = None if parameter.grad is None else parameter.grad.float()
        result = super().step(closure)
        for parameter, master in self._rounded:
            parameter.copy_(master)
            master.grad = None
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of parameters and masters."""
        super().zero_grad(set_to_none)
        for parameter, _ in self._rounded:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Moments and masters; the masters cannot be computed from the rounded weights."""
        return {**super().state_dict(), "masters": [master.detach() for _, master in self._rounded]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of `state_dict`."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "masters"})
        for (_, master), saved in zip(self._rounded, state_dict["masters"], strict=True):
            master.copy_(saved)
