"""Any full-attention `transformers` causal LM, in this process: continuous batching, forks, exact entropies."""

from aepo.engines.local.generator import LocalGenerator
from aepo.engines.local.load import Policy, load_policy

__all__ = ["LocalGenerator", "Policy", "load_policy"]
