"""Rollout: chat protocols, one path, one group."""
