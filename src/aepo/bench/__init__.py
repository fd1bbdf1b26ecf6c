"""Measures what a model costs on this machine, without a task: `aepo bench`."""
