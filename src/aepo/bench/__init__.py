"""Measures the cost of a model on this machine, without a task: `aepo bench`."""
