"""Puts a run together: policy, agents, tools with their limits."""
