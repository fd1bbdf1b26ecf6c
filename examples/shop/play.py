"""Plays the shop with a policy that makes mistakes: `python -m examples.shop.play`, without a model, in a minute.

Each question is played by eight trajectories at once, with a browser context and a cart each.
"""

from __future__ import annotations

import random
import re
import sys
from typing import Any

import anyio

from aepo import Sample
from aepo.environments.contract import seed_of
from aepo.process import event_loop
from aepo.types import ToolError
from examples.shop.site import USUAL, Failures
from examples.shop.world import Shop, question

Action = tuple[str, dict[str, Any]]
MOST_ACTIONS = 20
GOAL = re.compile(r'Buy (\d) x "(\w+) (\w+)" in (\w+) for ([^,]+), delivery: ([^.]+)\.')
ELEMENT = re.compile(r'\[(\d+)\] (\w+)(?: "([^"]*)")?(?: = "([^"]*)")?( \(of:[^)]*\))?( \(checked\))?')


def act(goal: str, seen: str, draw: random.Random) -> Action | None:
    """The next action of a policy that mostly knows what to do; None gives up."""
    found = GOAL.match(goal)
    assert found is not None
    number, style, kind, colour, name, delivery = found.groups()
    elements = {(kind, label): (int(n), value, bool(on)) for n, kind, label, value, _, on in ELEMENT.findall(seen)}
    title = seen[seen.find("Page: ") :].partition("\n")[0].removeprefix("Page: ").removesuffix(" - The Shop")

    def click(kind: str, label: str) -> Action:
        return "click", {"number": elements[kind, label][0]}

    def careless(share: float) -> bool:
        return draw.random() < share

    if title == "Welcome":
        words = kind if careless(0.2) else f"{style} {kind}"
        return "type", {"number": elements["textbox", "Search"][0], "text": f"{words}\n"}
    if title.startswith("Results"):
        links = [label for kind, label in elements if kind == "link" and label and label[0].islower()]
        right = f"{style} {kind}" in links and not careless(0.15)
        return (
            click("link", f"{style} {kind}" if right else draw.choice(links)) if links else ("goto", {"address": "/"})
        )
    if ("button", "Add to cart") in elements:
        if elements["select", "Colour"][1] != colour and not careless(0.1):
            return "select", {"number": elements["select", "Colour"][0], "option": colour}
        if elements["textbox", "Number"][1] != number and not careless(0.1):
            return "type", {"number": elements["textbox", "Number"][0], "text": number}
        return click("button", "Add to cart")
    if title == "Your cart":
        rows = [line.split(" | ") for line in seen.split("\n") if 'button "Remove"' in line]
        right = len(rows) == 1 and rows[0][:3] == [f"{style} {kind}", colour, number]
        if right or (rows and careless(0.3)):
            return click("link", "Check out")
        return click("button", "Remove") if rows else ("goto", {"address": f"/search?words={style}+{kind}"})
    if ("button", "Buy now") in elements:
        if elements["textbox", "Name"][1] != name:
            return "type", {"number": elements["textbox", "Name"][0], "text": name}
        if not elements["radio", delivery][2] and not careless(0.2):
            return click("radio", delivery)
        return click("button", "Buy now")
    if title == "Your cart has changed" and not careless(0.2):
        return click("link", "Look at it again")
    return None if careless(0.2) else ("goto", {"address": "/cart"})


async def play(sample: Sample, seed: int, failures: Failures) -> tuple[float, list[Action]]:
    """One trajectory of the policy's seed: its reward and its actions."""
    world, draw = Shop(failures), random.Random(seed)
    actions: list[Action] = []
    try:
        seen = await world.reset(sample.metadata["wanted"], seed_of(sample))
        while not world.done and len(actions) < MOST_ACTIONS and (action := act(sample.question, seen, draw)):
            actions.append(action)
            try:
                seen = await getattr(world, action[0])(**action[1])
            except ToolError:
                break
        return world.get_reward(), actions
    finally:
        await world.close()


async def groups(questions: int, k: int = 8, failures: Failures = USUAL) -> list[tuple[Sample, list[float]]]:
    """The rewards of all questions, k for each."""
    samples = [question(number) for number in range(questions)]
    rewards: dict[tuple[int, int], float] = {}
    places = anyio.CapacityLimiter(8)

    async def one(at: int, path: int) -> None:
        async with places:
            rewards[at, path], _ = await play(samples[at], 1000 * at + path, failures)

    async with anyio.create_task_group() as tasks:
        for at in range(questions):
            for path in range(k):
                tasks.start_soon(one, at, path)
    return [(sample, [rewards[at, path] for path in range(k)]) for at, sample in enumerate(samples)]


def main(questions: int = 6) -> None:
    """Print the rewards of each group."""
    found = event_loop.run(groups, questions)
    for sample, rewards in found:
        print("".join("+" if reward else "." for reward in rewards), sample.question)
    mixed = sum(0 < sum(rewards) < len(rewards) for _, rewards in found)
    print(f"{mixed} of {len(found)} groups are mixed")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
