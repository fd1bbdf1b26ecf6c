"""Rewards: functions of a sample and a finished trajectory that return one number.

Your own reward is any such function, sync or async: `def reward(sample, trajectory): return float(...)`.
"""

from aepo.rewards.answer import exact, exact_match, f1, normalise, token_f1
from aepo.rewards.base import Reward, checked
from aepo.rewards.format import format_score, well_formed, with_format
from aepo.rewards.math import equivalent, math
from aepo.rewards.outcome import outcome
from aepo.rewards.paper import paper

__all__ = [
    "Reward",
    "checked",
    "equivalent",
    "exact",
    "exact_match",
    "f1",
    "format_score",
    "math",
    "normalise",
    "outcome",
    "paper",
    "token_f1",
    "well_formed",
    "with_format",
]
