"""Samples with a vLLM server for a run that is trained in this process; the server is reached by HTTP."""
