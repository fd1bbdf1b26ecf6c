"""Loads the policy that a name, a folder or an address stands for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from aepo.config import Config, ConfigError, ModelConfig
from aepo.engines.named import check_named
from aepo.equipment.models import is_server, policy_folder

if TYPE_CHECKING:
    from aepo.engines.local.adapters import Lora
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.openai.policy import ServerPolicy

MODEL_KEY = "AEPO_MODEL_KEY"
"""The environment variable with the key of a model server; none is sent if it is not set."""


def load_policy(path: str, model: ModelConfig | None = None, train: bool = False) -> LocalPolicy | ServerPolicy:
    """Load a policy to evaluate.

    A server is "http://host:port/v1"; its key, if it wants one, is read from the environment variable AEPO_MODEL_KEY.

    Args:
        path: A folder, a hub name, "atlas", "house", a run's folder (for its newest checkpoint), or a server's address.
        model: The other settings; its `path` is not read.
        train: Load it for training: an adapter is merged into the weights, unless `model.lora` trains it.

    Raises:
        ValueError: The policy cannot be loaded; the message says why.
        ServerError: The server does not answer.
    """
    settings = model or ModelConfig(path=path)
    if is_server(path):
        return _connect(path, settings)
    for key in ("name", "tokenizer"):
        if getattr(settings, key) is not None:
            raise ConfigError(f"model.{key} is set, but {path} is no server (http://host:port/v1)")
    return _load_local(path, settings, train)


def _connect(url: str, settings: ModelConfig) -> ServerPolicy:
    from aepo.engines.openai.client import Endpoint
    from aepo.engines.openai.policy import connect
    from aepo.tools.key import ApiKey

    key = ApiKey(MODEL_KEY) if os.environ.get(MODEL_KEY) else None
    return connect(Endpoint(url, key, settings.timeout), settings.name, settings.tokenizer)


def adapters(settings: ModelConfig) -> Lora | None:
    """The adapters that `model.lora` asks for."""
    from aepo.engines.local.adapters import Lora

    lora = settings.lora
    if lora is None:
        return None
    return Lora(lora.rank, lora.alpha, 0.0, lora.targets if isinstance(lora.targets, str) else tuple(lora.targets))


def _load_local(path: str, settings: ModelConfig, train: bool) -> LocalPolicy:
    folder = policy_folder(path)
    check_named(folder)
    from aepo.engines.local.load import load_policy as load
    from aepo.engines.local.policy import LocalPolicy

    return LocalPolicy(
        load(
            folder,
            device=settings.device,
            dtype=settings.dtype,
            gradient_checkpointing=settings.gradient_checkpointing,
            lora=adapters(settings),
            pad_token=settings.pad_token,
            train=train,
        )
    )


def load_to_train(config: Config) -> LocalPolicy:
    """Load the model of a configuration and set the fastest number of threads.

    Raises:
        ValueError: The model cannot be loaded.
    """
    import torch

    if is_server(config.model.path):
        raise ConfigError(
            f"model.path is a server ({config.model.path}), which cannot be trained: give a folder or a hub name"
        )
    # New adapters begin with random weights.
    torch.manual_seed(config.seed)
    policy = cast("LocalPolicy", load_policy(config.model.path, config.model, train=True))
    set_threads(policy, config)
    return policy


def set_threads(policy: LocalPolicy, config: Config) -> None:
    """Set the number of CPU threads; if the configuration names none, the fastest one is measured."""
    import torch

    from aepo.engines.local.cpu.threads import fastest_threads

    if policy.device.type == "cpu":
        torch.set_num_threads(config.train.threads or fastest_threads(policy))
