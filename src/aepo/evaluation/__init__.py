"""Evaluation: Pass@k with intervals over questions, and paired comparison."""

from aepo.evaluation.intervals import estimate, paired_difference
from aepo.evaluation.passk import pass_at_k

__all__ = ["estimate", "paired_difference", "pass_at_k"]
