"""Metrics of one step's rollout, and the update of the exploration state. No torch.

A metric has a name such as `reward/mean`. Its value is a number, or a histogram {value as text: count}. A metric
without data is left out.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from math import fsum

from aepo.core.exploration import ExplorationState
from aepo.rollout.explorer import executed_calls
from aepo.training.diversity import diversity_metrics
from aepo.types import (
    SUCCESS,
    BranchDecision,
    Group,
    Kind,
    Leaf,
    Node,
    Origin,
    StopReason,
    ToolResult,
    TrajectoryTree,
    turns_of,
)

Metrics = dict[str, float | dict[str, int]]

STOPPED_BY = ("threshold", "penalty", "pacing", "budget")


def rollout_metrics(groups: Sequence[Group], window: int = 20, tools: Collection[str] = ()) -> Metrics:
    """Metrics of a step's groups about reward, entropy, budget, branches, tools and tokens.

    Args:
        groups: The step's groups; leaves without a reward do not count in `reward/*` and `success/*`.
        window: W, tokens of a segment entropy.
        tools: The names of the task's tools; any other name that the policy wrote counts as `unknown`. If it is empty,
            these are the tools that ran in the step.
    """
    if not any(group.tree.leaves for group in groups):
        return {}
    return {
        **_reward_metrics(groups),
        **diversity_metrics(groups),
        **_end_metrics(groups),
        **_entropy_metrics(groups, window),
        **_high_runs(groups, window),
        **_budget_metrics(groups),
        **_branch_metrics(groups),
        **_resample_metrics(groups),
        **_decision_metrics(groups),
        **_call_metrics(groups),
        **_tool_metrics(groups, tools),
        **_token_metrics(groups),
    }


def exploration_update(groups: Sequence[Group], state: ExplorationState) -> ExplorationState:
    """The exploration state after a step.

    It uses the gaps of the questions whose probes called a tool, H_t - h_init of every observation with a decision,
    and the number of observations of every trajectory. Entropies are in the explorer's unit.

    Raises:
        ValueError: An entropy is not finite.
    """
    gaps: list[float] = []
    deltas: list[float] = []
    observations: list[float] = []
    for tree in (group.tree for group in groups):
        of_path = {leaf.path: leaf for leaf in tree.leaves}
        probes = {leaf.path for leaf in tree.leaves if leaf.origin is Origin.PROBE}
        if tree.gap is not None and any(n.results and n.path in probes for n in tree.nodes):
            gaps.append(tree.gap)
        for node in tree.nodes:
            if node.decision is not None:
                deltas.append(node.decision.entropy - of_path[node.path].root_entropy)
        observations += [float(sum(n.tokens != [] for n in _observations(tree, leaf))) for leaf in tree.leaves]
    return state.updated(gaps, deltas, observations)


def _reward_metrics(groups: Sequence[Group]) -> Metrics:
    by_group = [[leaf.reward for leaf in group.tree.leaves if leaf.reward is not None] for group in groups]
    scored = [rewards for rewards in by_group if rewards]
    if not scored:
        return {}
    rewards = [reward for group in scored for reward in group]
    return {
        "reward/mean": _mean(rewards),
        "reward/std": statistics.pstdev(rewards),
        "reward/best": _mean(map(max, scored)),
        "success/mean": _mean(reward >= SUCCESS for reward in rewards),
        "group/spread_share": _mean(max(group) > min(group) for group in scored),
    }


def _end_metrics(groups: Sequence[Group]) -> Metrics:
    leaves = _leaves(groups)
    broken = [
        leaf.format_error is not None or any(node.error is not None for node in group.tree.walk(leaf.node))
        for group in groups
        for leaf in group.tree.leaves
    ]
    told = sum(node.error is not None for group in groups for node in group.tree.nodes)
    return {
        "format/broken_share": _mean(broken),
        **({"format/told_turns": float(told)} if told else {}),
        **{f"stop/{reason.value}": _mean(leaf.stop_reason is reason for leaf in leaves) for reason in StopReason},
    }


def _entropy_metrics(groups: Sequence[Group], window: int) -> Metrics:
    """Entropies in nats for any `entropy_scale`, so that runs can be compared.

    `entropy/policy` reads trajectories from the question alone. Branches begin where the policy is uncertain, so with
    them an algorithm that branches would seem to have another entropy.
    """
    root: list[float] = []
    after_tool: list[float] = []
    policy: list[float] = []
    for tree in (group.tree for group in groups):
        from_question = {leaf.path for leaf in tree.leaves if leaf.parent_path is None}
        for first, before, entropies in _written_turns(tree):
            policy += entropies if first.path in from_question else []
            if before in (Kind.PROMPT, Kind.OBSERVATION) and entropies:
                (root if before is Kind.PROMPT else after_tool).append(_mean(entropies[:window]))
    gaps = [group.tree.gap for group in groups if group.tree.gap is not None]
    means = {"entropy/root": root, "entropy/after_tool": after_tool, "entropy/policy": policy, "entropy/gap": gaps}
    return {name: _mean(values) for name, values in means.items() if values}


def _written_turns(tree: TrajectoryTree) -> Iterator[tuple[Node, Kind | None, list[float]]]:
    """For each trained turn, its first node, the kind of the node before it, and the entropies of one path's tokens.

    A split turn counts as one turn of the path that wrote it. If another path continues inside it, the kind before that
    path's part is "policy". After an observation that reports a broken turn, the kind is None.
    """
    goes_on = {
        node.parent: node
        for node in tree.nodes
        if node.kind is Kind.POLICY and node.parent is not None and tree.nodes[node.parent].kind is Kind.POLICY
        if tree.nodes[node.parent].path == node.path
    }
    later = {node.id for node in goes_on.values()}
    for node in tree.nodes:
        if node.trained and node.id not in later:
            before = _kind_before(tree, node)
            entropies, part = list(node.entropies), goes_on.get(node.id)
            while part is not None:
                entropies += part.entropies
                part = goes_on.get(part.id)
            yield node, before, entropies


def _kind_before(tree: TrajectoryTree, node: Node) -> Kind | None:
    if node.parent is None:
        return Kind.PROMPT
    before = tree.nodes[node.parent]
    return None if before.kind is Kind.OBSERVATION and not before.results else before.kind


def _high_runs(groups: Sequence[Group], window: int) -> Metrics:
    """Lengths of the runs of high-entropy turns in a row, over all trajectories.

    A turn after an observation is high if the mean entropy of its first `window` tokens is above the step's median of
    such turns. A run on a shared prefix counts in each trajectory that contains it.
    """
    after_tool = {
        (number, first.id): _mean(entropies[:window])
        for number, group in enumerate(groups)
        for first, before, entropies in _written_turns(group.tree)
        if entropies and before is Kind.OBSERVATION
    }
    if not after_tool:
        return {}
    median = statistics.median(after_tool.values())
    lengths: list[int] = []
    for number, group in enumerate(groups):
        for leaf in group.tree.leaves:
            turns = [after_tool.get((number, node.id)) for node in group.tree.walk(leaf.node)]
            high = [entropy > median for entropy in turns if entropy is not None]
            lengths += [sum(run) for is_high, run in groupby(high) if is_high]
    return {"entropy/high_runs_histogram": _histogram(lengths)} if lengths else {}


def _budget_metrics(groups: Sequence[Group]) -> Metrics:
    samples = [group.tree.global_samples for group in groups]
    return {"budget/m_mean": _mean(samples), "budget/m_histogram": _histogram(samples)}


def _branch_metrics(groups: Sequence[Group]) -> Metrics:
    leaves = _leaves(groups)
    branches = [leaf for leaf in leaves if leaf.origin is Origin.BRANCH]
    metrics: Metrics = {
        "branch/share": len(branches) / len(leaves),
        "branch/leftover_share": _mean(leaf.origin is Origin.LEFTOVER for leaf in leaves),
        "branch/per_group": len(branches) / len(groups),
    }
    if branches:
        depths = [leaf.depth for leaf in branches]
        metrics["branch/depth_mean"] = _mean(depths)
        metrics["branch/depth_histogram"] = _histogram(depths)
        metrics["branch/top3_share"] = _mean(share for group in groups if (share := _top3_share(group)) is not None)
    return metrics


def _resample_metrics(groups: Sequence[Group]) -> Metrics:
    """Metrics of trajectories that began at a tool call of an ended one.

    A family are those that began at the same call. `resample/recovered_share` is the share of families with a success,
    `resample/clusters` the number of different first calls in a family, without call as one.
    """
    resampled = [[leaf for leaf in group.tree.leaves if leaf.origin is Origin.RESAMPLED] for group in groups]
    leaves = [leaf for group in resampled for leaf in group]
    if not leaves:
        return {}
    metrics: Metrics = {
        "resample/share": len(leaves) / len(_leaves(groups)),
        "resample/group_share": _mean(bool(group) for group in resampled),
    }
    families = [family for group in groups for family in _families(group.tree)]
    metrics["resample/clusters"] = _mean(len({call for call, _ in family}) for family in families)
    if all(leaf.reward is not None for leaf in leaves):
        metrics["resample/success"] = _mean(success for family in families for _, success in family)
        metrics["resample/recovered_share"] = _mean(any(success for _, success in family) for family in families)
    return metrics


def _families(tree: TrajectoryTree) -> list[list[tuple[str, bool]]]:
    """For each call that was made anew, the first own call of each trajectory, and whether it succeeded."""
    found: dict[tuple[int | None, int], list[tuple[str, bool]]] = defaultdict(list)
    for leaf in tree.leaves:
        if leaf.origin is Origin.RESAMPLED:
            own = [call for node in tree.walk(leaf.node) if node.path == leaf.path for call in node.calls]
            first = f"{own[0].name} {own[0].arguments}" if own else ""
            found[leaf.parent_path, leaf.depth].append((first, (leaf.reward or 0.0) >= SUCCESS))
    return list(found.values())


def _top3_share(group: Group) -> float | None:
    """The share of a group's branches that start on the three paths with most branches; None without branches."""
    parents = Counter(leaf.parent_path for leaf in group.tree.leaves if leaf.origin is Origin.BRANCH)
    return sum(count for _, count in parents.most_common(3)) / parents.total() if parents else None


def _decision_metrics(groups: Sequence[Group]) -> Metrics:
    decisions = [node.decision for group in groups for node in group.tree.nodes if node.decision is not None]
    metrics: Metrics = {"branch/decisions": float(len(decisions))}
    if decisions:
        for reason in STOPPED_BY:
            metrics[f"branch/stopped_by/{reason}"] = _mean(d.stopped_by == reason for d in decisions)
    rewards = [
        (decision.entropy, leaf.reward)
        for group in groups
        for leaf in group.tree.leaves
        if leaf.reward is not None and (decision := _branched_at(group.tree, leaf)) is not None
    ]
    if rewards:
        median = statistics.median(entropy for entropy, _ in rewards)
        low = [reward for entropy, reward in rewards if entropy < median]
        high = [reward for entropy, reward in rewards if entropy > median]
        metrics |= {"branch/success_low_entropy": _mean(low)} if low else {}
        metrics |= {"branch/success_high_entropy": _mean(high)} if high else {}
    return metrics


def _branched_at(tree: TrajectoryTree, leaf: Leaf) -> BranchDecision | None:
    """The decision that started a branch, at its last inherited observation."""
    if leaf.origin is not Origin.BRANCH:
        return None
    return _observations(tree, leaf)[leaf.depth - 1].decision


def _call_metrics(groups: Sequence[Group]) -> Metrics:
    executed = sum(executed_calls(group.tree) for group in groups)
    walks = [_observations(group.tree, leaf) for group in groups for leaf in group.tree.leaves]
    seen = [node for walk in walks for node in walk]
    used = sum(result.executed for node in seen for result in node.results)
    metrics: Metrics = {
        "tool/executed_calls": float(executed),
        "tool/calls_per_trajectory": used / len(_leaves(groups)),
        "tool/share": _mean(bool(walk) for walk in walks),
    }
    if used:
        metrics["tool/saved_share"] = 1.0 - executed / used
    repeated = sum(result.repeated for group in groups for node in group.tree.nodes for result in node.results)
    if repeated:
        metrics["tool/repeated_calls"] = float(repeated)
    cut = sum(result.cut for group in groups for node in group.tree.nodes for result in node.results)
    if cut:
        metrics["tool/cut_results"] = float(cut)
    return metrics


def _tool_metrics(groups: Sequence[Group], tools: Collection[str]) -> Metrics:
    calls = [
        pair
        for group in groups
        for node in group.tree.nodes
        if node.results and node.parent is not None
        for pair in zip(group.tree.nodes[node.parent].calls, node.results, strict=True)
    ]
    known = set(tools) or {call.name for call, result in calls if result.executed}
    by_name: dict[str, list[ToolResult]] = defaultdict(list)
    for call, result in calls:
        by_name[call.name if call.name in known else "unknown"].append(result)
    metrics: Metrics = {}
    for name, results in sorted(by_name.items()):
        metrics[f"tool/{name}/calls"] = float(len(results))
        metrics[f"tool/{name}/error_rate"] = _mean(not r.worked for r in results)
        if any(r.executed for r in results):
            metrics[f"tool/{name}/seconds"] = _mean(r.seconds for r in results if r.executed)
    return metrics


def _token_metrics(groups: Sequence[Group]) -> Metrics:
    lengths: list[int] = []
    turns: list[int] = []
    written: Counter[Kind] = Counter()
    for tree in (group.tree for group in groups):
        for node in tree.nodes:
            written[node.kind] += len(node.tokens)
        for leaf in tree.leaves:
            walk = tree.walk(leaf.node)
            lengths.append(sum(len(node.tokens) for node in walk))
            turns.append(len(turns_of(walk)))
    return {
        "tokens/sampled": float(written[Kind.POLICY]),
        "tokens/observed": float(written[Kind.OBSERVATION]),
        "tokens/distinct": float(written.total()),
        "tokens/trajectory": _mean(lengths),
        "turns/mean": _mean(turns),
    }


def _leaves(groups: Sequence[Group]) -> list[Leaf]:
    return [leaf for group in groups for leaf in group.tree.leaves]


def _observations(tree: TrajectoryTree, leaf: Leaf) -> list[Node]:
    """The observations of results on a walk."""
    return [node for node in tree.walk(leaf.node) if node.results]


def _histogram(values: Iterable[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return fsum(numbers) / len(numbers)
