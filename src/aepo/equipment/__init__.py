"""Prepares a run: the task's tools under their limits, the agents that grow paths, the folder of the model's files."""
