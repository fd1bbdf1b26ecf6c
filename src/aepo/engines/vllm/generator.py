"""Grows sequences on the vLLM server of a run; each reply has the version of the weights that drew it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from aepo.engines.openai.client import Endpoint
from aepo.engines.openai.generator import ServerGenerator
from aepo.engines.openai.probe import Served
from aepo.engines.remote import RemoteSequence
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class VllmGenerator(ServerGenerator):
    """A `ServerGenerator` whose served model changes while it is open.

    `now` gives the served model and the version of its weights. With `in_place` a request under way goes on with new
    weights; then its reply is dropped and drawn again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        now: Callable[[], tuple[Served, int]],
        in_place: bool,
        tokenizer: PreTrainedTokenizerBase,
        settings: GeneratorSettings,
    ) -> None:
        super().__init__(endpoint, now()[0], tokenizer, settings)
        self._now, self._in_place = now, in_place

    async def _draw(self, sequence: RemoteSequence, count: int, stop: Stop) -> Sampled:
        """Sample with one request; see `ServerGenerator`."""
        while True:
            self.served, version = self._now()
            drawn = await super()._draw(sequence, count, stop)
            if not self._in_place or self._now()[1] == version:
                return replace(drawn, version=version)
            # After a hand-over no request may be sent before the engine is resumed.
            await self._going.wait()
