"""The reward of the paper's tasks."""

from __future__ import annotations

from aepo.rewards.answer import exact, f1
from aepo.rewards.base import Score
from aepo.rewards.format import well_formed
from aepo.rewards.math import math
from aepo.types import Sample, Trajectory

BROKEN = -1.0
TOOL_BONUS = 0.1
SCORES: dict[str, Score] = {"f1": f1, "math": math, "exact": exact}


def paper(sample: Sample, trajectory: Trajectory) -> float:
    """-1 for a format error or no answer, else the score, plus 0.1 if it is above 0 and two tools succeeded.

    The score is token F1, or the one named by the sample's `metadata["score"]`, "math" or "exact". The two tools must
    be different, and their calls must have status ok.

    Raises:
        ValueError: `metadata["score"]` names no score.
    """
    name = sample.metadata.get("score", "f1")
    if name not in SCORES:
        raise ValueError(f"sample {sample.id!r}: metadata score {name!r} is not one of {', '.join(SCORES)}")
    if not well_formed(trajectory):
        return BROKEN
    score = SCORES[name](sample, trajectory)
    worked = {call.name for call, result in trajectory.calls if result.worked}
    return score + TOOL_BONUS if score > 0 and len(worked) >= 2 else score
