"""verl's synchronous trainer with whole trees: it computes advantages, updates entropy scales and keeps the trees."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import ray
import torch
import transfer_queue as tq
from omegaconf import open_dict
from ray.exceptions import RayActorError
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu

from aepo.config import flat
from aepo.core.exploration import ExplorationState
from aepo.engines.verl.buffer import GroupBuffer, RolloutFailed
from aepo.engines.verl.losses import advantages
from aepo.engines.verl.mapping import NAME
from aepo.engines.verl.process import first_population, run_config, run_task
from aepo.engines.verl.questions import GREEDY
from aepo.engines.verl.rows import gathered, loaded
from aepo.engines.verl.settings import source_of
from aepo.engines.verl.sources import choose
from aepo.evaluation.outcomes import save_outcomes
from aepo.evaluation.runner import Evaluation
from aepo.files.instruction import read_instruction, write_instruction
from aepo.files.whole import write_whole
from aepo.runs.begun import add_version, drop_after
from aepo.runs.failures import save_failure
from aepo.runs.folder import RunFolder
from aepo.runs.trees import TreeWriter
from aepo.training.alarm import EntropyWatch, watched
from aepo.training.metrics import exploration_update, rollout_metrics
from aepo.training.step import NonFiniteLoss
from aepo.training.trackers import JsonlTracker, make_trackers
from aepo.types import Group

STATE = "aepo.json"


class VerlTrainer(PPOTrainerSync):  # type: ignore[misc]
    """Makes steps: trees from the workers, advantages from trees and entropies, the update, new entropy scales."""

    global_steps: int

    def __init__(self, config: Any) -> None:
        # The configuration has our name, to choose this class. verl treats any name but "sync" as an asynchronous
        # trainer.
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        self.ours, self.task = run_config(), run_task()
        self.samples = {sample.id: sample for sample in (*self.task.samples, *self.task.held_out)}
        self.folder = RunFolder(Path(self.ours.run))
        band = self.ours.train.entropy_band
        self.watch = None if band is None else EntropyWatch(band)
        self.groups: list[Group] = []
        self.submitted = 0
        self.own_success: dict[str, float] = {}
        self.done = 0
        self.whole = True
        self.lost: Exception | None = None

    def _build_replay_buffer(self) -> GroupBuffer:
        metric = self._resolve_filter_groups_metric()
        return GroupBuffer(self.config, self._add_prompts_to_generate, metric, self._check_workers)

    def _check_workers(self) -> None:
        """Check that the worker processes live, because verl would wait for a dead one for ever.

        Raises:
            RuntimeError: A process has died.
        """
        pings = [worker.__ray_ready__.remote() for worker in self.agent_loop_manager.agent_loop_workers]
        answered, _ = ray.wait(pings, num_returns=len(pings), timeout=1)
        try:
            ray.get(answered)
        except RayActorError as error:
            raise RuntimeError(f"a process in which tools run has died in step {self.global_steps}") from error

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        self.state = self.ours.algorithm.exploration().initial_state(len(self.tokenizer))
        self.population = first_population(self.ours, self.task, self.tokenizer)

    def get_llm_client(self) -> Any:
        """Make a client that gives entropies if possible; their source is written to the run's `versions.json`."""
        source = choose(
            source_of(self.ours), self.llm_server_manager, self.config.actor_rollout_ref.rollout, self.tokenizer
        )
        add_version(self.folder, "entropy_source", source.told())
        return source.client

    def fit(self, agent_loop_manager: Any) -> None:
        """Train to the end; a failure outside of an update leaves a checkpoint after the last whole step."""
        resumed = None if self.config.trainer.resume_mode == "disable" else self.done or -1
        self.trackers = make_trackers(
            self.ours.train.trackers, self.folder, resumed, flat(self.ours.model_dump(mode="json"))
        )
        self.trees = TreeWriter(self.folder, partial(self.tokenizer.decode, skip_special_tokens=False))
        if self.population is not None:
            self.kept = JsonlTracker(self.folder.instructions_file)
            self.kept.truncate_after(self.done)
        try:
            super().fit(agent_loop_manager)
            self.trees.wait()
        except Exception as error:
            self._keep(error)
            raise
        finally:
            self.trees.close()
            for tracker in self.trackers:
                tracker.close()

    def _submit_batch_to_rollout(self, batch: TensorDict) -> int:
        # The scales go with the questions, so that the workers of all nodes decide by the same scales.
        tu.assign_non_tensor_data(batch, "exploration", json.dumps(self.state.to_dict()))
        if self.population is not None:
            asked, step = [self.samples[name] for name in batch["sample"]], self.global_steps - 1
            again = f"{step}/{self.submitted}" if self.submitted else step
            told = self.population.instructed(asked, self.ours.seed, again)
            tu.assign_non_tensor_stack(batch, "instruction", [sample.instruction for sample in told])
            self.submitted += 1
        return int(super()._submit_batch_to_rollout(batch))

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """Train on one batch, as verl does, and update the entropy scales from its trees."""
        self.trees.check()
        self.loader = self.train_dataloader.state_dict()
        self.submitted, self.counted = 0, {}
        self.renewed = self._renew()
        batch = super().step(metrics, timing_raw)
        if not math.isfinite(metrics.get("actor/grad_norm", 0.0)):
            raise NonFiniteLoss("the gradient is not finite; lower the learning rate")
        self.state = exploration_update(self.groups, self.state)
        if self.population is not None:
            self.population = self.population.after(self.groups, self.global_steps)
        self.done, self.whole = self.global_steps, True
        return batch

    def _renew(self) -> dict[str, float]:
        """Let a worker renew the instructions if it is time; returns the metrics of that."""
        step = self.global_steps - 1
        if self.population is None or not self.population.due(step):
            return {}
        found, counts = ray.get(self.agent_loop_manager.agent_loop_workers[0].renew.remote(self.population, step))
        self.population = found.population
        for line in found.told(step):
            print(f"aepo: {line}")
        self.counted = counts
        return found.metrics()

    def on_sample_end(self) -> None:
        """Let the servers sleep. If one has died, this step is the last, because that server cannot get new weights."""
        try:
            super().on_sample_end()
        except RayActorError as error:
            self.lost = error

    def on_step_end(self) -> None:
        """Give the servers the new weights."""
        if self.lost is None:
            super().on_step_end()

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        found = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["entropy", "extra_fields"]
        )
        self.groups, places, counts = gathered(batch.keys, found.pop("extra_fields").tolist(), self.samples)
        entropy_BT = found.to_padded_tensor()["entropy"]
        made_BT = advantages(self.groups, places, entropy_BT, self.ours.algorithm, self.ours.rollout.max_tokens)
        window = self.ours.algorithm.exploration().entropy_window
        counted = Counter(counts)
        counted.update(self.counted)
        self.told = rollout_metrics(self.groups, window, [tool.name for tool in self.task.tools]) | dict(counted)
        metrics |= {name: value for name, value in self.told.items() if isinstance(value, int | float)}
        # verl's own code around the estimator still runs, with its corrections, its metrics and its batch.
        core_algos.ADV_ESTIMATOR_REGISTRY[NAME] = partial(_given, made_BT)
        return super()._compute_advantage(batch, metrics)

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self.whole = False
        return super()._update_actor(batch, metrics)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], timing_raw: Any, **at: Any) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, **at)
        known = {"loss": metrics.get("actor/pg_loss"), "grad/norm": metrics.get("actor/grad_norm")}
        numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, Real)}
        theirs = {f"verl/{name}": value for name, value in numbers.items() if name not in self.told}
        self._log({**self.told, **self._told(), **known, **theirs, **self._watched(), "time/step": timing_raw["step"]})
        if self.global_steps % self.ours.train.trees_every == 0 or self.global_steps == 1:
            self.trees.save(self.global_steps, self.groups)
        if self.lost is not None:
            raise RuntimeError(f"a rollout server died in step {self.global_steps}") from self.lost

    def _told(self) -> dict[str, Any]:
        """Keep the population for the viewer; returns its metrics."""
        if self.population is None:
            return {}
        self.kept.log(self.global_steps, self.population.row(self.global_steps))
        return self.renewed | self.population.metrics(self.groups, self.global_steps)

    def _watched(self) -> dict[str, float]:
        self.watch, metrics = watched(self.watch, self.told.get("entropy/policy"), lambda line: print(f"aepo: {line}"))
        return metrics

    def _log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(self.global_steps, metrics)

    def _validate(self) -> dict[str, float]:
        if self.lost is not None:
            return {}
        if self.population is not None:
            workers, best, own = (
                self.agent_loop_manager.agent_loop_workers,
                self.population.best,
                self.population.members[0],
            )
            ray.get([worker.evaluate_under.remote(best.text) for worker in workers])
            # The score under the task's own instruction shows what the best one is worth.
            beside = {} if best is own else {"instruction/own_success": ray.get(workers[0].success.remote(own.text))}
            self.own_success = beside
        return dict(super()._validate())

    def _val_metrics_update(self, sources: Any, uids: Any, infos: dict[str, Any], *others: Any, **named: Any) -> Any:
        """The figures of verl, and Pass@k as in all of this project."""
        found: dict[bool, list[Group]] = {False: [], True: []}
        for source, text in zip(sources, infos.pop("group"), strict=True):
            if text:
                found[source.endswith(GREEDY)].append(loaded(text, self.samples))
        result, counts = Evaluation(found[False], found[True]), Counter[str]()
        for text in infos.pop("counts"):
            counts.update(json.loads(text))
        save_outcomes(self.folder, self.global_steps, result.outcomes())
        self._log({**result.metrics(), **self.own_success, **{f"eval/{name}": n for name, n in counts.items()}})
        return {**super()._val_metrics_update(sources, uids, infos, *others, **named), **result.metrics()}

    def _save_checkpoint(self) -> None:
        self.trees.wait()
        # Our parts are written first, because verl's own end with the file that makes a checkpoint the newest.
        self._path().mkdir(parents=True, exist_ok=True)
        watch = None if self.watch is None else self.watch.to_dict()
        state = {"exploration": self.state.to_dict(), "entropy_watch": watch}
        if self.population is not None:
            state["instructions"] = self.population.to_dict()
        write_whole(self._path() / STATE, json.dumps(state).encode())
        own = read_instruction(self.ours.model.path)
        write_instruction(self._path(), own if self.population is None else self.population.best.text)
        super()._save_checkpoint()
        self.saved = self.global_steps

    def _path(self) -> Path:
        return Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        self.done = self.saved = self.global_steps
        if self.global_steps:
            kept = json.loads((self._path() / STATE).read_text(encoding="utf-8"))
            self.state = ExplorationState.from_dict(kept["exploration"])
            if self.watch is not None and kept["entropy_watch"] is not None:
                self.watch = EntropyWatch.from_dict(kept["entropy_watch"], self.watch.band)
            if self.population is not None:
                self.population = self.population.restored(kept["instructions"])
        drop_after(self.folder, self.global_steps)

    def _keep(self, error: Exception) -> None:
        """Keep the failed trajectory and the last whole step after an error; a note of the error says how to go on."""
        if isinstance(error, RolloutFailed) and "group" in error.cause:
            kept = save_failure(self.folder, loaded(error.cause["group"], self.samples), error.cause["trace"])
            error.add_note(f"the trajectory is kept in {kept}")
        try:
            if self.whole and self.done and self.saved != self.done:
                self.global_steps = self.done
                self._save_checkpoint()
                # A resumed run asks the questions of the failed step again.
                torch.save(self.loader, self._path() / "data.pt")
        except Exception as refused:
            error.add_note(f"no checkpoint could be written: {refused}")
        error.add_note(f"stopped after step {self.done}; go on with: {self.folder.resumption()}")


def _given(made_BT: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
    """This step's advantages, with the arguments that verl gives to its estimators."""
    return made_BT, made_BT
