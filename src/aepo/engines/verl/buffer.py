"""The buffer in which verl's trainer waits for the groups of a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from aepo.engines.verl.process import run_config

CHECK_EVERY = 10.0
"""Seconds between two checks of the processes that grow trees."""


class RolloutFailed(RuntimeError):
    """A group failed; the run stops.

    Attributes:
        cause: The error as the worker reported it (`aepo.engines.verl.agent.told`).
    """

    def __init__(self, cause: dict[str, str]) -> None:
        super().__init__(cause["message"])
        self.cause = cause

    # The error goes to another process, with its notes.
    def __reduce__(self) -> tuple[type[RolloutFailed], tuple[dict[str, str]], dict[str, Any]]:
        return type(self), (self.cause,), self.__dict__


class GroupBuffer(ReplayBuffer):  # type: ignore[misc]
    """verl's buffer of a synchronous trainer, in which a failed group stops the run instead of being left out.

    If the algorithm replaces groups of equal rewards, the number of replacements is at most `rounds - 1` times the
    number of questions. After that the step takes the groups that there are.
    """

    def __init__(
        self, config: Any, refill: Callable[[int], int], filter_metric: str | None, check: Callable[[], None]
    ) -> None:
        """`check` is called while waiting; it raises if the worker processes have died."""
        self.check, self.checked = check, 0.0
        batch, sampler = config.data.train_batch_size, config.trainer.v1.sampler
        super().__init__(
            trainer_mode="sync",
            trainer_config=config.trainer.v1.get("sync", {}),
            max_off_policy_threshold=sampler.max_off_policy_threshold,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
            poll_interval=0.2,
            refill_fn=refill,
            filter_groups_metric=filter_metric,
            train_batch_size=batch,
            gen_batch_size=batch if filter_metric is None else 1,
        )
        self.most_dropped = (run_config().algorithm.rounds - 1) * batch
        self.dropped: set[str] = set()

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The rows of a step's groups, once all have grown.

        Raises:
            RolloutFailed: A group failed.
        """
        self.dropped = set()
        return super().sample(global_steps, partition_id, batch_size)

    def _sync_metadata_from_transfer_queue(self) -> None:
        super()._sync_metadata_from_transfer_queue()
        for partition, failed in self.failure_keys.items():
            if failed:
                tags = tq.kv_list()[partition]
                raise RolloutFailed(tags[min(failed)].get("cause", {"message": "a rollout failed", "kind": "unknown"}))

    def _wait_for_next_poll(self, partition_id: str, last_debug_time: float) -> float:
        if time.monotonic() - self.checked >= CHECK_EVERY:
            self.checked = time.monotonic()
            self.check()
        return float(super()._wait_for_next_poll(partition_id, last_debug_time))

    def _dapo_filtered_keys(self, partition_id: str) -> Any:
        uids, counts = super()._dapo_filtered_keys(partition_id)
        new = sorted(uids - self.dropped)[: self.most_dropped - len(self.dropped)]
        self.dropped.update(new)
        return set(new), counts
