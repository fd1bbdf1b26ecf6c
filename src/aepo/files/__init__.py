"""Files that people name and that we write: paths, whole writes, JSON, modules."""
