"""Writes the checkpoints of a run while training goes on, and loads the newest one.

Between two steps, the state is copied into the machine's memory. Then a thread writes the copy while training changes
the weights. So a run goes on as soon as the copy is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aepo.files.hashed import HashedFile
from aepo.files.instruction import write_instruction
from aepo.process.background import Background
from aepo.process.host import host_memory
from aepo.runs import checkpoint
from aepo.training.state import RunState
from aepo.training.step import Learner
from aepo.types import Sample

SHARE = 0.8
"""The largest share of the free memory that a copy may take. If it needs more, training waits for the write instead."""


class Checkpoints:
    """Writes and loads the checkpoints of one run.

    Args:
        folder: The folder of the run's checkpoints.
        learner: The policy, the optimizer and its schedule, which are saved and restored.
        tell: Called once with a line, when memory has no room for a copy.
        first: Called before each write: it waits for what a run that goes on from there must find.

    Attributes:
        saved: The step of the last checkpoint that was written, restored or begun; None without one.
    """

    def __init__(
        self, folder: Path, learner: Learner, tell: Callable[[str], object], first: Callable[[], object]
    ) -> None:
        self.saved: int | None = None
        self._folder, self._learner, self._tell, self._first = folder, learner, tell, first
        self._writing = Background("aepo checkpoint")
        self._told = False

    def save(self, state: RunState, wait: bool = False) -> None:
        """Write a checkpoint after the one that is being written, unless this step has one.

        Args:
            state: The run after its last whole step.
            wait: Write the checkpoint before the return, without a copy.

        Raises:
            CheckpointError: The disk is full or refuses, now or for the checkpoint before.
        """
        if self.saved == state.step:
            if wait:
                self.wait()
            return
        self.wait()
        # Torch's number of threads is read here, because each thread has its own.
        said = {**state.to_dict(), "threads": torch.get_num_threads()}
        instruction = None if state.instructions is None else state.instructions.best.text
        kept = {"optimizer": self._learner.optimizer.state_dict(), "schedule": self._learner.schedule.state_dict()}
        if self._learner.trust is not None:
            kept["trust"] = self._learner.trust.state_dict()
        if wait or not self._has_room(kept):
            self._write(said, kept, None, instruction)
        else:
            weights, kept = self._learner.policy.weights(), on_cpu(kept)
            self._writing.start(lambda: self._write(said, kept, weights, instruction))
        self.saved = state.step

    def check(self) -> None:
        """Raise the error of an earlier write, if it has failed.

        Raises:
            CheckpointError: The disk is full or refuses.
        """
        self._ask(self._writing.check)

    def wait(self) -> None:
        """Wait for the checkpoint that is being written.

        Raises:
            CheckpointError: The disk is full or refuses.
        """
        self._ask(self._writing.wait)

    def restore(self, state: RunState, questions: Sequence[Sample]) -> RunState | None:
        """Load the newest undamaged checkpoint that has its optimizer.

        Args:
            state: The state of a new run.
            questions: The questions of the run.

        Returns:
            The state after the checkpoint's step; None if there is no undamaged checkpoint.

        Raises:
            ValueError: The checkpoint has another format, or none has its optimizer.
        """
        path = checkpoint.resumable(self._folder)
        if path is None:
            return None
        data = checkpoint.read_state(path)
        try:
            restored = state.restored(data, questions)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self._learner.policy.restore(path / checkpoint.POLICY)
        # The optimizer moves each tensor to the device of its parameter.
        kept = torch.load(path / checkpoint.OPTIMIZER, map_location="cpu", weights_only=True)
        self._learner.optimizer.load_state_dict(kept["optimizer"])
        self._learner.schedule.load_state_dict(kept["schedule"])
        if self._learner.trust is not None and "trust" in kept:
            self._learner.trust.load_state_dict(kept["trust"])
        # Another number of threads adds sums up in another order.
        torch.set_num_threads(data["threads"])
        self.saved = restored.step
        return restored

    def _ask(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except Exception:
            self.saved = None
            raise

    def _write(
        self,
        said: Mapping[str, Any],
        kept: Mapping[str, Any],
        weights: Mapping[str, Tensor] | None,
        instruction: str | None,
    ) -> None:
        def write(folder: Path) -> dict[str, str]:
            self._learner.policy.save(folder / checkpoint.POLICY, weights)
            if instruction is not None:
                write_instruction(folder / checkpoint.POLICY, instruction)
            with HashedFile(folder / checkpoint.OPTIMIZER) as file:
                torch.save(kept, file)
            (folder / checkpoint.STATE).write_text(json.dumps(said) + "\n")
            return {checkpoint.OPTIMIZER: file.sha256()}

        self._first()
        settings = self._learner.settings
        checkpoint.save(self._folder, said["step"], write, settings.keep_checkpoints, settings.keep_optimizer)

    def _has_room(self, kept: Mapping[str, Any]) -> bool:
        size = sum(tensor.nbytes for tensor in [*self._learner.policy.parameters(), *tensors(kept)])
        free, _ = host_memory()
        if size <= SHARE * free:
            return True
        if not self._told:
            self._tell(
                f"training waits while checkpoints are written: a copy needs {size / 2**30:.1f} GiB of memory, and "
                f"{free / 2**30:.1f} are free"
            )
        self._told = True
        return False


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from tensors(inner)


def on_cpu(value: Any) -> Any:
    """The same dictionaries, lists and tuples with copies of all tensors in the machine's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: on_cpu(inner) for name, inner in value.items()}
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value
