"""Makes the small models of this package, for `aepo warmstart`.

It trains a tokenizer and a Llama model of about a million parameters from scratch. The model of `atlas` first learns
from random tokens that repeat, so that attention learns to copy. Then each learns from demonstrations of mixed quality:
for `atlas` in an imagined world of cities, for `house` in houses of the training split.
"""
