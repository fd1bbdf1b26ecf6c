"""A budget is spent to its end and never beyond it, whatever the policy does; then what has ended is voted on."""

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aepo
from aepo.algorithms import AEPO, ARPO, AXPO, GRPO, Algorithm
from aepo.rollout.explorer import RolloutError, executed_calls
from aepo.rollout.path import Limits
from aepo.solving.budget import SolvingBudget, SolvingPrices
from aepo.solving.loop import Solving
from aepo.solving.solution import Progress, Solution
from aepo.types import Group, Kind, Origin, Sample, Trajectory
from tests.rollout.toy import ANSWER, CALL, CALLS, WORD, Place, ToyGenerator, alone, asking
from tests.solving.toys import QUESTION, means, solve

ALGORITHMS: list[Algorithm] = [
    AEPO(group_size=4, entropy_window=3),
    AEPO(group_size=3, entropy_window=2, branch_time="retrospective"),
    ARPO(group_size=5, entropy_window=2, tau=0.4),
    GRPO(group_size=4),
]


def calls_then_answers(calls: int, answer: Callable[[Place], int] = lambda at: 1) -> Callable[[Place], int]:
    """Turns of two tokens: a word and its end."""

    def policy(at: Place) -> int:
        if at.number == 0:
            return WORD + (at.turn if at.turn < calls else answer(at))
        return CALL if at.turn < calls else ANSWER

    return policy


def written(solution: Solution) -> int:
    nodes = [node for group in solution.groups for node in group.tree.nodes]
    return sum(len(node.tokens) for node in nodes if node.kind is Kind.POLICY)


def test_without_a_limit_eight_trajectories_vote() -> None:
    policy = calls_then_answers(2, lambda at: int(at.draw < 0.9))
    solution = solve(means(ToyGenerator(policy), SolvingBudget(), AEPO(group_size=8, entropy_window=2)))
    assert solution.ended == 8 == solution.spent.trajectories and solution.ended_by == "trajectories"
    assert solution.answer == "1" and solution.votes == 8 and solution.chosen_by == "vote"
    assert solution.spent.tokens == written(solution) and solution.spent.calls == sum(
        executed_calls(group.tree) for group in solution.groups
    )


def test_a_larger_budget_makes_further_rounds_each_with_a_tree_of_its_own() -> None:
    kept: list[tuple[int, Group]] = []
    given = means(
        ToyGenerator(calls_then_answers(1)), SolvingBudget(trajectories=10), kept=lambda *one: kept.append(one)
    )
    solution = solve(given)
    assert [len(group.tree.leaves) for group in solution.groups] == [4, 3, 3]
    assert [number for number, _ in kept] == [1, 2, 3] and tuple(group for _, group in kept) == solution.groups


def test_rounds_do_not_repeat_each_other() -> None:
    policy = calls_then_answers(0, lambda at: int(at.draw * 1000))
    solution = solve(means(ToyGenerator(policy), SolvingBudget(trajectories=12)))
    assert len(solution.tallies) > 8


def test_a_later_round_measures_entropies_by_what_the_question_has_shown() -> None:
    # The first result leaves the policy a little more uncertain; in nats that is too little to branch for.
    def entropy(at: Place) -> float:
        return 0.1 + 0.2 * (at.turn == 1)

    rules = ARPO(group_size=4, entropy_window=2, tau=0.6)
    solution = solve(means(ToyGenerator(calls_then_answers(2), entropy), SolvingBudget(trajectories=8), rules))
    origins = [{leaf.origin for leaf in group.tree.leaves} for group in solution.groups]
    assert Origin.BRANCH not in origins[0] and Origin.BRANCH in origins[1]


def test_a_budget_of_calls_is_spent_to_the_last_and_who_needs_no_more_may_answer() -> None:
    solution = solve(means(ToyGenerator(calls_then_answers(2)), SolvingBudget(calls=7)))
    assert solution.spent.calls == 7 and solution.ended_by == "calls"
    assert solution.ended == 3 and solution.answer == "1"


def test_a_turn_that_the_budget_cannot_pay_for_whole_ends_nobody_else() -> None:
    def policy(at: Place) -> int:
        return [[WORD + 1, WORD + 2, CALLS], [WORD + 1, ANSWER]][at.turn][at.number]

    # Two of a turn's three calls can be run. The second trajectory has one of its two paid for, and waits.
    solution = solve(means(ToyGenerator(policy), SolvingBudget(calls=3), GRPO(group_size=2)))
    assert (solution.spent.calls, solution.ended, solution.answer, solution.ended_by) == (3, 1, "1", "calls")


def test_no_call_at_all_may_run_and_questions_that_need_none_are_answered() -> None:
    solution = solve(means(ToyGenerator(calls_then_answers(0)), SolvingBudget(calls=0)))
    assert solution.ended == 64 and solution.spent.calls == 0
    nothing = solve(means(ToyGenerator(calls_then_answers(1)), SolvingBudget(calls=0)))
    assert nothing.answer is None and nothing.chosen_by == "nobody" and nothing.ended == 0


def test_few_tokens_make_whole_trajectories_and_no_halves() -> None:
    # Each trajectory writes four tokens and may write six: all four begin, but the one that began first goes first.
    @aepo.tool(name="ask", inline=True)
    def at_once(what: str) -> str:
        """Ask for something.

        Args:
            what: What to ask for.
        """
        return what[:3]

    limits = Limits(6 + 4, 3)
    given = means(ToyGenerator(calls_then_answers(1)), SolvingBudget(tokens=9), GRPO(group_size=4), at_once, limits)
    solution = solve(given)
    assert solution.ended == 2 and solution.spent.tokens == 9 and solution.ended_by == "tokens"


def test_money_pays_for_what_is_read_what_is_written_and_calls() -> None:
    tool = replace(asking(), price=0.5)
    prices = SolvingPrices(input=1000.0, output=10_000.0)
    solution = solve(
        means(ToyGenerator(calls_then_answers(1)), SolvingBudget(trajectories=2, money=99), tool=tool, prices=prices)
    )
    spent = solution.spent
    assert spent.money == pytest.approx(0.5 * spent.calls + 0.001 * spent.tokens_read + 0.01 * spent.tokens)
    assert spent.calls == 2 and solution.ended_by == "trajectories"


def test_a_round_is_no_larger_than_what_is_left_can_pay_for() -> None:
    solution = solve(means(ToyGenerator(calls_then_answers(2)), SolvingBudget(calls=12), GRPO(group_size=4)))
    assert [len(group.tree.leaves) for group in solution.groups] == [4, 2]
    assert solution.ended == 6 == solution.spent.trajectories and solution.spent.calls == 12
    assert solution.ended_by == "calls"


@given(
    st.sampled_from(ALGORITHMS),
    st.one_of(st.none(), st.integers(1, 14)),
    st.one_of(st.none(), st.integers(0, 12)),
    st.one_of(st.none(), st.integers(1, 120)),
    st.one_of(st.none(), st.floats(0.01, 2.0)),
    st.integers(0, 999),
)
def test_no_limit_is_ever_exceeded_and_nobody_waits_for_ever(
    algorithm: Algorithm,
    trajectories: int | None,
    calls: int | None,
    tokens: int | None,
    money: float | None,
    seed: int,
) -> None:
    generator = ToyGenerator(delay=lambda: 1 + len(generator.events) % 3)
    budget = SolvingBudget(trajectories, calls, tokens, money)
    tool = replace(asking(), price=0.03)
    given = means(
        generator,
        budget,
        algorithm,
        tool,
        Limits(60, 4),
        prices=SolvingPrices(100.0, 1000.0),
        seed=seed,
    )
    solution = solve(given)
    spent = solution.spent
    assert not generator.opened and len(generator.keys("open", "fork")) == spent.trajectories
    assert spent.trajectories <= budget.most_trajectories and solution.ended <= spent.trajectories
    assert calls is None or spent.calls <= calls
    assert tokens is None or spent.tokens <= tokens
    assert money is None or spent.money <= money * (1 + 1e-9)
    assert spent.tokens >= written(solution)
    assert spent.calls >= sum(executed_calls(group.tree) for group in solution.groups)
    if solution.ended_by == "trajectories":
        assert solution.ended == spent.trajectories and spent.tokens == written(solution)
    assert solution.votes == sum(leaf.answer is not None for group in solution.groups for leaf in group.tree.leaves)


def test_a_reward_chooses_the_best_trajectory() -> None:
    async def reward(sample: Sample, trajectory: Trajectory) -> float:
        return 1.0 if trajectory.answer == "7" else 0.0

    policy = calls_then_answers(1, lambda at: 7 if at.draw < 0.3 else 1)
    solution = solve(means(ToyGenerator(policy), SolvingBudget(trajectories=12), reward=reward))
    assert solution.answer == "7" and solution.chosen_by == "reward" and solution.tallies[0].votes < 6


def test_rules_that_read_rewards_need_one() -> None:
    given = means(ToyGenerator(calls_then_answers(1)), SolvingBudget(), AXPO(group_size=4))
    with pytest.raises(ValueError, match="need rewards"):
        solve(given)

    async def half(sample: Sample, trajectory: Trajectory) -> float:
        return 0.5

    assert solve(replace(given, reward=half)).ended == 8


def test_a_judge_chooses_an_answer_and_one_that_cannot_be_read_leaves_it_to_the_vote() -> None:
    policy = calls_then_answers(1, lambda at: 7 if at.draw < 0.3 else 1)

    async def second(prompt: str) -> str:
        return "2"

    async def nonsense(prompt: str) -> str:
        return "who knows"

    given = means(ToyGenerator(policy), SolvingBudget(trajectories=12))
    chosen = solve(replace(given, judge=second))
    assert chosen.answer == "7" == chosen.tallies[0].answer and chosen.chosen_by == "judge"
    left = solve(replace(given, judge=nonsense))
    assert left.answer == "1" and left.chosen_by == "vote" and left.judge_unreadable
    assert "the judge's reply could not be read" in str(left)


def test_it_is_told_whenever_a_trajectory_ends() -> None:
    seen: list[Progress] = []
    solve(
        means(ToyGenerator(calls_then_answers(1)), SolvingBudget(trajectories=6), GRPO(group_size=4), watch=seen.append)
    )
    assert [one.ended for one in seen] == [1, 2, 3, 4, 5, 6] and {one.wanted for one in seen} == {6}
    assert [one.round for one in seen] == [1] * 3 + [2] * 3
    assert [one.tallies[0].votes for one in seen] == [1, 2, 3, 4, 5, 6]


def test_an_interrupt_ends_it_and_what_has_ended_is_voted_on() -> None:
    given = means(ToyGenerator(calls_then_answers(1)), SolvingBudget(trajectories=40), GRPO(group_size=4))

    async def main() -> Solution:
        solving = Solving(QUESTION, replace(given, watch=lambda p: solving.interrupt() if p.ended == 5 else None))
        async with given.agent.generator:
            return await solving.run()

    solution = alone(main)
    assert solution.ended_by == "interrupted" and solution.ended == 5 and solution.answer == "1"


def test_a_bug_in_a_tool_stops_it_and_the_tree_so_far_is_kept() -> None:
    kept: list[Group] = []

    async def buggy(what: str) -> str:
        await anyio.lowlevel.checkpoint()
        raise ZeroDivisionError

    given = means(
        ToyGenerator(calls_then_answers(1)),
        SolvingBudget(),
        tool=asking(buggy),
        kept=lambda number, group: kept.append(group),
    )
    with pytest.raises(RolloutError):
        solve(given)
    assert len(kept) == 1 and any(node.kind is Kind.POLICY for node in kept[0].tree.nodes)


def test_what_cannot_be_solved_with_is_refused_before_anything_is_asked() -> None:
    generator = ToyGenerator(calls_then_answers(1))
    with pytest.raises(ValueError, match="a budget of money needs a price"):
        Solving(QUESTION, means(generator, SolvingBudget(money=1)))
    with pytest.raises(ValueError, match="only one of them can choose"):
        Solving(QUESTION, means(generator, SolvingBudget(), reward=lambda s, t: 0.0, judge=lambda prompt: prompt))
    with pytest.raises(ValueError, match="probes is 3"):
        Solving(QUESTION, means(generator, SolvingBudget(trajectories=2), AEPO(group_size=4, probes=3)))
    generator.deterministic = True
    with pytest.raises(ValueError, match=r"set rollout\.deterministic to false"):
        Solving(QUESTION, means(generator, SolvingBudget(calls=3)))
    assert Solving(QUESTION, means(generator, SolvingBudget(trajectories=3)))
