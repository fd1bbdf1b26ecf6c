"""The training loop: rollout, reward, advantage, update; with checkpoints and resuming.

All random numbers of a step are keyed by (seed, step), and an interrupted step is repeated from its start. So a
checkpoint after step n and the configuration determine all later steps.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch

from aepo.config import Config, flat
from aepo.evaluation.outcomes import save_outcomes
from aepo.evaluation.runner import Evaluation, evaluate
from aepo.instructions.renewal import Renewal
from aepo.process import event_loop
from aepo.process.signals import signals_wait
from aepo.rollout.agent import Agent
from aepo.rollout.growing import Scorer
from aepo.rollout.sampler import Sampler
from aepo.runs.begun import drop_after
from aepo.runs.checkpoint import CheckpointError
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.trees import TreeWriter
from aepo.tools.counts import counting, taken
from aepo.tools.limits import ToolBudget
from aepo.training.alarm import EntropyWatch, watched
from aepo.training.batch import flat_batch
from aepo.training.budget import ended, steps_at_most
from aepo.training.checkpoints import Checkpoints
from aepo.training.correction import corrected
from aepo.training.deterministic import deterministic_kernels
from aepo.training.display import Display
from aepo.training.entropy_control import EntropyControl, with_bonus
from aepo.training.metrics import rollout_metrics
from aepo.training.objective import Logprobs
from aepo.training.optimizer import AdamW, AdamWRule, exact, rate_factor
from aepo.training.overlap import Following, overlapping
from aepo.training.sampling import StepGroups, sample_step, step_questions
from aepo.training.slowdown import UpdateSpeed
from aepo.training.state import RunState
from aepo.training.step import Learner, TrainablePolicy, update
from aepo.training.token_updates import TokenUpdates, token_updates
from aepo.training.trackers import JsonlTracker, OnStep, make_trackers
from aepo.training.trust import Trust
from aepo.types import Group, Sample

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Parts:
    """The parts of a run.

    Attributes:
        policy: The policy, which is trained in place.
        sampler: Samples with the weights that were last handed over.
        agent: Grows paths at the rollout's temperature.
        evaluation_agent: Grows paths for evaluations.
        greedy_agent: Grows paths for evaluations, with the likeliest token each time.
        reference: The reference model of the KL term; None without one.
        scorer: Scores trajectories.
        questions: The questions to train on.
        held_out: The questions to evaluate on; may be empty.
        decode: Turns token ids into text, for the kept trees; see `TreeWriter`.
        pad_token_id: The id of the padding token.
        vocab_size: V, for the entropy scales.
        budget: The limit on tool calls over the whole run; None without one.
        choose_threads: Measures the best number of CPU threads and sets it; None if the number is fixed.
        rule: The optimizer's arithmetic.
        instructions: Renews the instructions; None without a population.
    """

    policy: TrainablePolicy
    sampler: Sampler
    agent: Agent
    evaluation_agent: Agent
    greedy_agent: Agent
    reference: Logprobs | None
    scorer: Scorer
    questions: Sequence[Sample]
    held_out: Sequence[Sample]
    decode: Callable[[list[int]], str]
    pad_token_id: int
    vocab_size: int
    budget: ToolBudget | None = None
    choose_threads: Callable[[], int] | None = None
    rule: AdamWRule = exact
    instructions: Renewal | None = None


class Trainer:
    """Runs a training: it has the run's parts, its folder, and the state that checkpoints keep.

    Args:
        config: The resolved configuration.
        parts: The parts of the run.
        folder: The run folder.
        display: Shows the run's progress.
        resume: Go on from the newest undamaged checkpoint; without one the run starts again.
        on_step: Is called after each step.
    """

    def __init__(
        self,
        config: Config,
        parts: Parts,
        folder: RunFolder,
        display: Display,
        resume: bool = False,
        on_step: OnStep | None = None,
    ) -> None:
        self.config, self.parts, self.folder, self.display = config, parts, folder, display
        train, rules = config.train, config.algorithm.exploration()
        watch = None if train.entropy_band is None else EntropyWatch(train.entropy_band)
        control = EntropyControl.of(train.entropy_control)
        first = None if parts.instructions is None else parts.instructions.first
        self.state = RunState(rules.initial_state(parts.vocab_size), watch, control, instructions=first)
        self.evaluated: int | None = None
        self.counts: Counter[str] = Counter()
        self.speed = UpdateSpeed()
        self._whole = True
        self._standstill: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered while weights are handed over; an open rollout pauses in it."""
        if train.learning_rate == "auto":
            raise ValueError("train.learning_rate is auto: who assembles the parts of a run must set a number")
        optimizer = AdamW(parts.policy.parameters(), train.learning_rate, train.weight_decay, rule=parts.rule)
        factor = rate_factor(train.schedule, train.warmup, train.steps * train.minibatches * train.epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        self.learner = Learner(
            parts.policy,
            optimizer,
            schedule,
            config.algorithm,
            train,
            config.rollout.temperature,
            parts.reference,
            None if train.trust.rule == "clip" else Trust(train.trust),
        )
        self.trees = TreeWriter(folder, parts.decode)
        self.checkpoints = Checkpoints(folder.checkpoints, self.learner, display.message, self.trees.wait)
        resumed = self._restore() if resume else None
        settings = flat(config.model_dump(mode="json"))
        self.trackers = make_trackers(train.trackers, folder, resumed, settings, on_step)
        self.populations = None if first is None else JsonlTracker(folder.instructions_file)
        if self.populations is not None and resumed is not None:
            self.populations.truncate_after(resumed)

    def run(self) -> None:
        """Train to the end. Ctrl-C or SIGTERM ends it with a checkpoint after the last complete step.

        Raises:
            KeyboardInterrupt: After that checkpoint.
            RolloutError: A tool has a bug; a checkpoint is written, as after any failure outside of an update.
            RewardBug: The reward raised an exception.
            BudgetSpent: The tool calls reached the run's budget.
            ReplayError: The recording has no result for a call.
            CheckpointError: The disk is full or refuses; the last good checkpoint is kept.
            RunFolderError: So it did for trees or outcomes.
            RuntimeError: The process that writes trees was killed; a checkpoint is written.
            NonFiniteLoss: The loss is NaN or infinite.
        """
        train = self.config.train
        trajectories_a_step = self.config.rollout.questions * self.config.algorithm.group_size
        self.display.start(steps_at_most(train, trajectories_a_step), self._title(), self.state.step)
        try:
            with counting() as self.counts, self._kernels(), self._sampling() as sample:
                while True:
                    at_end = ended(self.state.step, self.state.spent, train)
                    if self._evaluation_due(at_end) and self.evaluated != self.state.step:
                        self._evaluate()
                    if at_end or (self.state.step and self.state.step % train.checkpoint_every == 0):
                        self._save(wait=at_end)
                    if at_end:
                        break
                    self.checkpoints.check()
                    self.trees.check()
                    self._train_step(sample)
        except BaseException as error:
            # A second signal must not stop the checkpoint after the first one. A display may also raise SystemExit.
            with suppress(KeyboardInterrupt), signals_wait():
                self._keep(error)
            raise
        finally:
            self.display.stop()
            self.trees.close()
            for tracker in self.trackers:
                tracker.close()

    def _keep(self, error: BaseException) -> None:
        """Write a checkpoint after an error, and say in a note of the error, or on the display, how to go on."""
        tell = error.add_note if isinstance(error, Exception) else self.display.message
        try:
            self.checkpoints.wait()
            try:
                self.trees.wait()
            except RuntimeError as lost:
                tell(str(lost))
            # In the middle of an update the weights belong to no step. After a disk error, another write would fail
            # too.
            if not self._whole or isinstance(error, OSError):
                return
            if self.state.step or isinstance(error, KeyboardInterrupt):
                self._save(wait=True)
        except (CheckpointError, RunFolderError) as refused:
            tell(str(refused))
        else:
            tell(f"stopped after step {self.state.step}; go on with: {self.folder.resumption()}")

    def _evaluation_due(self, at_end: bool) -> bool:
        every, step = self.config.evaluation.every, self.state.step
        return bool(self.parts.held_out) and (step == 0 or at_end or (every > 0 and step % every == 0))

    def _train_step(self, sample: Callable[[], StepGroups]) -> None:
        began = time.perf_counter()
        renewed = self._renew()
        self.display.phase("rollout")
        handed, groups = self._sampled(sample)
        self.parts.sampler.free()
        rolled = time.perf_counter()
        with signals_wait():
            self.display.phase("train")
            # The metrics include dropped groups, because these cost as much, and without them rewards would rise.
            tools = list(self.parts.agent.tools)
            window = self.config.algorithm.exploration().entropy_window
            metrics = rollout_metrics(groups.sampled, window, tools) | groups.metrics()
            self._whole = False
            keep = (self.state.step + 1) % self.config.train.trees_every == 0 or self.state.step == 0
            control = self._controlled(metrics)
            trained, updates = self._update(groups.kept, keep, control)
            metrics |= trained | renewed | handed
            self.state = replace(self.state.after(groups), control=control)
            self._whole = True
            updated = time.perf_counter()
            metrics |= self.state.spent.metrics() | self._tool_counts() | self._watch_entropy(metrics)
            metrics |= self._told_of_instructions(groups.sampled)
            metrics |= {"time/rollout": rolled - began, "time/train": updated - rolled, "time/step": updated - began}
            self._watch_speed(updated - rolled, metrics)
            try:
                if keep:
                    self.trees.save(self.state.step, groups.sampled, updates)
            finally:  # the step is whole, even if earlier trees could not be written
                self._log(metrics)

    def _renew(self) -> dict[str, float]:
        """Renew the instructions if it is time; returns the metrics of that."""
        renewal, population, step = self.parts.instructions, self.state.instructions, self.state.step
        if renewal is None or population is None or not population.due(step):
            return {}
        self.display.phase("instructions")
        handed, found = self._sampled(partial(event_loop.run, renewal.renew, population, step))
        self.state = self.state.renewed(found)
        for line in found.told(step):
            self.display.message(line)
        return handed | found.metrics()

    def _told_of_instructions(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Keep the population for the viewer; returns its metrics."""
        population, step = self.state.instructions, self.state.step
        if population is None or self.populations is None:
            return {}
        self.populations.log(step, population.row(step))
        return population.metrics(groups, step)

    def _instructed(self, samples: Sequence[Sample], step: int | str) -> Sequence[Sample]:
        population = self.state.instructions
        return samples if population is None else population.instructed(samples, self.config.seed, step)

    def _sampled(self, sample: Callable[[], _Result]) -> tuple[dict[str, float], _Result]:
        """Hand the weights over, then sample; all once more if the sampler died and could be started again.

        Returns:
            The metrics of the hand-over, and what `sample` returns.
        """
        try:
            return self._hand_over(), sample()
        except Exception as error:
            # With overlap the open rollout has also ended.
            if self.config.rollout.overlap or not self.parts.sampler.revive():
                raise
            self.display.message(f"{error}; the sampler was started again, and the questions are asked again")
            return self._hand_over(), sample()

    def _hand_over(self) -> dict[str, float]:
        """Hand the weights over to the sampler if they have changed. A failure here leaves the last step complete."""
        sampler = self.parts.sampler
        if sampler.version == self.state.step:
            return {}
        with self._standstill():
            return sampler.push(self.state.step)

    def _kernels(self) -> AbstractContextManager[None]:
        deterministic = self.config.rollout.deterministic
        return deterministic_kernels(self.parts.policy.device) if deterministic else nullcontext()

    @contextmanager
    def _sampling(self) -> Iterator[Callable[[], StepGroups]]:
        """A function that samples the groups of the next step, by one rollout per step or by one that stays open."""
        parts, config = self.parts, self.config
        if not config.rollout.overlap:
            yield lambda: event_loop.run(self._rollout)
            return

        def last(groups: Sequence[Group]) -> bool:
            return ended(self.state.step + 1, self.state.spent.after(groups), config.train)

        def questions(step: int) -> list[Sample]:
            return step_questions(parts.questions, config.rollout.questions, config.seed, step)

        def following(groups: StepGroups) -> Following:
            after = self.state.after(groups)
            samples = questions(after.step)
            if after.instructions is not None:
                samples = after.instructions.instructed(samples, config.seed, after.step)
            return Following(samples, after.exploration)

        alongside, overlap = parts.sampler.alongside, config.rollout.overlap
        left = self._instructed(self.state.left, f"{self.state.step}/left")
        with overlapping(parts.agent, parts.scorer, config.algorithm, config.seed, overlap, alongside, left) as rollout:
            if alongside:
                self._standstill = rollout.paused
            try:
                yield lambda: rollout.step(
                    self._instructed(questions(self.state.step), self.state.step),
                    self.state.exploration,
                    self.state.step,
                    last,
                    following,
                )
            finally:
                self._standstill = nullcontext

    async def _rollout(self) -> StepGroups:
        return await sample_step(
            self.parts.questions,
            self.config.rollout.questions,
            self.parts.agent,
            self.parts.scorer,
            self.config.algorithm,
            self.state.exploration,
            self.config.seed,
            self.state.step,
            self._instructed,
        )

    def _controlled(self, metrics: Mapping[str, Any]) -> EntropyControl | None:
        """The controller of entropy after this rollout; None without one."""
        control, entropy = self.state.control, metrics.get("entropy/policy")
        return control if control is None or entropy is None else control.after(entropy)

    def _update(
        self, groups: Sequence[Group], keep: bool, control: EntropyControl | None
    ) -> tuple[dict[str, float], list[TokenUpdates]]:
        """Train on the groups; returns the metrics and, if wanted, the token updates of each group."""
        # Apart from the order of the minibatches, only dropout of adapters draws random numbers.
        torch.manual_seed(self.config.seed * 1_000_003 + self.state.step)
        algorithm = self.config.algorithm
        sampled = flat_batch(groups, algorithm, self.parts.pad_token_id, self.config.rollout.max_tokens)
        if control is not None:
            sampled = with_bonus(sampled, control.acting)
        batch, found = corrected(self.learner, sampled)
        found |= {} if control is None else control.metrics()
        seen_BT = torch.full_like(batch.old_logprobs_BT, torch.nan) if keep else None
        rng = random.Random(f"minibatches {self.config.seed} {self.state.step}")
        metrics = update(self.learner, batch, rng, seen_BT) | found
        return metrics, [] if seen_BT is None else token_updates(groups, batch, seen_BT, algorithm)

    def _watch_entropy(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        watch, found = watched(self.state.watch, metrics.get("entropy/policy"), self.display.message)
        self.state = replace(self.state, watch=watch)
        return found

    def _watch_speed(self, seconds: float, metrics: Mapping[str, Any]) -> None:
        """Choose the number of threads again if updates became slower or faster, e.g. because of other processes."""
        if self.parts.choose_threads is None:
            return
        tokens = metrics["tokens/sampled"] * (1 - metrics["train/idle_share"])
        self.speed, changed = self.speed.after(seconds, tokens)
        if changed:
            before, now = torch.get_num_threads(), self.parts.choose_threads()
            if now != before:
                self.display.message(f"the machine's load changed: CPU threads {before} -> {now}")

    def _evaluate(self) -> None:
        self.display.phase("evaluate")
        settings = self.config.evaluation
        began = time.perf_counter()
        handed, result = self._sampled(partial(self._measured, settings.greedy, self._best))
        # The score under the task's own instruction shows what the best one is worth.
        population, beside = self.state.instructions, {}
        if population is not None and (own := population.members[0].text) != self._best:
            first = self._sampled(partial(self._measured, False, own))[1].passes(1)
            beside = {"instruction/own_success": first.mean}
        with signals_wait():
            self.evaluated = self.state.step
            # They are written before the metrics, which tell a resumed run that this evaluation is done.
            save_outcomes(self.folder, self.state.step, result.outcomes())
            counts = {f"eval/{name}": value for name, value in self._tool_counts().items()}
            self._log({**result.metrics(), **beside, **counts, **handed, "time/evaluate": time.perf_counter() - began})

    @property
    def _best(self) -> str | None:
        """The instruction that evaluations and checkpoints have; None without a population."""
        population = self.state.instructions
        return None if population is None else population.best.text

    def _measured(self, greedy: bool, instruction: str | None) -> Evaluation:
        return event_loop.run(
            evaluate,
            [replace(sample, instruction=instruction) for sample in self.parts.held_out],
            self.parts.scorer,
            self.parts.evaluation_agent,
            self.parts.greedy_agent if greedy else None,
            self.config.evaluation.samples,
            self.config.seed,
        )

    def _tool_counts(self) -> dict[str, float]:
        return taken(self.counts) | ({} if self.parts.budget is None else self.parts.budget.metrics())

    def _log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(self.state.step, metrics)
        self.display.step(self.state.step, metrics)

    def _save(self, wait: bool) -> None:
        with signals_wait():
            self.display.phase("checkpoint")
            self.checkpoints.save(self.state, wait)

    def _restore(self) -> int:
        """Go on from the newest checkpoint that allows it; returns the last step whose metrics are kept."""
        restored = self.checkpoints.restore(self.state, self.parts.questions)
        if restored is None:
            drop_after(self.folder, 0)
            return -1
        self.state, step = restored, restored.step
        # If the run was killed between an evaluation and the next checkpoint, only the metrics show that it was
        # evaluated.
        if any(row["step"] == step for row in self.folder.evaluations()):
            self.evaluated = step
        drop_after(self.folder, step)
        return step

    def _title(self) -> str:
        return f"{self.config.algorithm.name} on {self.config.task.name}, seed {self.config.seed}"
