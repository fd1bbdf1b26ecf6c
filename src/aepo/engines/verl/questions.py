"""The questions of a run for verl's data loader, in the same order as on one machine."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from aepo.engines.verl.mapping import NAME
from aepo.engines.verl.process import run_config, run_task
from aepo.training.sampling import step_questions
from aepo.types import Sample

GREEDY = "-greedy"
"""Suffix of the name under which verl lists greedy answers."""


class Questions(Dataset[dict[str, Any]]):
    """Row i is the i-th question that training asks; of the held-out ones, all sampled, then all greedy.

    The signature is verl's.
    """

    def __init__(self, data_files: str, tokenizer: Any, processor: Any, config: Any, max_samples: int = -1) -> None:
        """`data_files` is "samples" or "held_out"."""
        settings, task = run_config(), run_task()
        self.rows: list[dict[str, Any]] = []
        if data_files == "samples":
            count = settings.rollout.questions
            for step in range(max(1, settings.train.steps)):
                self.rows += [
                    self._row(sample, task.name) for sample in step_questions(task.samples, count, settings.seed, step)
                ]
            return
        asked = (task.held_out or task.samples[:1])[: settings.evaluation.questions]
        self.rows += [self._row(sample, task.name, settings.evaluation.samples) for sample in asked]
        if settings.evaluation.greedy:
            self.rows += [self._row(sample, task.name + GREEDY, 1, greedy=True) for sample in asked]

    def _row(self, sample: Sample, source: str, samples: int | None = None, greedy: bool = False) -> dict[str, Any]:
        row = {
            "index": len(self.rows),
            "sample": sample.id,
            "greedy": greedy,
            "agent_name": NAME,
            "data_source": source,
            "raw_prompt": [{"role": "user", "content": sample.question}],
            "reward_model": {"ground_truth": sample.target},
        }
        return row if samples is None else {**row, "__rollout_n__": samples}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        # verl requires at least one tensor in a batch.
        return {**self.rows[number], "dummy_tensor": torch.zeros(1)}
