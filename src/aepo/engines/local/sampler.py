"""The policy of this process samples for itself: its weights are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aepo.engines.local.generator import LocalGenerator
from aepo.rollout.generator import GeneratorSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalSampler:
    """Gives engines over a model that is trained in place (the `Sampler` protocol).

    Attributes:
        version: Of its weights, as the last `push` called them.
        alongside: False, since it computes where the trainer does.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.version, self.alongside = -1, False
        self._model, self._tokenizer = model, tokenizer

    def generator(self, settings: GeneratorSettings) -> LocalGenerator:
        """An engine over the model."""
        return LocalGenerator(self._model, self._tokenizer, settings, lambda: self.version)

    def push(self, version: int) -> dict[str, float]:
        """Note what the weights are called."""
        self.version = version
        return {}

    def revive(self) -> bool:
        """It lives as long as this process."""
        return False

    def free(self) -> None:
        """An engine gives its cache back by itself, when it is left or paused."""
