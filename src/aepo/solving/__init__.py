"""Solves one question at inference: AEPO's rollout under a budget, and a vote over its answers."""

from aepo.solving.budget import SolvingBudget, SolvingPrices, SolvingSpent
from aepo.solving.solution import Progress, Solution
from aepo.solving.vote import Tally

__all__ = ["Progress", "Solution", "SolvingBudget", "SolvingPrices", "SolvingSpent", "Tally"]
