"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp): tokens in, tokens out, no text between."""
