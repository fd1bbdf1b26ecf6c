"""Converts a group to verl's rows, one per leaf, and a step's rows back to groups."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from aepo.types import SUCCESS, Group, Sample, Trajectory, TrajectoryTree


def dumped(group: Group) -> str:
    """A group as JSON; `loaded` reads it back equal."""
    told = {} if group.sample.instruction is None else {"instruction": group.sample.instruction}
    return json.dumps({"sample": group.sample.id, **told, "tree": group.tree.to_dict()})


def loaded(text: str, samples: Mapping[str, Sample]) -> Group:
    """Read what `dumped` wrote.

    Args:
        text: JSON.
        samples: The task's questions, by their ids.
    """
    data = json.loads(text)
    sample = replace(samples[data["sample"]], instruction=data.get("instruction"))
    return Group(sample, TrajectoryTree.from_dict(data["tree"]))


def rows(group: Group, counts: Mapping[str, float]) -> list[AgentLoopOutput]:
    """One row per leaf of a scored group, with its reward; the first row has the whole group.

    Args:
        group: The group.
        counts: What was counted while it grew, by the names of metrics.
    """
    versions = {node.version for node in group.tree.nodes if node.version is not None}
    span = {"min_global_steps": min(versions, default=0), "max_global_steps": max(versions, default=0)}
    made = [_row(trajectory) for trajectory in group.trajectories()]
    for number, row in enumerate(made):
        text = "" if number else dumped(group)
        told = {"group": text, "counts": "{}" if number else json.dumps(counts)}
        # verl gives only the field `reward_extra_info` to the code that measures an evaluation.
        row.extra_fields["reward_extra_info"] |= told
        row.extra_fields |= {**span, **told}
    return made


def _row(trajectory: Trajectory) -> AgentLoopOutput:
    start = trajectory.prompt_length
    reward = trajectory.reward
    assert reward is not None
    return AgentLoopOutput(
        prompt_ids=trajectory.tokens[:start],
        response_ids=trajectory.tokens[start:],
        response_mask=trajectory.loss_mask[start:],
        response_logprobs=trajectory.logprobs[start:],
        reward_score=reward,
        num_turns=len(trajectory.turns),
        metrics=AgentLoopMetrics(),
        extra_fields={"reward_extra_info": {"acc": float(reward >= SUCCESS)}},
    )


def gathered(
    keys: Sequence[str], extra: Sequence[Mapping[str, Any]], samples: Mapping[str, Sample]
) -> tuple[list[Group], list[list[int]], dict[str, float]]:
    """The groups of a step's rows, the row of each leaf, and the sums of what was counted.

    Rows that fill up a batch belong to no group.

    Args:
        keys: The names that verl gives to the rows, "{question}_{leaf}_0".
        extra: The rows' `extra_fields`.
        samples: The task's questions, by their ids.
    """
    place = {key: row for row, key in enumerate(keys)}
    groups, places, counts = [], [], Counter[str]()
    for key, fields in zip(keys, extra, strict=True):
        uid = key.split("_")[0]
        if fields.get("group") and not uid.startswith("pad"):
            group = loaded(fields["group"], samples)
            groups.append(group)
            counts.update(json.loads(fields["counts"]))
            places.append([place[f"{uid}_{number}_0"] for number in range(len(group.tree.leaves))])
    return groups, places, dict(counts)
