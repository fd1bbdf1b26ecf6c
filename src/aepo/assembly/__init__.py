"""Puts a run together: policy, agents, tools with their limits; what it is put together from is elsewhere."""
