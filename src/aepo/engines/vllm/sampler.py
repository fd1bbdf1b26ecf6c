"""Samples with vLLM for the policy that this process trains (a `Sampler`)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from aepo.engines.openai.client import Client
from aepo.engines.openai.dialect import Wanted
from aepo.engines.openai.probe import Served
from aepo.engines.openai.vllm import VLLM
from aepo.engines.vllm.check import TOKENS, TOLERANCE, Continuation, allowed, difference
from aepo.engines.vllm.command import NAME, sleeps
from aepo.engines.vllm.control import UPDATE_SECONDS, VllmError
from aepo.engines.vllm.generator import VllmGenerator
from aepo.process import event_loop
from aepo.rollout.generator import GeneratorSettings, Stop

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.vllm.launch import Serving


class VllmSampler:
    """Gives engines over a vLLM server that gets the policy's weights.

    Attributes:
        version: The version of the server's weights; -1 before the first `push`.
        alongside: Whether the server keeps its memory while the trainer works, and so can sample meanwhile.

    Raises:
        VllmError: The server does not start, or does not fit the run.
    """

    def __init__(self, serving: Serving, policy: LocalPolicy) -> None:
        config, served = serving.config, serving.served
        self.version, self.alongside = -1, not sleeps(config, served)
        self.control = serving.control
        self._serving, self._policy = serving, policy
        self._served = Served(NAME, VLLM, served.length, config.vllm.logprobs, tempered=True)
        self._tolerance = config.vllm.max_difference or TOLERANCE[getattr(torch, served.dtype)]
        self._first: float | None = None
        self._asleep = self._revived = False
        serving.prepare(policy)
        self._transfer = serving.transfer(policy.model)
        self._transfer.begin()

    def generator(self, settings: GeneratorSettings) -> VllmGenerator:
        """An engine over the server.

        Raises:
            ValueError: The server does not support these settings.
        """
        return VllmGenerator(
            self.control.endpoint, self._now, self._transfer.in_place, self._policy.tokenizer, settings
        )

    def push(self, version: int) -> dict[str, float]:
        """Hand the policy's weights over, and check by log-probabilities that they arrived.

        Requests under way wait, and go on with the new weights. The order matters. Without the pause the engine dies,
        because its weights are missing for a while. Cached keys and values of the old weights stay until they are
        reset. A server that slept is paused until its cache has memory again.

        Returns:
            `weights/seconds` of the hand-over, and `weights/difference`, the mean difference of ln p in nats.

        Raises:
            VllmError: The weights did not arrive.
        """
        began = time.perf_counter()
        # The version changes before the hand-over, so that a request that was sent under the old version counts as
        # drawn by both.
        self.version = version
        post, in_place = self.control.post, self._transfer.in_place
        if self._asleep:
            # PyTorch keeps what training passes freed, and the server could not take it.
            torch.cuda.empty_cache()
            post("/wake_up?tags=weights", seconds=UPDATE_SECONDS)
        elif in_place:
            post("/pause?mode=keep")
        self._transfer.push(version)
        if in_place:
            post("/reset_prefix_cache?reset_running_requests=true")
        if self._asleep:
            post("/wake_up?tags=kv_cache", seconds=UPDATE_SECONDS)
            self._asleep = False
        elif in_place:
            post("/resume")
        seconds = time.perf_counter() - began
        return {"weights/seconds": seconds, "weights/difference": self._difference()}

    def revive(self) -> bool:
        """Start the server again, once in a run, if its process has ended.

        Raises:
            VllmError: The server does not start again.
        """
        server = self._serving.server
        if self._revived or server is None or not server.restart():
            return False
        self._serving.prepare(self._policy)
        self._transfer.begin()
        self.version, self._asleep, self._revived = -1, False, True
        return True

    def free(self) -> None:
        """Let the server sleep until the next hand-over, if it frees its memory between rollouts."""
        if not self.alongside and not self._asleep:
            self.control.post(f"/sleep?level={self._transfer.sleep_level}&mode=wait", seconds=UPDATE_SECONDS)
            self._asleep = True

    def _difference(self) -> float:
        found = difference(self._policy, self._serving.texts, event_loop.run(self._draw))
        limit = allowed(self._tolerance, self._first)
        if not found <= limit:
            raise VllmError(
                f"vLLM does not have the policy's weights: its log-probabilities are {found:.2g} nats off on average "
                f"({limit:.2g} is allowed; vllm.max_difference)"
            )
        self._first = found if self._first is None else self._first
        return found

    async def _draw(self) -> list[Continuation]:
        """The next tokens after the fixed texts, always with the same seeds."""
        (served, _), found = self._now(), []
        async with Client(self.control.endpoint, concurrency=1) as client:
            for seed, text in enumerate(self._serving.texts):
                wanted = Wanted(served.model, text, TOKENS, seed=seed, stop=Stop(), top=0)
                reply = served.dialect.parse(await client.ask(served.dialect.request(wanted)), wanted)
                found.append((reply.tokens, reply.logprobs))
        return found

    def _now(self) -> tuple[Served, int]:
        return replace(self._served, model=self._transfer.name), self.version
