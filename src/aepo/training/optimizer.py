"""AdamW that steps parameter by parameter, and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from aepo.process.freed import make_room
from aepo.training.masters import divide, joined

Schedule = Literal["constant", "linear"]


def rate_factor(schedule: Schedule, warmup: int, total: int) -> Callable[[int], float]:
    """The factor of the learning rate in optimizer step n = 0, 1, ...

    It is min(1, (n + 1) / (warmup + 1)). With "linear" it is at most (total - n) / (total - warmup), which falls from 1
    after the warm-up towards 0 at the end.

    Args:
        schedule: "linear", or "constant", which stays at 1 after the warm-up.
        warmup: The number of optimizer steps of the warm-up.
        total: The number of optimizer steps of the whole run.
    """

    def factor(n: int) -> float:
        risen = min(1.0, (n + 1) / (warmup + 1))
        if schedule == "constant":
            return risen
        return min(risen, max(0.0, (total - n) / max(1, total - warmup)))

    return factor


class AdamWRule(Protocol):
    """Makes an AdamW from some library: `exact`, or one of `eight_bit`."""

    def __call__(
        self,
        params: list[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> torch.optim.Optimizer:
        """Make an optimizer for these parameters."""
        ...


def exact(
    params: list[torch.nn.Parameter], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.Optimizer:
    """PyTorch's AdamW with float32 moments; on CUDA it runs in one kernel, which needs no further memory."""
    fused = {"fused": True} if params[0].is_cuda else {"foreach": False}
    return torch.optim.AdamW(params, lr, betas, eps, weight_decay, **fused)


class AdamW(torch.optim.Optimizer):
    """AdamW that steps one parameter after the other and keeps what bfloat16 weights would round away.

    An RL update is often smaller than the distance between two bfloat16 numbers (1/256 of a weight). So a bfloat16
    weight has a float32 value (`masters`), which is whole only while its parameter steps. Its gradients accumulate in
    float32. With two float32 moments a bfloat16 parameter takes 16 bytes (weight 2, rest of its float32 value 2,
    gradient 4, moments 8). A float32 parameter takes 16 bytes too (4, 0, 4, 8). During a step one parameter takes 4
    bytes more, and the memory that its arithmetic needs.

    Args:
        parameters: The trained parameters, or groups of them as in PyTorch.
        learning_rate: The learning rate.
        weight_decay: The decoupled weight decay.
        betas: The decay of the two moments.
        eps: A number that is added to the root of the second moment.
        rule: The arithmetic, from the library that has it.

    Raises:
        ValueError: A parameter is float16.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        learning_rate: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rule: AdamWRule = exact,
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay})
        trained = [parameter for group in self.param_groups for parameter in group["params"]]
        self._each = {
            parameter: _One(parameter, lambda params: rule(params, learning_rate, betas, eps, weight_decay))
            for parameter in trained
        }
        self._largest = max(trained, key=torch.Tensor.numel)
        self._by = type(self._each[trained[0]].optimizer).__module__.partition(".")[0]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters by their gradients; a parameter without a gradient does not change."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # The last pass has freed what its layers kept, and the largest parameter takes much memory.
        make_room(self._largest.device.type, 4 * self._largest.numel())
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._each[parameter].step(group["lr"], group["weight_decay"])
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The moments, the rests of the rounded weights, and the name of the library that made the moments."""
        state = {number: one.state() for number, one in enumerate(self._each.values())}
        return {**super().state_dict(), "state": state, "by": self._by}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of `state_dict`, or that of version 0.1, which had float32 copies of bfloat16 weights.

        Raises:
            ValueError: Another library made the moments.
        """
        if (by := state_dict.get("by", "torch")) != self._by:
            raise ValueError(
                f"the optimizer's moments were kept by {by}, and {self._by} cannot read them: "
                "go on with the run's own train.optimizer, where the same library is installed"
            )
        super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
        masters = iter(state_dict.get("masters", ()))
        for number, one in enumerate(self._each.values()):
            one.load(state_dict["state"].get(number, {}), None if one.rest is None else next(masters, None))


class _One:
    """A parameter, and the optimizer that moves only this parameter.

    Attributes:
        rest: The difference of a bfloat16 parameter to its float32 value; None for others.
        optimizer: Moves the float32 value, or the parameter itself.
    """

    def __init__(
        self, parameter: torch.nn.Parameter, rule: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
    ) -> None:
        if parameter.dtype is torch.float16:
            raise ValueError("float16 weights lose small gradients: load the model in bfloat16 or float32")
        self._parameter = self._moved = parameter
        self.rest: Tensor | None = None
        if parameter.dtype is torch.bfloat16:
            self.rest = torch.zeros_like(parameter, dtype=torch.int16, requires_grad=False)
            parameter.grad_dtype = torch.float32
            self._moved = torch.nn.Parameter(torch.empty(0, device=parameter.device))
        self.optimizer = rule([self._moved])

    def step(self, learning_rate: float, weight_decay: float) -> None:
        """Update by the parameter's gradient."""
        (group,) = self.optimizer.param_groups
        group["weight_decay"] = weight_decay
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate
        if self.rest is None:
            self.optimizer.step()
            return
        moved, whole = self._moved, joined(self._parameter, self.rest)
        moved.data, moved.grad = whole, self._parameter.grad
        try:
            self.optimizer.step()
            divide(whole, self._parameter, self.rest)
        finally:
            moved.grad, moved.data = None, whole.new_empty(0)

    def state(self) -> dict[str, Any]:
        """The state that `load` takes."""
        moments = self.optimizer.state_dict()["state"].get(0, {})
        return dict(moments) if self.rest is None else {**moments, "rest": self.rest}

    def load(self, state: dict[str, Any], master: Tensor | None) -> None:
        """Load a state; `master` is the float32 copy that version 0.1 kept."""
        moments = {name: value for name, value in state.items() if name != "rest"}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": {0: moments} if moments else {}, "param_groups": groups})
        if self.rest is None:
            return
        if master is not None:
            divide(master.to(self.rest.device, copy=True), self._parameter, self.rest)
        elif "rest" in state:
            self.rest.copy_(state["rest"])
