"""Runs any full-attention `transformers` causal LM in this process: continuous batching, forks, exact entropies.

In a decode step, `generator` chooses the rows (`schedule`), `table` lays them out and makes the mask, `forward` runs
the model's modules over `cache`, `head` gives the logits, and `sampling` draws the tokens.

In a training pass, `logprobs` runs the model on whole trajectories, or on a trie of them under `tree_attention`
(FlexAttention). `head` then gives log-probabilities without all logits at once.

A GPU runs nothing else. On a CPU, `cpu/` replaces some parts: the cache has blocks that attention reads where they lie,
Llama-shaped models run without their modules, and attention on a trie runs segment by segment. `cpu/` also chooses the
number of threads. `dispatch` chooses between the two.
"""

from aepo.engines.local.generator import LocalGenerator
from aepo.engines.local.load import LoadedModel, load_policy
from aepo.rollout.generator import GeneratorSettings

__all__ = ["GeneratorSettings", "LoadedModel", "LocalGenerator", "load_policy"]
