"""Run folders: the files of a run, and resuming it."""
