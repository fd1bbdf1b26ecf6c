"""Evaluation: Pass@k with intervals over questions, and paired comparison."""

from aepo.evaluation.passk import bootstrap_interval, paired_difference, pass_at_k

__all__ = ["bootstrap_interval", "paired_difference", "pass_at_k"]
