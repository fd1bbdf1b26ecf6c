"""Provides a vLLM server for the time of a run: it starts one, or uses one that the user has started."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from aepo.config import Config
from aepo.engines.local.adapters import find_adapter
from aepo.engines.prompts import longest_prompt
from aepo.engines.vllm.check import TOKENS
from aepo.engines.vllm.command import ServerNeeds, serve_command
from aepo.engines.vllm.control import Control
from aepo.engines.vllm.devices import devices
from aepo.engines.vllm.gpu_transfer import IpcTransfer, NcclTransfer
from aepo.engines.vllm.process import VllmServer, private_folder
from aepo.engines.vllm.refused import check_model, check_server, refuse
from aepo.engines.vllm.transfer import AdapterTransfer, FileTransfer, Transfer
from aepo.equipment.models import policy_folder
from aepo.tasks.base import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from aepo.engines.local.policy import LocalPolicy

Fits = Callable[[Config, int], None]
"""Checks the memory of a run whose longest prompt has so many tokens; raises `ConfigError` if it is too small."""
_FRACTIONS = (1.0, 0.6, 0.3)
"""Parts of the longest prompt that are compared after each hand-over."""


@dataclass(frozen=True)
class Serving:
    """A server that starts.

    Attributes:
        texts: The token ids of the texts that are compared after each hand-over.
        folder: The folder for weights.
        server: The server's process, if we started it; else None.
    """

    config: Config
    served: ServerNeeds
    texts: list[list[int]]
    folder: Path
    control: Control
    server: VllmServer | None = None

    def prepare(self, policy: LocalPolicy) -> None:
        """Wait for the server, and check it.

        Raises:
            VllmError: The server does not start, or does not fit the run.
        """
        if self.server is not None:
            self.server.wait(self.config.vllm.start_timeout)
        check_server(self.control, self.config, self.served)
        check_model(self.control, policy)

    def transfer(self, model: PreTrainedModel) -> Transfer:
        """How the weights of a model get to the server.

        Raises:
            VllmError: There is no room for them.
        """
        if self.config.model.lora is not None:
            return AdapterTransfer(self.control, model, self.folder)
        dtype = getattr(torch, self.served.dtype)
        if self.config.vllm.weight_transfer == "file":
            return FileTransfer(self.control, model, dtype, self.folder)
        return {"ipc": IpcTransfer, "nccl": NcclTransfer}[self.config.vllm.weight_transfer](self.control, model, dtype)

    def keep_log(self, folder: Path) -> None:
        """Let the server print into the run's folder."""
        if self.server is not None:
            self.server.move_log(folder / "vllm.log")

    @property
    def untested(self) -> str | None:
        """A line for the start of a run whose way of handing weights over was never run; else None."""
        way = self.config.vllm.weight_transfer
        return None if way == "file" else f"vllm.weight_transfer {way} is untested: no GPU has run it yet"


def planned(config: Config, task: Task, fits: Fits) -> tuple[ServerNeeds, list[int]]:
    """What a run's server has to serve, and the tokens of the longest prompt; nothing is loaded.

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
    room = served.length - TOKENS
    texts = [text[: max(1, min(room, int(len(text) * part)))] for part in _FRACTIONS]
    if config.vllm.url is not None:
        with private_folder() as folder:
            yield Serving(config, served, texts, folder, Control(config.vllm.url))
        return
    run = Path(config.run)
    run.parent.mkdir(parents=True, exist_ok=True)
    # The log begins beside the run's folder, because that folder is made only after all checks.
    handle, log = tempfile.mkstemp(prefix=f".{run.name}-vllm-", suffix=".log", dir=run.parent)
    os.close(handle)
    with closing(VllmServer(partial(serve_command, config, served), Path(log))) as server:
        yield Serving(config, served, texts, server.folder, server.control, server)


def _served(config: Config, prompt: int) -> ServerNeeds:
    path = policy_folder(config.model.path)
    adapter, placed = find_adapter(path), devices(config)
    dtype = {"auto": "float32" if placed.trainer is None else "bfloat16"}.get(config.model.dtype, config.model.dtype)
    return ServerNeeds(
        path if adapter is None else adapter.base, path, dtype, prompt + config.rollout.max_tokens, placed
    )
