"""The process that we run in: its event loop, signals, memory, and code of users that may do anything."""
