"""The shop of the examples: a cart for each trajectory, failures that a replay meets again, the order as the reward."""

import random
from collections.abc import Sequence
from functools import partial

import pytest

pytest.importorskip("playwright")

from aepo.core.entropy_branching import EntropyBranching
from aepo.environments.contract import seed_of
from aepo.process import event_loop
from aepo.tools.counts import counting, taken
from aepo.types import Origin, ToolError
from benchmarks.scripted import BRANCHY, Action, grown
from examples.shop.play import act, groups, play
from examples.shop.site import Failures
from examples.shop.world import STORE, Shop, question, shop

FAILING = Failures(broken=0.2, slow=0.05, stale=0.3)
CALM = Failures(0, 0, 0)


async def shown(actions: Sequence[Action], seed: int, failures: Failures = FAILING, number: int = 0) -> list[str]:
    """What each action shows in a world by itself."""
    world = Shop(failures)
    seen = [await world.reset(question(number).metadata["wanted"], seed)]
    for name, arguments in actions:
        try:
            seen.append(await getattr(world, name)(**arguments))
        except ToolError as error:
            seen.append(str(error))
    seen.append(str(world.get_reward()))
    await world.close()
    return seen


def test_a_replay_meets_the_same_failures_and_no_other_cart() -> None:
    _, actions = event_loop.run(play, question(0), 3, FAILING)
    seeds = [seed for seed in range(40) if [FAILING.draw(seed, n) for n in range(2, 7)].count("broken") == 2][:1]
    for seed in seeds:
        first, again = (event_loop.run(shown, actions, seed) for _ in range(2))
        assert first == again
        assert any("Error 500" in text for text in first)


def test_what_is_ordered_is_what_counts() -> None:
    sample = question(0)
    careful = random.Random()
    careful.random = lambda: 0.99  # type: ignore[method-assign]
    actions: list[Action] = []

    async def run(failures: Failures, seed: int) -> tuple[float, str]:
        world = Shop(failures)
        seen = await world.reset(sample.metadata["wanted"], seed)
        texts = [seen]
        while not world.done and (action := act(sample.question, texts[-1], careful)):
            actions.append(action)
            texts.append(await getattr(world, action[0])(**action[1]))
        reward = world.get_reward()
        await world.close()
        return reward, "\n".join(texts)

    reward, text = event_loop.run(run, CALM, 0)
    assert reward == 1 and "Thank you" in text and "Error 500" not in text
    reward, text = event_loop.run(run, Failures(0.2, 0, 0.4), 1664)
    assert reward == 1 and "Error 500" in text and "Your cart has changed" in text
    # The same actions are another order than the one that question 1 asks for.
    assert event_loop.run(shown, actions, 0, CALM, 1)[-1] == "0.0"


def test_trajectories_at_once_have_carts_of_their_own_and_a_policy_with_faults_makes_mixed_groups() -> None:
    found = event_loop.run(groups, 1, 8, Failures(0.1, 0, 0.1))
    assert 0 < sum(found[0][1]) < 8
    assert STORE.ask("select count(*) from visit") == [(0,)]


def test_branches_of_a_rollout_shop_as_if_they_were_alone() -> None:
    task = shop(questions=1, held_out=0)
    with counting() as counts:
        policy = lambda asked, seen, draw: (act(asked, seen, draw), 2)  # noqa: E731
        grown_groups, _ = event_loop.run(partial(grown, task, policy, EntropyBranching(4, BRANCHY), 16))
        found = taken(counts)
    assert found["environment/replayed_calls"] > 0 and found.get("environment/refused", 0) == 0
    assert found["environment/opened"] == found["environment/closed"]
    for group in grown_groups:
        branch = next(path for path in group.trajectories() if path.leaf.origin is Origin.BRANCH)
        number = int(group.sample.id.rpartition("-")[2])
        actions = [(call.name, dict(call.arguments)) for call, result in branch.calls if result.executed]
        told = [result.text for _, result in branch.calls if result.executed]
        assert event_loop.run(shown, actions, seed_of(group.sample), Failures(), number)[1:] == [
            *told,
            str(branch.outcome),
        ]
