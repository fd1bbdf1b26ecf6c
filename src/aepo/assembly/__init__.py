"""Puts a run together: loads its policy, and makes what trains or evaluates it."""
