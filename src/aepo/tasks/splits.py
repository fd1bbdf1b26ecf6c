"""The splits of a task that makes its own questions."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "validation", "test"]
"""Train on the first, choose settings by the second, report the third."""
