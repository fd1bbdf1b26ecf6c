"""Samples trajectories: chat protocols, single paths, and groups of paths."""
