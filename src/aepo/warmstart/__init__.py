"""How the small model that ships with the package was made: `aepo warmstart`.

A tokenizer and a Llama-shaped model of about a million parameters, from scratch: first sequences of random tokens that
repeat (so that attention learns to copy), then demonstrations of mixed quality in an imagined world of cities.
"""
