"""What each metric of `metrics.jsonl` means, in which unit. The reference page and the viewer show these sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

SHARE = "share"
"""The unit of a number from 0 to 1, which is shown in per cent."""


@dataclass(frozen=True)
class Meaning:
    """The meaning of a metric.

    Attributes:
        unit: "nats", "s", "tokens", "share", "histogram" or "" for a plain number.
        text: One sentence.
    """

    unit: str
    text: str


MEANINGS: dict[str, dict[str, tuple[str, str]]] = {
    "Reward and success": {
        "reward/mean": ("", "The mean reward of the step's trajectories."),
        "reward/std": ("", "The standard deviation of the rewards over all trajectories of the step."),
        "reward/best": ("", "The best reward of each group, averaged over the groups."),
        "success/mean": (SHARE, "The share of trajectories with a reward of at least 1."),
        "group/spread_share": (SHARE, "The share of groups with unequal rewards; the others train nothing."),
        "group/distinct_queries": (
            SHARE,
            "The number of different sequences of tool calls in a group, divided by its trajectories.",
        ),
        "group/clusters": ("", "The number of clusters of similar tool calls in a group."),
    },
    "Held-out questions": {
        "eval/success": (SHARE, "The share of sampled answers to held-out questions that are right; it is Pass@1."),
        "eval/success_low": (SHARE, "The lower end of the 95 % interval of `eval/success`."),
        "eval/success_high": (SHARE, "The upper end of the 95 % interval of `eval/success`."),
        "eval/pass@{k}": (SHARE, "The chance that at least one of k samples of a held-out question is right."),
        "eval/greedy": (SHARE, "The share of held-out questions that the likeliest tokens answer right."),
        "eval/calls": ("", "Executed tool calls of one sampled trajectory of the evaluation."),
        "eval/tokens": ("tokens", "Tokens that the policy wrote in one sampled trajectory of the evaluation."),
        "eval/tool/{event}": ("", "The same as `tool/{event}`, counted during the evaluation."),
        "eval/environment/{event}": ("", "The same as `environment/{event}`, counted during the evaluation."),
    },
    "How trajectories end": {
        "stop/answer": (SHARE, "The share of trajectories that ended with an answer."),
        "stop/end": (SHARE, "The share of trajectories whose text ended without an answer."),
        "stop/format": (SHARE, "The share of trajectories that broke the protocol, for example by writing a result."),
        "stop/length": (SHARE, "The share of trajectories that reached the limit on tokens."),
        "stop/time": (SHARE, "The share of trajectories that reached the limit on seconds."),
        "stop/tool_limit": (SHARE, "The share of trajectories that asked for more tool calls than were left."),
        "stop/done": (SHARE, "The share of trajectories whose environment said that it is done."),
        "stop/lost": (SHARE, "The share of trajectories whose environment died and could not be opened again."),
        "format/broken_share": (SHARE, "The share of trajectories that broke the protocol at least once."),
        "format/told_turns": ("", "The number of broken turns after which the policy was told and could go on."),
    },
    "Entropy": {
        "entropy/policy": ("nats", "The mean entropy of the tokens in trajectories that began at the question."),
        "entropy/root": ("nats", "The mean entropy of the first tokens after the question."),
        "entropy/after_tool": ("nats", "The mean entropy of the first tokens after a tool's result."),
        "entropy/gap": ("nats", "`entropy/root` minus the entropy after the first paths' results; it decides m."),
        "entropy/high_runs_histogram": (
            "histogram",
            "How many turns in a row had an entropy above the step's median, over all trajectories.",
        ),
        "entropy_control/weight": ("", "The weight of the entropy bonus in the update (`train.entropy_control`)."),
        "alarm/entropy": ("", "1 while policy entropy is outside of its band around the start, else 0."),
        "alarm/entropy_below": ("", "1 while policy entropy is below its band: the policy may stop exploring."),
        "alarm/entropy_above": ("", "1 while policy entropy is above its band: the policy may become random."),
    },
    "Budget and branches": {
        "budget/m_mean": ("", "The mean number of trajectories of a group that began at the question, m."),
        "budget/m_histogram": ("histogram", "How many groups began with how many trajectories."),
        "budget/trajectories": ("", "Trajectories of the whole run until now."),
        "budget/tokens_sampled": ("tokens", "Tokens that the policy wrote in the whole run until now."),
        "budget/executed_calls": ("", "Tool calls that really ran in the whole run until now."),
        "branch/share": (SHARE, "The share of trajectories that began as a branch of another one."),
        "branch/leftover_share": (SHARE, "The share of trajectories that began at the question in an unused slot."),
        "branch/per_group": ("", "The mean number of branches of a group."),
        "branch/depth_mean": ("", "The mean number of tool results before a branch begins."),
        "branch/depth_histogram": ("histogram", "How many branches began after how many tool results."),
        "branch/top3_share": (SHARE, "The share of a group's branches that left its three most branched paths."),
        "branch/decisions": ("", "How often the step decided whether to branch."),
        "branch/stopped_by/threshold": (SHARE, "The share of decisions whose chance to branch was too small."),
        "branch/stopped_by/penalty": (SHARE, "The share of decisions that only the penalty for repeats stopped."),
        "branch/stopped_by/pacing": (SHARE, "The share of decisions that the pacing of the budget stopped."),
        "branch/stopped_by/budget": (SHARE, "The share of decisions for which no slot was left."),
        "branch/success_low_entropy": ("", "The mean reward of branches that began at a low entropy."),
        "branch/success_high_entropy": ("", "The mean reward of branches that began at a high entropy."),
        "resample/share": (SHARE, "The share of trajectories that began at a tool call of an ended one."),
        "resample/group_share": (SHARE, "The share of groups with at least one such trajectory."),
        "resample/success": (SHARE, "The share of such trajectories that succeeded."),
        "resample/recovered_share": (SHARE, "The share of the calls made anew after which at least one succeeded."),
        "resample/clusters": ("", "Different first calls of the trajectories that began at one call, mean."),
        "sampling/rounds": ("", "How often the step asked for more questions until it had enough groups."),
        "sampling/dropped_groups": ("", "Groups that were sampled and not trained, because all rewards were equal."),
        "overlap/stale_share": (SHARE, "The share of trajectories that began before the last update."),
        "overlap/left_groups": ("", "Groups that are trained one step later, because they had not ended."),
    },
    "Tools": {
        "tool/executed_calls": ("", "Tool calls that ran in the step; one on a shared part of a tree counts once."),
        "tool/calls_per_trajectory": ("", "Executed tool calls that one trajectory contains."),
        "tool/share": (SHARE, "The share of trajectories that called a tool."),
        "tool/saved_share": (SHARE, "The share of the trajectories' calls that ran only once for several of them."),
        "tool/repeated_calls": ("", "Calls that were not run because the path had made the same call before."),
        "tool/cut_results": ("", "Results that were cut because they were too long."),
        "tool/{tool}/calls": ("", "Calls of this tool in the step; `unknown` is any name that is no tool."),
        "tool/{tool}/error_rate": (SHARE, "The share of this tool's calls that failed."),
        "tool/{tool}/seconds": ("s", "The mean duration of this tool's executed calls."),
        "tool/cache/hits": ("", "Calls that a kept result answered."),
        "tool/cache/misses": ("", "Calls for which no result was kept."),
        "tool/cache/stored": ("", "Results that were written to the file of kept results."),
        "tool/cache/waiting": ("", "Results that wait in memory until the file of kept results can be written."),
        "tool/cache/lost": ("", "Results that could not be kept."),
        "tool/cache/unavailable": ("", "Calls at which the file of kept results could not be read."),
        "tool/rate/waits": ("", "Calls that waited for the limit on calls a second."),
        "tool/rate/seconds": ("s", "The time that calls waited for that limit."),
        "tool/retries": ("", "Calls that were tried again after a failure."),
        "tool/spent/calls": ("", "Calls that count against the tool budget of the run, until now."),
        "tool/spent/money": ("", "Money that tool calls cost in the run until now, in the budget's own currency."),
    },
    "Environments": {
        "environment/opened": ("", "Worlds that were opened."),
        "environment/closed": ("", "Worlds that were closed."),
        "environment/open_seconds": ("s", "The time that opening worlds took, added up."),
        "environment/replayed_calls": ("", "Calls that were made again to bring a second world to a branch point."),
        "environment/snapshots": ("", "States that were kept for branches."),
        "environment/snapshot_seconds": ("s", "The time that keeping states took, added up."),
        "environment/restored": ("", "Worlds that began from a kept state."),
        "environment/recovered": ("", "Worlds that died and were opened again."),
        "environment/refused": ("", "Branches that began at the question, since the world could not be made again."),
        "environment/lost": ("", "Worlds that died and could not be opened again."),
        "environment/not_closed": ("", "Worlds that did not close as they should."),
    },
    "Tokens": {
        "tokens/sampled": ("tokens", "Tokens that the policy wrote in the step; a shared part counts once."),
        "tokens/observed": ("tokens", "Tokens of tool results in the step; a shared part counts once."),
        "tokens/distinct": ("tokens", "All tokens of the step's trees, prompts too; a shared part counts once."),
        "tokens/trajectory": ("tokens", "The mean length of a trajectory, with its prompt."),
        "turns/mean": ("", "The mean number of turns that the policy wrote in a trajectory."),
    },
    "Training": {
        "loss": ("", "The loss, averaged over the step's optimizer steps; it need not fall."),
        "grad/norm": ("", "The norm of the gradient before it is clipped."),
        "clip/low_fraction": (SHARE, "The share of tokens with a negative advantage and a ratio below the clip."),
        "clip/high_fraction": (SHARE, "The share of tokens with a positive advantage and a ratio above the clip."),
        "kl/rollout": (
            "nats",
            "How much less likely the sampled tokens became: mean log-probability before minus now.",
        ),
        "kl/reference": ("nats", "The KL divergence from the reference model."),
        "trust/beta": ("", "The weight of the KL term of `train.trust`."),
        "train/learning_rate": ("", "The learning rate of the step's last update."),
        "train/optimizer_steps": ("", "Optimizer steps in the step."),
        "train/idle_share": (SHARE, "The share of trajectories that were not computed, since they would add nothing."),
        "train/distinct_tokens": ("tokens", "Tokens that the model read in training, each shared part once."),
        "train/repeated_tokens": ("tokens", "Tokens that the model read again because a tree was split."),
        "train/sharing": ("", "How often each of these tokens would be read if trajectories were trained whole."),
    },
    "Sampler and trainer": {
        "logprobs/rollout_difference_mean": (
            "nats",
            "The mean difference between the sampler's and the trainer's log-probability of a token.",
        ),
        "logprobs/rollout_difference_max": ("nats", "The largest such difference of one token."),
        "logprobs/rollout_outside_share": (
            SHARE,
            "The share of tokens whose ratio is outside of 0.8 to 1.2 before the first update.",
        ),
        "logprobs/rollout_k3": ("nats", "The KL divergence between sampler and trainer, estimated without bias."),
        "correction/effective_sample_size": (SHARE, "How evenly the correction weighs tokens: 100 % is evenly."),
        "correction/cut_share": (SHARE, "The share of tokens whose ratio the correction truncated or masked."),
        "correction/dropped_share": (SHARE, "The share of trajectories that the correction left out."),
        "weights/seconds": ("s", "The time to hand the weights to the sampling server."),
        "weights/difference": ("nats", "How much the server's log-probabilities differ from the trainer's."),
    },
    "Instructions": {
        "instruction/w_max": ("", "The largest weight of an instruction, in units of reward."),
        "instruction/w_spread": ("", "The largest weight of an instruction minus the smallest one."),
        "instruction/entropy": ("nats", "The entropy of the draw of instructions; ln N is an even draw of N."),
        "instruction/age": ("", "Steps since an instruction joined, averaged over the instructions."),
        "instruction/length_tokens": ("tokens", "Tokens that an instruction adds to a prompt, averaged over them."),
        "instruction/groups_histogram": ("histogram", "The groups of the step by the number of their instruction."),
        "instruction/accepted": ("", "New instructions that joined in a renewal."),
        "instruction/dropped": ("", "Instructions that a renewal dropped."),
        "instruction/proposal_failed": ("", "New instructions of a renewal that were refused or never came."),
        "instruction/writer_calls": ("", "Requests to the writer in a renewal."),
        "instruction/writer_tokens": ("tokens", "Tokens that the writer wrote in a renewal."),
        "instruction/tried_trajectories": ("", "Trajectories that tried instructions in a renewal."),
        "instruction/own_success": (
            SHARE,
            "Held-out success under the task's own instruction, where another one is the best.",
        ),
    },
    "Time": {
        "time/step": ("s", "The duration of the whole step."),
        "time/rollout": ("s", "The duration of sampling."),
        "time/train": ("s", "The duration of the update."),
        "time/evaluate": ("s", "The duration of the evaluation."),
    },
    "Engine verl": {
        "verl/{name}": ("", "A number that verl logs under this name."),
    },
}
"""Unit and sentence of each metric, by topic; {tool} and the like stand for a name."""


@cache
def meaning(name: str) -> Meaning | None:
    """The meaning of a metric by its name, e.g. "tool/search/calls"; None for a name that no page explains."""
    for topic in MEANINGS.values():
        if name in topic:
            return Meaning(*topic[name])
    for pattern, found in _patterns():
        if pattern.fullmatch(name):
            return Meaning(*found)
    return None


@cache
def _patterns() -> list[tuple[re.Pattern[str], tuple[str, str]]]:
    """Names that stand for several."""
    written = {name: found for topic in MEANINGS.values() for name, found in topic.items() if "{" in name}
    return [(re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(name))), found) for name, found in written.items()]
