"""What a run works with: a task's tools under their limits, the agents that grow paths, where a model's files are."""
