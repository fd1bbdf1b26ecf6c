"""A scripted policy that makes mistakes plays MiniWoB++ in the real rollout: are groups mixed, and are branches right?

    python benchmarks/miniwob_policy.py [--tasks click-button,enter-text] [--problems 1] [--k 8] [--calls 8]

It prints a row for each task (the rewards of its groups), then the cost of branches beside independent trajectories,
and how many calls of the branches gave another text when the same trajectory was played alone.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from functools import partial

from aepo.core.entropy_branching import EntropyBranching
from aepo.core.exploration import Exploration, IndependentSamples
from aepo.environments.contract import seed_of
from aepo.process import event_loop
from aepo.tasks.base import Task
from aepo.tasks.miniwob import EASY, MiniWob, miniwob
from aepo.tools.counts import counting, taken
from aepo.types import Group, Origin, ToolError
from benchmarks.miniwob_replay import processor_seconds
from benchmarks.scripted import BRANCHY, Action, grown

ELEMENT = re.compile(r'\[(\d+)\](?: (textbox|password|select|checkbox|radio|\w+))?(?: "([^"\n]*)")?([^\[\n]*)')


def act(asked: str, seen: str, draw: random.Random) -> tuple[Action | None, int]:
    """Do something that the goal names; mostly what is right, by words alone."""
    # Title, address and what is asked for stand before the elements.
    goal = asked[asked.find("Page:") :].split("\n")[2]
    elements = ELEMENT.findall("\n".join(seen[seen.find("Page:") :].split("\n")[3:]))
    if not elements:
        return None, 1
    quoted = re.findall(r'"([^"]+)"', goal)
    empty = [n for n, kind, _, rest in elements if kind in ("textbox", "password") and '= "' not in rest]
    fields = [n for n, kind, _, _ in elements if kind in ("textbox", "password")]
    if empty and quoted and draw.random() < 0.8:
        word = quoted[min(len(fields) - len(empty), len(quoted) - 1)] if draw.random() < 0.8 else draw.choice(quoted)
        return ("type", {"number": int(empty[0]), "text": word}), len(quoted)
    lists = [(n, rest) for n, kind, _, rest in elements if kind == "select"]
    if lists and draw.random() < 0.7:
        number, rest = draw.choice(lists)
        options = rest.partition("(of: ")[2].rpartition(")")[0].split(", ")
        named = [option for option in options if option in goal] or options
        chosen = re.search(r'= "([^"]*)"', rest)
        if chosen is None or chosen[1] not in named:
            return ("select", {"number": int(number), "option": draw.choice(named)}), len(options)
    boxes = [
        n
        for n, kind, name, rest in elements
        if kind in ("checkbox", "radio") and "(checked)" not in rest and name in goal
    ]
    if boxes and draw.random() < 0.8:
        return ("click", {"number": int(draw.choice(boxes))}), len(boxes)
    named = [
        n
        for n, kind, name, rest in elements
        if (name or rest.strip()) and (name or rest.strip()).lower() in goal.lower()
    ]
    choices = named if named and draw.random() < 0.8 else [n for n, *_ in elements]
    return ("click", {"number": int(draw.choice(choices))}), len(choices)


async def wrong_calls(group: Group) -> tuple[int, int]:
    """Calls of trajectories that began in another one: all, and those that give something else when played alone."""
    calls = wrong = 0
    for trajectory in group.trajectories():
        if trajectory.leaf.origin is Origin.GLOBAL:
            continue
        world = MiniWob()
        await world.reset(group.sample.metadata["task"], seed_of(group.sample))
        for call, result in trajectory.calls:
            if result.executed:
                try:
                    text = await getattr(world, call.name)(**call.arguments)
                except ToolError as error:
                    text = str(error)
                calls, wrong = calls + 1, wrong + (text != result.text)
        wrong += world.get_reward() != trajectory.outcome
        await world.close()
    return calls, wrong


def measured(task: Task, rules: Exploration, calls: int) -> tuple[list[Group], dict[str, float]]:
    """Grow the groups, and count what it costs."""
    event_loop.run(MiniWob().reset, "click-button", 0)  # the browser is there
    began, spent = time.perf_counter(), processor_seconds()
    with counting() as counts:
        groups, tokens = event_loop.run(partial(grown, task, act, rules, calls))
        found = {name.removeprefix("environment/"): value for name, value in taken(counts).items()}
    return groups, found | {
        "seconds": time.perf_counter() - began,
        "processor": processor_seconds() - spent,
        "tokens": tokens,
    }


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tasks", default=",".join(EASY))
    options.add_argument("--problems", type=int, default=1)
    options.add_argument("--k", type=int, default=8)
    options.add_argument("--calls", type=int, default=8)
    given = options.parse_args()
    task = miniwob(given.tasks.split(","), problems=given.problems, held_out=0)
    groups, branched = measured(task, EntropyBranching(given.k, BRANCHY), given.calls)
    print("| task | rewards | branches |\n|---|---|---|")
    for group in groups:
        marks = "".join("+" if leaf.outcome else "." for leaf in group.tree.leaves)
        begun = sum(leaf.origin is not Origin.GLOBAL for leaf in group.tree.leaves)
        print(f"| {group.sample.id} | {marks} | {begun} |")
    mixed = {
        group.sample.metadata["task"]
        for group in groups
        if 0 < sum(leaf.outcome or 0 for leaf in group.tree.leaves) < given.k
    }
    print(f"mixed groups on {len(mixed)} of {len({sample.metadata['task'] for sample in task.samples})} tasks\n")
    _, independent = measured(task, IndependentSamples(given.k), given.calls)
    print("| | tokens | pages opened | calls replayed | refused | lost | not closed | processor | wall |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in (("branches", branched), ("independent", independent)):
        numbers = [int(found.get(key, 0)) for key in ("tokens", "opened", "replayed_calls", "refused", "lost")]
        left = int(found.get("opened", 0) - found.get("closed", 0))
        times = f"{found['processor']:.1f} s | {found['seconds']:.0f} s"
        print(f"| {name} | {' | '.join(map(str, numbers))} | {left} | {times} |")
    checked = [event_loop.run(wrong_calls, group) for group in groups]
    print(f"\ncalls of branches played alone: {sum(n for n, _ in checked)}, other texts: {sum(n for _, n in checked)}")


if __name__ == "__main__":
    main()
