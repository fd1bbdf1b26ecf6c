"""Starts a run on a cluster: verl's configuration, Ray, and errors at the end."""

from __future__ import annotations

import os
from typing import Any

from aepo import tasks
from aepo.config import Config, ConfigError, flat
from aepo.engines.local.adapters import find_adapter
from aepo.engines.local.shape import shape_of
from aepo.engines.prompts import longest_prompt
from aepo.engines.verl.process import VARIABLE, first_population
from aepo.engines.verl.settings import overrides, unknown
from aepo.equipment.agents import scorer_of
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.equipment.tools import equip
from aepo.runs.begun import run_folder
from aepo.tasks.base import Task
from aepo.tasks.identity import difference, identity
from aepo.training.rate import with_rate

MODULES = "VERL_USE_EXTERNAL_MODULES"
PLUGIN = "aepo.engines.verl.plugin"


def train(config: Config, task: Task, resume: bool) -> None:
    """Check a run, open its folder, and run it.

    Args:
        config: The run's configuration.
        task: The task that `config.task` names.
        resume: Go on with the run of that folder.

    Raises:
        ValueError: Something does not fit; nothing was trained.
        RunFolderError: The run folder holds another run or cannot be written.
        RuntimeError: The run failed; notes say what is kept and how to go on.
    """
    # Every node loads the task by its name, so that one is checked and kept.
    loaded = tasks.load(config.task.name, config.task.options)
    if (what := difference(identity(loaded), identity(task))) is not None:
        raise ValueError(
            f"engine verl loads the task on every node: {config.task.name!r} gives another one than this ({what} "
            f'there); give task.name as "package.module:function"'
        )
    equip(config, loaded.tools)
    scorer_of(loaded, config)
    settings = prepared(config, loaded, resume)
    with run_folder(config, loaded, named=True, resume=resume):
        run(settings)


def placed(config: Config) -> Config:
    """The configuration with the folder of a built-in model, and with a number as learning rate."""
    path = str(BUILT_IN_MODELS.get(config.model.path, config.model.path))
    config = config.model_copy(update={"model": config.model.model_copy(update={"path": path})})
    return with_rate(config, shape_of(path).parameters) if config.train.learning_rate == "auto" else config


def prepared(config: Config, task: Task, resume: bool = False) -> Any:
    """The whole configuration of verl for a run, checked.

    Raises:
        ValueError: Something does not fit, or verl is not installed.
    """
    from transformers import AutoTokenizer

    config = placed(config)
    if (adapter := find_adapter(config.model.path)) is not None:
        raise ConfigError(
            f"engine verl trains whole models, but {config.model.path} is an adapter of {adapter.base}: merge it first "
            "(peft: merge_and_unload), and give what save_pretrained writes"
        )
    wanted = overrides(config, len(longest_prompt(config, task)), resume)
    first_population(config, task, AutoTokenizer.from_pretrained(config.model.path))
    wanted["trainer.val_before_train"] = bool(task.held_out)
    if not task.held_out:
        wanted["trainer.test_freq"] = -1
    others = [name for name in os.environ.get(MODULES, "").split(",") if name and name != PLUGIN]
    os.environ[MODULES] = ",".join([*others, PLUGIN])
    # The task may be a module of the current folder.
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    variables = {VARIABLE: config.model_dump_json(), MODULES: os.environ[MODULES], "PYTHONPATH": path}
    wanted["+ray_kwargs.ray_init.runtime_env.env_vars"] = variables
    try:
        return composed(wanted)
    except ImportError as error:
        raise ValueError(f'engine verl needs verl and what it needs: pip install "aepo-rl[verl]" ({error})') from error


def run(settings: Any) -> None:
    """Train on the cluster that Ray finds, or on this machine.

    Args:
        settings: The result of `prepared`.

    Raises:
        RuntimeError: The run failed; notes say what is kept and how to go on.
    """
    import ray
    from ray.exceptions import RayTaskError
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    started = not ray.is_initialized()
    try:
        run_ppo(settings, task_runner_class=TaskRunnerV1)
    except RayTaskError as error:
        raise _failure(error) from error
    finally:
        if started:
            ray.shutdown()


def composed(settings: dict[str, Any]) -> Any:
    """The whole configuration of verl with some keys set; only a key that begins with + may be new.

    Raises:
        ConfigError: verl has no such key, or does not accept the values.
    """
    import verl.trainer.main_ppo  # noqa: F401  # first: it loads the plugins
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf
    from verl.utils.config import validate_config

    with initialize_config_module("verl.trainer.config", version_base=None):
        made = compose("ppo_trainer")
    known = list(flat(OmegaConf.to_container(made, resolve=False)))
    sections = {key[:at] for key in known for at, sign in enumerate(key) if sign == "."}
    for key, value in settings.items():
        if not key.startswith("+") and key not in known and key not in sections:
            raise unknown(key, known)
        OmegaConf.update(made, key.removeprefix("+"), value, force_add=True)
    try:
        validate_config(made, use_reference_policy=made.actor_rollout_ref.actor.use_kl_loss, use_critic=False)
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"verl refuses the configuration: {error}") from error
    return made


def _failure(error: Any) -> RuntimeError:
    """The error of a run, without Ray's traceback of another process."""
    cause = error.cause if isinstance(getattr(error, "cause", None), Exception) else error
    failure = RuntimeError(str(cause).strip() or type(cause).__name__)
    for note in getattr(cause, "__notes__", []):
        failure.add_note(note)
    return failure
