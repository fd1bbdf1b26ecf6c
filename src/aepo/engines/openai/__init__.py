"""A model on an OpenAI-compatible server (vLLM, SGLang, llama.cpp), with token ids in requests and replies."""
