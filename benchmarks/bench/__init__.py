"""Measures speed and memory of sampling and training with a model, without a task."""
