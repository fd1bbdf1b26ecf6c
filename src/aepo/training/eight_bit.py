"""Finds an AdamW with moments of 8 bits in an installed library."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Literal, cast

import torch

from aepo.config import ConfigError
from aepo.training.optimizer import AdamWRule, exact

LIBRARIES = ("bitsandbytes", "torchao")
"""The libraries in the order of trial; torchao is last, because it first compiles a kernel for each shape."""
TRIED = 4096
"""Parameters of the trial; smaller tensors keep moments of 32 bits in both libraries."""


def rule_of(name: Literal["adamw", "adamw_8bit"], device: torch.device) -> AdamWRule:
    """The optimizer arithmetic that `train.optimizer` names.

    Args:
        name: "adamw" has float32 moments; "adamw_8bit" takes a library that can make a step on the device.
        device: The device of the parameters.

    Raises:
        ConfigError: No library is installed, or none works on the device.
    """
    if name == "adamw":
        return exact
    refusals = []
    for library in LIBRARIES:
        if find_spec(library) is None:
            continue
        try:
            rule = cast(AdamWRule, import_module(f"{library}.optim").AdamW8bit)
            _try(rule, device)
        except Exception as error:
            refusals.append(f"{library}: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
        else:
            return rule
    if refusals:
        raise ConfigError(
            f'train.optimizer: "adamw_8bit" does not work on {device.type} here ({"; ".join(refusals)}): '
            "set train.optimizer: adamw"
        )
    raise ConfigError(
        f'train.optimizer: "adamw_8bit" needs {" or ".join(LIBRARIES)}, and neither is installed: '
        'pip install "aepo-rl[eight-bit]", or set train.optimizer: adamw'
    )


def _try(rule: AdamWRule, device: torch.device) -> None:
    """Take one step, to see whether it works."""
    parameter = torch.nn.Parameter(torch.zeros(TRIED, device=device))
    parameter.grad = torch.ones_like(parameter)
    rule([parameter], 1.0, (0.9, 0.999), 1e-8, 0.0).step()
    moved = float(parameter.detach().mean())
    if not -1.5 < moved < -0.5:
        raise RuntimeError(f"its first step moves by {moved:g} where AdamW moves by -1")
