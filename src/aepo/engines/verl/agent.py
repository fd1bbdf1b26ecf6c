"""verl's agent loop worker: our explorer grows the tree of one question, and each leaf is one row for verl."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import traceback
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import transfer_queue as tq
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

from aepo.core.exploration import ExplorationState, IndependentSamples
from aepo.engines.stopping import ends_of, stoppings
from aepo.engines.verl.generator import ServedGenerator
from aepo.engines.verl.process import run_config, run_task
from aepo.engines.verl.rows import dumped, rows
from aepo.engines.verl.tools import divided
from aepo.engines.writer import renewal_of
from aepo.environments import Environment
from aepo.equipment.agents import agent_over, protocols_of, scorer_of
from aepo.equipment.tools import equip
from aepo.evaluation.runner import evaluate
from aepo.files.instruction import read_instruction
from aepo.instructions.population import Population
from aepo.instructions.renewal import Renewed
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import RolloutError, Seeds, explore
from aepo.tools.counts import counting, taken
from aepo.types import Group


class Desk:
    """The parts that the agent loops of one process share: the task's tools and the chat protocol."""

    def __init__(self, tokenizer: Any, workers: int, resume: bool) -> None:
        self.config, task = run_config(), run_task()
        self.config = self.config.model_copy(update={"tools": divided(self.config.tools, workers)})
        equipment = equip(self.config, task.tools)
        self._open = contextlib.ExitStack()
        self._open.enter_context(equipment.in_use(Path(self.config.run), keep=True, resume=resume))
        self.task = equipment.of(task)
        self.scorer = scorer_of(task, self.config)
        self.tokenizer, self.ends = tokenizer, ends_of(self.config.model.path)
        self.instruction = read_instruction(self.config.model.path)
        self.evaluated = self.instruction
        """The instruction of evaluations."""
        self.protocols = protocols_of(self.task, self.config, tokenizer, self.ends)
        self.stopping = stoppings(tokenizer)
        self.samples = {sample.id: sample for sample in (*task.samples, *task.held_out)}
        self.vocabulary = len(tokenizer)
        self._places = asyncio.Semaphore(at_once(self.task.environments.values(), self.config.algorithm.group_size))

    def agent(self, generator: ServedGenerator) -> Agent:
        """The agent that grows paths on an engine."""
        return agent_over(generator, self.protocols, self.task, self.config, self.instruction)

    async def grow(
        self,
        sample: str,
        number: int,
        generator: ServedGenerator,
        state: str | None,
        samples: int | None,
        told: str | None = None,
    ) -> Group:
        """The scored group of a question.

        Args:
            sample: The id of the question.
            number: The number of the question in the run; a question that a step asks twice has two.
            generator: The engine.
            state: In training, the step's exploration state, as JSON.
            samples: In an evaluation, the number of independent trajectories.
            told: The instruction that the question was drawn; None for that of the policy.
        """
        rules = self.config.algorithm.exploration() if samples is None else IndependentSamples(samples)
        known = rules.initial_state(self.vocabulary) if state is None else ExplorationState.from_dict(json.loads(state))
        seeds = Seeds(self.config.seed, number if samples is None else "evaluation")
        asked = replace(self.samples[sample], instruction=told)
        async with self._places:
            [group] = await explore([asked], self.agent(generator), rules, known, seeds, self.scorer)
        return group

    async def renew(self, population: Population, step: int, generator: ServedGenerator) -> Renewed:
        """Renew the run's instructions with one node's tools; arguments as of `Renewal.renew`."""
        renewal = renewal_of(self.config, self, self.agent(generator), self.scorer, self.task.samples)
        assert renewal is not None
        return await renewal.renew(population, step)

    async def success(self, told: str, generator: ServedGenerator) -> float:
        """The held-out success under an instruction."""
        settings = self.config.evaluation
        asked = [replace(sample, instruction=told) for sample in self.task.held_out[: settings.questions]]
        found = await evaluate(asked, self.scorer, self.agent(generator), None, settings.samples, self.config.seed)
        return found.passes(1).mean


def at_once(environments: Iterable[Environment], group_size: int) -> int:
    """The number of questions that may be asked at once on a node, so that no more worlds are open than may be."""
    # Each question is a rollout of its own, which only knows of its own worlds.
    return max(1, min((made.max_open // group_size for made in environments), default=sys.maxsize))


class _Worker(AgentLoopWorkerTQ.__ray_metadata__.modified_class):  # type: ignore[misc]
    """verl's worker, which grows one tree per question instead of n separate trajectories."""

    def __init__(self, config: Any, *others: Any, **named: Any) -> None:
        super().__init__(config, *others, **named)
        workers = config.actor_rollout_ref.rollout.agent.num_workers
        self.desk = Desk(self.tokenizer, workers, config.trainer.resume_mode != "disable")

    async def _run_prompt(
        self, prompt: dict[str, Any], sampling_params: dict[str, Any], trajectory: dict[str, Any], trace: bool = False
    ) -> None:
        partition = "val" if trajectory["validate"] else "train"
        note = partial(tq.async_kv_put, key=prompt["uid"], partition_id=partition)
        await note(tag={"status": "running"})
        try:
            await self._put_tree(prompt, sampling_params, trajectory["validate"])
        except Exception as error:
            await note(tag={"status": "failure", "cause": told(error)})
        else:
            await note(tag={"status": "finished"})

    async def _put_tree(self, prompt: dict[str, Any], sampling_params: dict[str, Any], validate: bool) -> None:
        state, samples = prompt.pop("exploration", None), prompt.pop("__rollout_n__", None)
        told = prompt.pop("instruction", self.desk.evaluated if validate else None)
        sampling = {**sampling_params, "temperature": 0} if prompt["greedy"] else sampling_params
        generator = ServedGenerator(self.llm_client, sampling, self.desk.stopping)
        with counting() as counts:
            group = await self.desk.grow(prompt["sample"], prompt["index"], generator, state, samples, told)
        for number, row in enumerate(rows(group, taken(counts))):
            # verl would take a list of rows as one session and score only the last row.
            await self._agent_loop_postprocess([row], validate, session_id=number, **prompt)

    async def evaluate_under(self, instruction: str) -> None:
        """Choose the instruction of the next evaluations."""
        self.desk.evaluated = instruction

    async def renew(self, population: Population, step: int) -> tuple[Renewed, dict[str, float]]:
        """`Desk.renew`, and what was counted."""
        with counting() as counts:
            return await self.desk.renew(population, step, self._sampling()), taken(counts)

    async def success(self, told: str) -> float:
        """`Desk.success`."""
        return await self.desk.success(told, self._sampling())

    def _sampling(self) -> ServedGenerator:
        rollout = self.config.actor_rollout_ref.rollout
        names = ("temperature", "top_p", "top_k")
        sampling = {name: rollout[name] for name in names} | {"repetition_penalty": 1.0}
        return ServedGenerator(self.llm_client, sampling, self.desk.stopping)


class Manager(AgentLoopManagerTQ):  # type: ignore[misc]
    """verl's manager with our workers, one per node, because each has its node's tools."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.agent_loop_workers_class = ray.remote(_Worker)


def told(error: Exception) -> dict[str, str]:
    """The error of a failed group for the trainer; for a tool's bug also the trajectory."""
    lines = [str(error).strip() or type(error).__name__, *getattr(error, "__notes__", [])]
    cause = {"message": " | ".join(lines), "kind": type(error).__name__}
    if isinstance(error, RolloutError):
        trace = "".join(traceback.format_exception(error.original))
        cause |= {"group": dumped(error.group), "trace": trace}
    return cause
