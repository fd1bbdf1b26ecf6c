"""Samples with vLLM for the policy that this process trains (a `Sampler`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from aepo.engines.openai.client import Client, Endpoint
from aepo.engines.openai.dialect import Wanted
from aepo.engines.openai.probe import Served
from aepo.engines.vllm.check import TOKENS, HandOverCheck
from aepo.engines.vllm.control import Control
from aepo.engines.vllm.generator import VllmGenerator
from aepo.engines.vllm.transfer import Transfer
from aepo.process import event_loop
from aepo.rollout.generator import GeneratorSettings, Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class VllmSampler:
    """Gives engines over a vLLM server that gets the policy's weights.

    Attributes:
        control: Controls the server.
        version: The version of the server's weights; -1 before the first `push`.
        alongside: Whether the server keeps its memory while the trainer works, and so can sample meanwhile.
    """

    def __init__(
        self,
        control: Control,
        served: Served,
        tokenizer: PreTrainedTokenizerBase,
        transfer: Transfer,
        check: Callable[[VllmSampler], HandOverCheck],
        sleeps: bool,
        restart: Callable[[], bool],
    ) -> None:
        """Set the parts; the first `push` hands weights over.

        Args:
            control: Controls the server.
            served: The server's model and what the server supports.
            tokenizer: The policy's tokenizer.
            transfer: Hands weights over.
            check: Makes the comparison after each hand-over.
            sleeps: Whether the server frees its memory between rollouts.
            restart: Starts an ended server again; returns False if it has not ended, or we did not start it.
        """
        self.version, self.alongside = -1, not sleeps
        self.control, self._served, self._tokenizer = control, served, tokenizer
        self._transfer, self._check, self._sleeps = transfer, check(self), sleeps
        self._asleep = False
        self._restart: Callable[[], bool] | None = restart
        self._endpoint = Endpoint(control.url, direct=True)

    def generator(self, settings: GeneratorSettings) -> VllmGenerator:
        """An engine over the server.

        Raises:
            ValueError: The server does not support these settings.
        """
        return VllmGenerator(self._endpoint, self._now, self._transfer.in_place, self._tokenizer, settings)

    def push(self, version: int) -> dict[str, float]:
        """Hand the policy's weights over, and check by log-probabilities that they arrived.

        Returns:
            `weights/seconds` of the hand-over, and `weights/difference`, the mean difference of ln p in nats.

        Raises:
            VllmError: The weights did not arrive.
        """
        began = time.perf_counter()
        # The version changes before the hand-over, so that a request that was sent under the old version counts as
        # drawn by both.
        self.version = version
        if self._asleep:
            # PyTorch keeps what training passes freed, and the server could not take it.
            torch.cuda.empty_cache()
            self.control.wake("weights")
        self._transfer.push(version)
        if self._asleep:
            self.control.wake("kv_cache")
            self._asleep = False
        seconds = time.perf_counter() - began
        return {"weights/seconds": seconds, "weights/difference": self._check.difference()}

    def revive(self) -> bool:
        """Start the server again, once in a run, if its process has ended.

        Raises:
            VllmError: The server does not start again.
        """
        if self._restart is None or not self._restart():
            return False
        self._transfer.forget()
        self.version, self._asleep, self._restart = -1, False, None
        return True

    def free(self) -> None:
        """Let the server sleep until the next hand-over, if it frees its memory between rollouts."""
        if self._sleeps and not self._asleep:
            self.control.sleep(self._transfer.sleep_level)
            self._asleep = True

    def draw(self, texts: Sequence[Sequence[int]]) -> list[tuple[list[int], list[float]]]:
        """The next tokens after some texts, always with the same seeds, and their ln p at temperature 1."""
        served, _ = self._now()

        async def ask() -> list[tuple[list[int], list[float]]]:
            found = []
            async with Client(self._endpoint, concurrency=1) as client:
                for seed, text in enumerate(texts):
                    wanted = Wanted(served.model, text, TOKENS, seed=seed, stop=Stop(), top=0)
                    reply = served.dialect.parse(await client.ask(served.dialect.request(wanted)), wanted)
                    found.append((reply.tokens, reply.logprobs))
            return found

        return event_loop.run(ask)

    def _now(self) -> tuple[Served, int]:
        return replace(self._served, model=self._transfer.name), self.version
