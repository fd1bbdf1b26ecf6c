"""Any full-attention `transformers` causal LM, in this process: continuous batching, forks, exact entropies.

A decode step: `generator` chooses the rows (`schedule`), `table` lays them out and makes the mask, `forward` runs the
model's modules over `cache`, `head` gives the logits, and `sampling` draws the tokens.

A training pass: `logprobs` runs the model on whole trajectories, or on a trie of them under `tree_attention`
(FlexAttention), and `head` gives log-probabilities without all logits at once.

That is all that a GPU runs. A CPU runs the same, but for what `cpu/` puts in its place: a cache in blocks that
attention reads where they lie, Llama-shaped models without their modules, attention on a trie segment by segment, and
the number of threads. `dispatch` is where one or the other is taken.
"""

from aepo.engines.local.generator import LocalGenerator
from aepo.engines.local.load import LoadedModel, load_policy
from aepo.rollout.generator import GeneratorSettings

__all__ = ["GeneratorSettings", "LoadedModel", "LocalGenerator", "load_policy"]
