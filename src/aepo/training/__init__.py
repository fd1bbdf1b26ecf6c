"""Trains a policy: the loop, the steps, their metrics and their display."""
