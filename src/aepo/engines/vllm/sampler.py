"""Samples with vLLM for the policy that this process trains (a `Sampler`)."""

from __future__ import annotations

import time

import torch

from aepo.engines.local.policy import LocalPolicy
from aepo.engines.openai.generator import ServerGenerator
from aepo.engines.openai.probe import Served
from aepo.engines.openai.vllm import VLLM
from aepo.engines.vllm.check import TOLERANCE, WeightCheck
from aepo.engines.vllm.control import UPDATE_SECONDS
from aepo.engines.vllm.gpu_transfer import IpcTransfer, NcclTransfer
from aepo.engines.vllm.launch import Serving
from aepo.engines.vllm.needs import sleeps
from aepo.engines.vllm.refused import check_model, check_server
from aepo.engines.vllm.transfer import AdapterTransfer, FileTransfer
from aepo.rollout.generator import GeneratorSettings

WAYS = {"adapter": AdapterTransfer, "file": FileTransfer, "ipc": IpcTransfer, "nccl": NcclTransfer}
"""The ways of the weights: `vllm.weight_transfer`, and that of `model.lora`."""


class VllmSampler:
    """Gives engines over a vLLM server that gets the policy's weights.

    Attributes:
        version: The version of the server's weights; -1 before the first `push`.
        alongside: Whether the server keeps its memory while the trainer works, and so can sample meanwhile.

    Raises:
        VllmError: The server does not start, or does not fit the run.
    """

    def __init__(self, serving: Serving, policy: LocalPolicy) -> None:
        config, needs = serving.config, serving.needs
        self.alongside = not sleeps(config, needs.placed.shared)
        self.control = serving.server.control
        tolerance = config.vllm.max_difference or TOLERANCE[needs.dtype]
        self.check = WeightCheck(policy, self.control, serving.texts, tolerance)
        self._serving, self._policy = serving, policy
        self._revived = False
        self._begin()

    def _begin(self) -> None:
        """Wait for a server that has been started, and check it; it has no weights yet."""
        config, needs, server = self._serving.config, self._serving.needs, self._serving.server
        server.wait(config.vllm.start_timeout)
        check_server(self.control, config, needs)
        check_model(self.control, self._policy)
        way = "adapter" if config.model.lora is not None else config.vllm.weight_transfer
        self._transfer = WAYS[way](self.control, self._policy.model, server.folder)
        self.version, self._asleep = -1, False

    def generator(self, settings: GeneratorSettings) -> ServerGenerator:
        """An engine over the server.

        Raises:
            ValueError: The server does not support these settings.
        """
        return ServerGenerator(self.control.endpoint, self._now, self._policy.tokenizer, settings)

    def push(self, version: int) -> dict[str, float]:
        """Hand the policy's weights over, and check by log-probabilities that they arrived.

        Requests under way wait, and go on with the new weights. Without the pause the engine dies, because its weights
        are missing for a while. A server that slept is paused until its cache has memory again.

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
        if self._asleep:
            post("/wake_up?tags=kv_cache", seconds=UPDATE_SECONDS)
            self._asleep = False
        elif in_place:
            post("/resume")
        seconds = time.perf_counter() - began
        return {"weights/seconds": seconds, "weights/difference": self.check.difference(self._transfer.name)}

    def revive(self) -> bool:
        """Start the server again, once in a run, if its process has ended.

        Raises:
            VllmError: The server does not start again.
        """
        if self._revived or not self._serving.server.restart():
            return False
        self._revived = True
        self._begin()
        return True

    def free(self) -> None:
        """Let the server sleep until the next hand-over, if it frees its memory between rollouts."""
        if not self.alongside and not self._asleep:
            # At level 1 it keeps its weights in the machine's memory, at level 2 it drops them.
            level = 2 if self._transfer.in_place else 1
            self.control.post(f"/sleep?level={level}&mode=wait", seconds=UPDATE_SECONDS)
            self._asleep = True

    def _now(self) -> Served:
        """The model as it is served now."""
        needs, top = self._serving.needs, self._serving.config.vllm.logprobs
        return Served(self._transfer.name, VLLM, needs.length, top, tempered=True, version=self.version)
