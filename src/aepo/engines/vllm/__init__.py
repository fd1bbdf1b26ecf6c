"""vLLM samples for a run that is trained in this process: a server of its own, spoken to by HTTP."""
