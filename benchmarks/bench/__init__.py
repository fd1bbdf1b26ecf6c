"""How fast a machine samples and trains with a model, and what memory that takes: measurements without a task."""
