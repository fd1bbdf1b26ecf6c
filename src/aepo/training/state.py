"""The state of a run after a step, as checkpoints keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aepo.core.exploration import ExplorationState
from aepo.instructions.population import Population
from aepo.instructions.renewal import Renewed
from aepo.training.alarm import EntropyWatch
from aepo.training.budget import Spent
from aepo.training.entropy_control import EntropyControl
from aepo.training.metrics import exploration_update
from aepo.training.sampling import StepGroups
from aepo.types import Sample

FORMAT = 2


@dataclass(frozen=True)
class RunState:
    """The state of a run after some whole steps, without the weights and the optimizer.

    Attributes:
        exploration: The entropy scales.
        watch: The watch over the policy's entropy; None without one.
        control: The controller of the policy's entropy; None without one.
        step: The number of whole steps.
        spent: The resources that rollouts have used.
        left: The questions whose groups still grow and will be trained in the next step.
        instructions: The population of instructions; None without one.
    """

    exploration: ExplorationState
    watch: EntropyWatch | None
    control: EntropyControl | None = None
    step: int = 0
    spent: Spent = field(default_factory=Spent)
    left: Sequence[Sample] = ()
    instructions: Population | None = None

    def after(self, groups: StepGroups) -> RunState:
        """The state after one more step; watch and control do not change."""
        return replace(
            self,
            exploration=exploration_update(groups.sampled, self.exploration),
            step=self.step + 1,
            spent=self.spent.after(groups.sampled),
            left=groups.left,
            instructions=None if self.instructions is None else self.instructions.after(groups.sampled, self.step + 1),
        )

    def renewed(self, found: Renewed) -> RunState:
        """The state after a renewal of the instructions, whose cost counts as that of rollouts does."""
        spent = self.spent.after(found.groups, found.counts["writer_tokens"])
        return replace(self, instructions=found.population, spent=spent)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "format": FORMAT,
            "step": self.step,
            "exploration": self.exploration.to_dict(),
            "spent": self.spent.to_dict(),
            "entropy_watch": None if self.watch is None else self.watch.to_dict(),
            "entropy_control": None if self.control is None else self.control.to_dict(),
            "left": [sample.id for sample in self.left],
            **({} if self.instructions is None else {"instructions": self.instructions.to_dict()}),
        }

    def restored(self, data: Mapping[str, Any], questions: Sequence[Sample]) -> RunState:
        """Read the result of `to_dict`.

        Args:
            data: The plain values.
            questions: The questions of the run, the unfinished ones included.

        Raises:
            ValueError: The values have another format version.
        """
        if data["format"] != FORMAT:
            raise ValueError(f"the state has format {data['format']!r}, this version reads {FORMAT}")
        watch, by_id = self.watch, {sample.id: sample for sample in questions}
        if watch is not None and data["entropy_watch"] is not None:
            watch = EntropyWatch.from_dict(data["entropy_watch"], watch.band)
        control, kept = self.control, data.get("entropy_control")
        return RunState(
            ExplorationState.from_dict(data["exploration"]),
            watch,
            control if control is None or kept is None else control.restored(kept),
            data["step"],
            Spent.from_dict(data["spent"]),
            [by_id[name] for name in data.get("left", [])],
            None if self.instructions is None else self.instructions.restored(data["instructions"]),
        )
