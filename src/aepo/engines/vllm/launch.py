"""Provides a vLLM server for the time of a run: it starts one, or uses one that the user has started."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from aepo.config import Config
from aepo.engines.local.adapters import find_adapter
from aepo.engines.openai.probe import Served
from aepo.engines.openai.vllm import VLLM
from aepo.engines.prompts import longest_prompt
from aepo.engines.vllm.check import TOKENS, TOLERANCE, HandOverCheck
from aepo.engines.vllm.command import BACKEND, NAME, ServerNeeds, free_port, serve_command, sleeps
from aepo.engines.vllm.control import Control
from aepo.engines.vllm.devices import devices
from aepo.engines.vllm.process import VllmServer, private_folder
from aepo.engines.vllm.refused import check_server, refuse
from aepo.engines.vllm.sampler import VllmSampler
from aepo.engines.vllm.transfer import AdapterTransfer, FileTransfer, Transfer
from aepo.equipment.models import policy_folder
from aepo.tasks.base import Task

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy

Fits = Callable[[Config, int], None]
"""Checks the memory of a run whose longest prompt has so many tokens."""
_FRACTIONS = (1.0, 0.6, 0.3)
"""Parts of the longest prompt that are compared after each hand-over."""


@dataclass(frozen=True)
class Serving:
    """A server that starts.

    Attributes:
        config: The run's configuration.
        served: The model that it has to serve.
        text: The tokens of a prompt of the run.
        folder: The folder for weights.
        server: The server's process, if we started it; else None.
        control: Controls the server.
    """

    config: Config
    served: ServerNeeds
    text: list[int]
    folder: Path
    server: VllmServer | None
    control: Control

    def sampler(self, policy: LocalPolicy) -> VllmSampler:
        """Wait for the server, and sample with it for a policy.

        Raises:
            VllmError: The server does not start, or does not fit the run.
        """
        self._prepare(policy)
        control, model = self.control, policy.model
        transfer: Transfer
        if self.config.model.lora is None:
            transfer = FileTransfer(control, model, self.folder, getattr(torch, self.served.dtype))
        else:
            transfer = AdapterTransfer(control, model, self.folder)
        served = Served(NAME, VLLM, self.served.length, self.config.vllm.logprobs, tempered=True)
        room = self.served.length - TOKENS
        texts = [self.text[: max(1, min(room, int(len(self.text) * part)))] for part in _FRACTIONS]
        tolerance = self.config.vllm.max_difference or TOLERANCE[getattr(torch, self.served.dtype)]
        return VllmSampler(
            control,
            served,
            policy.tokenizer,
            transfer,
            lambda sampler: HandOverCheck(policy, sampler.draw, texts, tolerance),
            sleeps(self.config, self.served),
            partial(self._restart, policy),
        )

    def _prepare(self, policy: LocalPolicy) -> None:
        """Wait for the server, and make it ready for weights."""
        if self.server is not None:
            self.server.wait(self.config.vllm.start_timeout)
        check_server(self.control.version(), self.control.settings(), self.config, self.served, BACKEND)
        self.control.limit_vocabulary(len(policy.tokenizer))
        if self.config.model.lora is None:
            self.control.begin()

    def _restart(self, policy: LocalPolicy) -> bool:
        if self.server is None or not self.server.ended():
            return False
        self.server.restart()
        self._prepare(policy)
        return True

    def keep_log(self, folder: Path) -> None:
        """Let the server print into the run's folder."""
        if self.server is not None:
            self.server.move_log(folder / "vllm.log")


def planned(config: Config, task: Task, fits: Fits) -> tuple[ServerNeeds, list[int]]:
    """What a run's server has to serve, and the tokens of the longest prompt; nothing is loaded.

    Args:
        config: The run's.
        task: With the tools that paths call.
        fits: Raises `ConfigError` if the memory is too small.

    Raises:
        ConfigError: The settings do not go together, or need more memory than there is.
        ValueError: The tokenizer does not fit.
    """
    text = longest_prompt(config, task)
    served = _served(config, len(text))
    refuse(config, served)
    fits(config, len(text))
    return served, text


@contextmanager
def serving(config: Config, task: Task, fits: Fits) -> Iterator[Serving]:
    """Start a server, or use the one at `vllm.url`; leaving ends what was started.

    Arguments and errors as of `planned`.
    """
    served, text = planned(config, task, fits)
    if config.vllm.url is not None:
        folder = private_folder()
        try:
            yield Serving(config, served, text, folder, None, Control(config.vllm.url))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    port = free_port()
    command, variables = serve_command(config, served, port)
    run = Path(config.run)
    run.parent.mkdir(parents=True, exist_ok=True)
    # The log begins beside the run's folder, because that folder is made only after all checks.
    handle, log = tempfile.mkstemp(prefix=f".{run.name}-vllm-", suffix=".log", dir=run.parent)
    os.close(handle)
    server = VllmServer(command, variables, port, Path(log))
    try:
        yield Serving(config, served, text, server.folder, server, server.control)
    finally:
        server.close()


def _served(config: Config, prompt: int) -> ServerNeeds:
    path = policy_folder(config.model.path)
    adapter = find_adapter(path)
    placed = devices(config)
    on_gpu = placed.trainer is not None
    dtype = {"auto": "bfloat16" if on_gpu else "float32"}.get(config.model.dtype, config.model.dtype)
    return ServerNeeds(
        model=path if adapter is None else adapter.base,
        tokenizer=path,
        dtype=dtype,
        length=prompt + config.rollout.max_tokens,
        device="cuda" if on_gpu else "cpu",
        shared=placed.shared,
        devices=",".join(placed.server),
    )
