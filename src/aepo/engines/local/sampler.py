"""Samples with the policy of this process, without any copy of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aepo.engines.local.generator import LocalGenerator
from aepo.rollout.generator import GeneratorSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalSampler:
    """Gives engines over a model that is trained in place (the `Sampler` protocol).

    Attributes:
        version: The version of the weights, as given to the last `push`.
        alongside: False, since it computes where the trainer does.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.version, self.alongside = -1, False
        self._model, self._tokenizer = model, tokenizer

    def generator(self, settings: GeneratorSettings) -> LocalGenerator:
        """An engine over the model."""
        return LocalGenerator(self._model, self._tokenizer, settings, lambda: self.version)

    def push(self, version: int) -> dict[str, float]:
        """Note the version of the weights."""
        self.version = version
        return {}

    def revive(self) -> bool:
        """Return False, because it lives as long as this process."""
        return False

    def free(self) -> None:
        """Do nothing, because an engine frees its cache when it is left or paused."""
