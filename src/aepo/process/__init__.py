"""Handles the process that we run in: its event loop, signals, memory, child processes, and calls of users' code."""
