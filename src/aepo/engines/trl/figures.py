"""What a rollout and its training come to, as a run logs them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import fmean

from aepo.training.metrics import Metrics
from aepo.training.sampling import StepGroups

# What the sums of an optimizer step are called in the logs.
LOGGED_AS = {"difference": "logprobs/rollout_difference_mean", "difference_max": "logprobs/rollout_difference_max"}


@dataclass
class Rollout:
    """A rollout, and what its training came to.

    Attributes:
        step: Rollouts of the run up to this one.
        groups: What was sampled.
        metrics: Of the rollout; histograms among them.
        began: When it did, by `time.perf_counter`.
        ended: When the last trajectory was scored.
        updates: Figures of its optimizer steps so far.
    """

    step: int
    groups: StepGroups
    metrics: Metrics
    began: float
    ended: float = field(default_factory=time.perf_counter)
    updates: list[dict[str, float]] = field(default_factory=list)

    def all_metrics(self) -> Metrics:
        """Those of the rollout, of its optimizer steps (their mean), and times; after the last optimizer step."""
        now = time.perf_counter()
        times = {"time/rollout": self.ended - self.began, "time/train": now - self.ended, "time/step": now - self.began}
        # Later ones tell what training has changed, not how well rollout and training agree.
        first = {shown: self.updates[0][name] for name, shown in LOGGED_AS.items()}
        names = dict.fromkeys(name for update in self.updates for name in update)
        means = {name: fmean(u.get(name, 0.0) for u in self.updates) for name in names if name not in LOGGED_AS}
        if (read := means.pop("flat_tokens", None)) is not None:
            means["train/sharing"] = read / means["train/distinct_tokens"] if read else 1.0
        return {**self.metrics, **means, **first, "train/optimizer_steps": float(len(self.updates)), **times}
