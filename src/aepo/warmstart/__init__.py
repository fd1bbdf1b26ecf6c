"""Makes the small model of this package: `aepo warmstart`.

It trains a tokenizer and a Llama model of about a million parameters from scratch: first on random tokens that repeat,
so that attention learns to copy, then on demonstrations of mixed quality in an imagined world of cities.
"""
