"""Provides a vLLM server for the time of a run: it starts one, or uses one that the user has started."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aepo.config import Config
from aepo.engines.prompts import longest_prompt
from aepo.engines.vllm.check import TOKENS
from aepo.engines.vllm.command import serve_command
from aepo.engines.vllm.needs import ServerNeeds, server_needs
from aepo.engines.vllm.process import RunningServer, StartedServer
from aepo.engines.vllm.refused import refuse
from aepo.tasks.base import Task

Fits = Callable[[Config, int], None]
"""Checks the memory of a run whose longest prompt has so many tokens; raises `ConfigError` if it is too small."""
_FRACTIONS = (1.0, 0.6, 0.3)
"""Parts of the longest prompt that are compared after each hand-over."""


@dataclass(frozen=True)
class Serving:
    """A server that starts, what it has to serve, and the texts that are compared after each hand-over."""

    config: Config
    needs: ServerNeeds
    texts: list[list[int]]
    server: RunningServer


def planned(config: Config, task: Task, fits: Fits) -> tuple[ServerNeeds, list[int]]:
    """What a run's server has to serve, and the tokens of the longest prompt; nothing is loaded.

    Raises:
        ConfigError: The settings do not go together, or need more memory than there is.
        ValueError: The tokenizer does not fit.
    """
    text = longest_prompt(config, task)
    needs = server_needs(config, len(text))
    refuse(config, needs.placed)
    fits(config, len(text))
    return needs, text


@contextmanager
def serving(config: Config, task: Task, fits: Fits) -> Iterator[Serving]:
    """Start a server, or use the one at `vllm.url`; leaving ends what was started.

    Arguments and errors as of `planned`.
    """
    needs, text = planned(config, task, fits)
    texts = [text[: max(1, min(needs.length - TOKENS, int(len(text) * part)))] for part in _FRACTIONS]
    with closing(_server(config, needs)) as server:
        yield Serving(config, needs, texts, server)


def _server(config: Config, needs: ServerNeeds) -> RunningServer:
    if config.vllm.url is not None:
        return RunningServer(config.vllm.url)
    # The log begins beside the run's folder, because that folder is made only after all checks.
    run = Path(config.run)
    run.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f".{run.name}-vllm-", suffix=".log", dir=run.parent, delete=False) as log:
        return StartedServer(partial(serve_command, config, needs), Path(log.name))
