"""Samples with a model on an OpenAI-compatible server (vLLM, SGLang, llama.cpp), by requests with token ids."""
