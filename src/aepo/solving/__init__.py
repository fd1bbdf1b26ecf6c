"""Solves one question at inference: AEPO's rollout under a budget, and a vote over its answers."""
