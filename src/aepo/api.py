"""The public functions: train, evaluate, load a policy. They put the parts together; everything else is elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aepo import config as configuration
from aepo import event_loop, tasks
from aepo.assembly import agents, reward_of, scorer_of, tools_of
from aepo.config import Config
from aepo.equipment import equip
from aepo.paths import expanded
from aepo.policies import BUILT_IN_MODELS, is_server, policy_folder
from aepo.rollout.explorer import RolloutError
from aepo.signals import terminable
from aepo.tasks.base import Task
from aepo.tasks.checks import checked
from aepo.tasks.identity import difference, identity
from aepo.tools.state import warn_of_state
from aepo.training.resumed import same_run, same_task, task_of_run, with_date
from aepo.training.run_folder import RunFolder, environment, write_whole
from aepo.types import Sample

if TYPE_CHECKING:
    from aepo.algorithms.base import Algorithm
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.openai.policy import ServerPolicy
    from aepo.evaluation.runner import Evaluation
    from aepo.training.display import Display
    from aepo.training.loop import Parts

MODEL_KEY = "AEPO_MODEL_KEY"
"""The environment variable with the key of a model server; none is sent if it is not set."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it wrote.
        policy: As training left it; None after engine verl, whose checkpoints `aepo export` reads.
        config: What it was run with.
    """

    folder: Path
    policy: LocalPolicy | None
    config: Config

    def __fspath__(self) -> str:
        """So that `aepo.view(run)` and `open` take it for its folder."""
        return str(self.folder)


def load_policy(
    path: str, model: configuration.ModelConfig | None = None, train: bool = False
) -> LocalPolicy | ServerPolicy:
    """A policy to evaluate: a folder, a hub name, "atlas", a run's folder (its newest checkpoint), a server's address.

    A server is "http://host:port/v1"; its key, if it wants one, is read from the environment variable AEPO_MODEL_KEY.

    Args:
        path: Which.
        model: The other settings.
        train: It will be trained: an adapter is merged into the weights, unless `model.lora` says that it is trained.

    Raises:
        ValueError: It cannot be loaded; the line says why.
        ServerError: The server does not answer.
    """
    settings = model or configuration.ModelConfig(path=path)
    if is_server(path):
        return _connect(path, settings)
    for key in ("name", "tokenizer"):
        if getattr(settings, key) is not None:
            raise configuration.ConfigError(f"model.{key} is set, but {path} is no server (http://host:port/v1)")
    return _load_local(path, settings, train)


def _connect(url: str, settings: configuration.ModelConfig) -> ServerPolicy:
    from aepo.engines.openai.client import Endpoint
    from aepo.engines.openai.policy import connect
    from aepo.tools.key import ApiKey

    key = ApiKey(MODEL_KEY) if os.environ.get(MODEL_KEY) else None
    return connect(Endpoint(url, key, settings.timeout), settings.name, settings.tokenizer)


def _load_local(path: str, settings: configuration.ModelConfig, train: bool) -> LocalPolicy:
    from aepo.engines.local.adapters import Lora
    from aepo.engines.local.load import load_policy as load
    from aepo.engines.local.policy import LocalPolicy

    lora = settings.lora
    return LocalPolicy(
        load(
            policy_folder(path),
            device=settings.device,
            dtype=settings.dtype,
            gradient_checkpointing=settings.gradient_checkpointing,
            lora=None
            if lora is None
            else Lora(
                lora.rank, lora.alpha, 0.0, lora.targets if isinstance(lora.targets, str) else tuple(lora.targets)
            ),
            pad_token=settings.pad_token,
            train=train,
        )
    )


def started_from(config: Config) -> Config:
    """The configuration with the checkpoint that a run now starts from, in place of the other run that it names.

    That run may train on; a resumed run must know the same start again.
    """
    path = config.model.path
    if path in BUILT_IN_MODELS or is_server(path):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"path": policy_folder(path)})})


def train(
    model: str,
    task: Task,
    algorithm: Algorithm | None = None,
    config: Config | None = None,
    run: str | None = None,
    resume: bool = False,
    display: Display | None = None,
) -> Run:
    """Train `model` on `task`.

    Args:
        model: Folder or hub name of a causal LM, or "atlas"; a server cannot be trained.
        task: Questions, tools and reward.
        algorithm: `aepo.AEPO()` by default; its fields are its settings.
        config: Everything else; class defaults by default.
        run: Folder of the run; by default `config.run`.
        resume: Go on with the run of that folder.
        display: Who is told; by default the terminal.

    Raises:
        ValueError: Something does not fit; nothing was trained.
    """
    settings = config or Config()
    changes: dict[str, Any] = {"model": settings.model.model_copy(update={"path": expanded(model)})}
    changes["task"] = settings.task.model_copy(update={"name": task.name})
    if algorithm is not None:
        changes["algorithm"] = algorithm
    if run is not None:
        changes["run"] = expanded(run)
    return train_task(settings.model_copy(update=changes), task, resume=resume, display=display)


def train_config(config: Config, resume: bool = False, display: Display | None = None) -> Run:
    """Train what a configuration describes; see `train`."""
    if resume:
        task = task_of_run(Path(config.run), config, RunFolder(Path(config.run)).resumption())
    else:
        task = tasks.load(config.task.name, config.task.options)
    return train_task(config, task, resume=resume, display=display, named=True)


@terminable()
def train_task(
    config: Config, task: Task, resume: bool = False, display: Display | None = None, named: bool = False
) -> Run:
    """Train with a whole configuration on a task object.

    Args:
        config: The run's.
        task: What it is trained on.
        resume: Go on with the run of that folder.
        display: Who is told; by default the terminal.
        named: Whether `config.task` finds this task, so that commands can go on with the run.

    Raises:
        ValueError: Something does not fit; nothing was trained.
        RunFolderError: The run folder holds another run or cannot be written.
        RolloutError: A tool has a bug; what it was asked is kept in the run folder, a note says where.
        RewardBug: The reward raised something.
        KeyboardInterrupt: Ctrl-C, or SIGTERM where no handler of the caller's own is set; after a checkpoint.
        CacheRefused: The file of tool results cannot be used.
        BudgetSpent: The calls of tools came to what the run may spend; there is a checkpoint to go on from.
        ReplayError: The file of tool results has none for a call; there is such a checkpoint too.
    """
    if not resume:
        RunFolder(Path(config.run)).check_free()
    config = started_from(with_date(config, resume))
    warn_of_state(tools_of(task))
    if config.engine == "verl":
        return _train_on_verl(config, task, resume)
    from aepo.training.display import Display
    from aepo.training.loop import Trainer

    equipment = equip(config, tools_of(task))
    policy, parts = build(config, replace(task, tools=equipment.tools))
    parts = replace(parts, budget=equipment.budget)
    folder = _run_folder(config, task, resume, named)
    try:
        with equipment.in_use(folder.path, keep=True, resume=resume):
            Trainer(config, parts, folder, display or Display(), resume).run()
    except RolloutError as error:
        folder.keep_failure(error)
        raise
    finally:
        folder.close()
    return Run(folder.path, policy, config)


def _train_on_verl(config: Config, task: Task, resume: bool) -> Run:
    from aepo.engines.verl import launch

    # Every node loads the task for itself.
    loaded = tasks.load(config.task.name, config.task.options)
    if (what := difference(identity(loaded), identity(task))) is not None:
        raise ValueError(
            f"engine verl loads the task on every node: {config.task.name!r} gives another one than this ({what} "
            f'there); give task.name as "package.module:function"'
        )
    equip(config, tools_of(task))
    reward_of(task)
    settings = launch.prepared(config, task, resume)
    folder = _run_folder(config, task, resume, named=True)
    try:
        launch.run(settings)
    finally:
        folder.close()
    return Run(folder.path, None, config)


def _run_folder(config: Config, task: Task, resume: bool, named: bool) -> RunFolder:
    """The folder of a new run, or that of a run to go on with, once its settings are known to be the same.

    Raises:
        RunFolderError: It holds another run, or cannot be written.
        ConfigError: A setting, a question or a tool differs.
    """
    plain = config.model_dump(mode="json")
    kept = {"named": named, **identity(task)}
    if resume:
        folder = RunFolder.resume(config.run)
    else:
        versions = {**environment(), "tools": {tool.name: dict(tool.details) for tool in task.tools}}
        folder = RunFolder.create(config.run, plain, versions=versions, task=kept)
    try:
        if resume:
            before = folder.config()
            same_run(started_from(configuration.parse(before)), config)
            same_task(folder, kept)
            if before != plain:
                # Else the next resumption would not know of e.g. more steps.
                write_whole(folder.config_file, configuration.dump(config).encode())
    except BaseException:
        folder.close()
        raise
    return folder


@terminable()
def evaluate(
    policy: LocalPolicy | ServerPolicy | str,
    task: Task,
    samples: int = 5,
    greedy: bool = True,
    questions: Sequence[Sample] | None = None,
    config: Config | None = None,
) -> Evaluation:
    """Pass@1, Pass@k, greedy success, tool calls and tokens on a task's held-out questions (all, if it has none).

    Args:
        policy: Of `train` or `load_policy`, or what `load_policy` takes.
        task: Questions, tools and reward.
        samples: Sampled trajectories a question.
        greedy: Whether one greedy trajectory a question is taken too.
        questions: Others than the task's held-out ones.
        config: Its `rollout`, `rewards` and `tools` parts and `seed` are used; a budget is one for this evaluation.

    Raises:
        ValueError: Something does not fit.
    """
    from aepo.evaluation import runner

    settings = config or Config()
    if isinstance(policy, str):
        policy = load_policy(policy, settings.model.model_copy(update={"path": policy}))
    asked = list(checked(task.held_out or task.samples if questions is None else questions, "question-", "questions"))
    warn_of_state(tools_of(task))
    if not asked:
        raise ValueError(f"no question of task {task.name!r} to evaluate with: ask at least one")
    equipment = equip(settings, tools_of(task))
    if equipment.store is not None and settings.tools.cache is None and not Path(settings.run).is_dir():
        raise configuration.ConfigError("an evaluation keeps tool results where it is told: give tools.cache a file")
    sampler, best = agents(policy, replace(task, tools=equipment.tools), settings, asked)
    chosen = best if greedy else None
    with equipment.in_use(Path(settings.run)):
        return event_loop.run(
            runner.evaluate, asked, scorer_of(task, settings), sampler, chosen, samples, settings.seed
        )


def build(config: Config, task: Task) -> tuple[LocalPolicy, Parts]:
    """Load the model and put together what a run works with, all of it checked before there is a run folder.

    Raises:
        ValueError: Something does not fit.
    """
    from aepo.engines.local.threads import fastest_threads
    from aepo.training.loop import Parts

    policy = load_to_train(config)
    # Another number of threads rounds otherwise, so where every bit counts the first choice stays.
    fixed = config.train.threads is not None or config.rollout.deterministic or policy.device.type != "cpu"
    held_out = task.held_out[: config.evaluation.questions]
    asked = [*task.samples, *held_out]
    sampler, greedy = agents(policy, task, config, asked)
    if config.train.layout == "tree":
        policy.refuse_tree(sampler.protocol.prompt(asked[0].question))
    if config.algorithm.needs_entropy and sampler.generator.entropy_estimator == "none":
        raise ValueError(f"{config.algorithm.name} reads token entropies, and the engine gives none")
    return policy, Parts(
        policy=policy,
        sampler=sampler,
        # An engine that is kept open from step to step serves nobody else.
        evaluation_sampler=agents(policy, task, config, asked)[0] if config.rollout.overlap else sampler,
        greedy=greedy,
        reference=policy.frozen() if config.algorithm.kl_weight > 0 else None,
        scorer=scorer_of(task, config),
        questions=task.samples,
        held_out=held_out,
        decode=policy.decode,
        pad_token_id=policy.tokenizer.pad_token_id,
        vocab_size=len(policy.tokenizer),
        choose_threads=None if fixed else partial(fastest_threads, policy),
    )


def load_to_train(config: Config) -> LocalPolicy:
    """The model of a configuration, and the threads that it is fastest with.

    Raises:
        ValueError: It cannot be loaded.
    """
    import torch

    from aepo.engines.local.threads import fastest_threads

    if is_server(config.model.path):
        raise configuration.ConfigError(
            f"model.path is a server ({config.model.path}), which cannot be trained: give a folder or a hub name"
        )
    # New adapters begin at random.
    torch.manual_seed(config.seed)
    policy = cast("LocalPolicy", load_policy(config.model.path, config.model, train=True))
    if policy.device.type == "cpu":
        torch.set_num_threads(config.train.threads or fastest_threads(policy))
    return policy


__all__ = ["Run", "evaluate", "load_policy", "train", "train_config", "train_task"]
