"""One path: where it stops, what it writes down, what it lets others peek at."""

from collections.abc import Callable

import pytest

from aepo.rollout.agent import Agent, OnFormatError
from aepo.rollout.explorer import executed_calls
from aepo.rollout.path import Limits, Observation, Path
from aepo.rollout.together import OnToolBug
from aepo.tools.base import Tool, ToolBug
from aepo.types import Kind, Node, Origin, StopReason, ToolCall, ToolError, ToolResult, ToolStatus, TrajectoryTree
from tests.rollout.toy import (
    ANSWER,
    CALL,
    CALLS,
    END,
    FORGED,
    MISCALL,
    RESULT,
    WORD,
    Entropy,
    Place,
    Policy,
    ToyGenerator,
    ToyProtocol,
    alone,
    asking,
    decode,
    encode,
)

PROMPT = 4  # tokens


def turns(*written: list[int]) -> Policy:
    """Turn after turn as given."""
    return lambda at: written[at.turn][at.number]


def rising(at: Place) -> float:
    """10 nats more a turn, 1 more a token."""
    return 10.0 * at.turn + at.number


class Grown:
    """A path that was grown to its end, alone."""

    def __init__(
        self,
        policy: Policy,
        tools: list[Tool] | None = None,
        limits: Limits | None = None,
        watched: bool = True,
        calls: int = 0,
        depth: int = 0,
        window: int = 2,
        scale: str = "running",
        on_tool_bug: OnToolBug = "stop",
        entropy: Entropy = rising,
        on_format_error: OnFormatError = "end",
        seen: Callable[[Observation], None] = lambda observation: None,
    ) -> None:
        self.generator = ToyGenerator(policy, entropy)
        self.tree = TrajectoryTree()
        self.observations: list[Observation] = []
        known = {tool.name: tool for tool in ([asking()] if tools is None else tools)}
        self.agent = Agent(
            self.generator,
            ToyProtocol(),
            known,
            limits or Limits(),
            window,
            scale,
            on_tool_bug,
            on_format_error=on_format_error,
        )

        def peek(observation: Observation) -> None:
            self.observations.append(observation)
            seen(observation)

        async def grow() -> None:
            prompt = self.tree.add(None, Kind.PROMPT, ToyProtocol().prompt("why"), 0)
            async with self.generator:
                sequence = self.generator.open(prompt.tokens, noise=1)
                self.path = Path(0, Origin.PROBE, sequence, prompt, PROMPT, calls=calls, depth=depth)
                try:
                    await self.agent.grow(self.path, self.tree, peek if watched else None)
                finally:
                    self.generator.close(sequence)

        alone(grow)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.tree.nodes)

    @property
    def reason(self) -> StopReason:
        assert self.path.leaf is not None
        return self.path.leaf.stop_reason

    @property
    def last(self) -> Node:
        assert self.path.leaf is not None
        return self.tree.nodes[self.path.leaf.node]


CALLING = [WORD + 1, CALL]


def test_it_ends_with_its_answer() -> None:
    grown = Grown(turns([WORD + 4, WORD + 2, ANSWER]))
    leaf = grown.path.leaf
    assert leaf is not None
    assert (leaf.stop_reason, leaf.answer, leaf.format_error, leaf.node) == (StopReason.ANSWER, "4 2", None, 1)
    assert (leaf.path, leaf.origin, leaf.parent_path, leaf.depth, leaf.reward) == (0, Origin.PROBE, None, 0, None)


def test_it_ends_without_an_answer() -> None:
    grown = Grown(turns([WORD, END]))
    assert (grown.reason, grown.last.tokens) == (StopReason.END, [WORD, END])


def test_a_forged_result_ends_it_and_says_why() -> None:
    grown = Grown(turns(CALLING, [WORD, FORGED]))
    assert grown.path.leaf is not None
    assert (grown.reason, grown.path.leaf.format_error) == (StopReason.FORMAT, "wrote a result itself")
    assert grown.path.leaf.answer is None


def test_a_turn_that_never_stops_is_cut_at_the_limit() -> None:
    grown = Grown(lambda at: WORD, limits=Limits(max_tokens=7))
    assert (grown.reason, grown.last.tokens) == (StopReason.LENGTH, [WORD] * 7)


def test_a_turn_that_stops_on_the_last_token_counts() -> None:
    assert Grown(turns([WORD, WORD, ANSWER]), limits=Limits(max_tokens=3)).reason is StopReason.ANSWER
    assert Grown(turns([WORD, WORD, ANSWER]), limits=Limits(max_tokens=2)).reason is StopReason.LENGTH


def test_nodes_hold_what_was_written_and_what_came_back() -> None:
    grown = Grown(turns(CALLING, [WORD + 5, ANSWER]))
    prompt, call, seen, answer = grown
    assert [n.kind for n in grown] == [Kind.PROMPT, Kind.POLICY, Kind.OBSERVATION, Kind.POLICY]
    assert [n.parent for n in grown] == [None, 0, 1, 2]
    assert (call.tokens, call.calls) == (CALLING, (ToolCall("ask", {"what": "1"}),))
    assert (seen.tokens, seen.results) == ([RESULT, *encode("1")], (ToolResult("1"),))
    assert (call.entropies, answer.entropies) == ([0.0, 1.0], [10.0, 11.0])
    assert answer.logprobs == [-10.0 / 3, -11.0 / 3]
    assert (prompt.logprobs, seen.logprobs, seen.entropies, seen.calls, answer.results) == ([], [], [], (), ())


def test_an_observation_that_leaves_room_for_one_token_is_added() -> None:
    grown = Grown(turns(CALLING, [WORD, ANSWER]), limits=Limits(max_tokens=5))
    assert (grown.reason, grown.last.tokens, len(grown.observations)) == (StopReason.LENGTH, [WORD], 1)


@pytest.mark.parametrize("room", [2, 3, 4])
def test_an_observation_that_leaves_no_room_is_kept_without_tokens(room: int) -> None:
    grown = Grown(turns(CALLING, [WORD, ANSWER]), limits=Limits(max_tokens=room))
    assert (grown.reason, grown.last.kind, grown.last.tokens) == (StopReason.LENGTH, Kind.OBSERVATION, [])
    assert len(grown.last.results) == 1
    assert (executed_calls(grown.tree), grown.observations) == (1, [])


def test_a_result_that_does_not_fit_is_cut_before_the_path_is_given_up() -> None:
    async def answer(what: str) -> str:
        return "x" * 1_000_000

    # The turn has two tokens, and an eighth of 800 is left for the next one.
    grown = Grown(turns(CALLING, [WORD, ANSWER]), [asking(answer)], limits=Limits(max_tokens=800))
    seen = grown.tree.nodes[2]
    (result,) = seen.results
    shown, _, note = result.text.partition("\n")
    assert shown == "x" * len(shown) and note == f"[cut: {1_000_000 - len(shown)} more characters]"
    assert result.cut and seen.tokens == [RESULT, *encode(result.text)]
    assert 680 <= len(seen.tokens) <= 800 - 2 - 100
    assert grown.reason is StopReason.ANSWER


def test_a_result_is_cut_the_same_way_for_all_calls_of_a_turn() -> None:
    async def answer(what: str) -> str:
        return what * 500

    grown = Grown(turns([WORD + 1, WORD + 2, CALLS], [ANSWER]), [asking(answer)], limits=Limits(max_tokens=400))
    first, wrong, second = grown.tree.nodes[2].results
    assert (first.cut, wrong.cut, second.cut) == (True, False, True)
    assert len(first.text) == len(second.text) and wrong.status is ToolStatus.BAD_ARGUMENTS
    assert grown.reason is StopReason.ANSWER


BROKEN = [WORD + 7, FORGED]


def test_a_broken_turn_may_be_told_instead_of_ending_the_path() -> None:
    grown = Grown(turns(CALLING, BROKEN, [WORD + 5, ANSWER]), on_format_error="tell")
    _, call, seen, broken, told, answer = grown
    assert (broken.tokens, broken.error, broken.trained) == (BROKEN, "wrote a result itself", False)
    assert broken.logprobs == [-10.0 / 3, -11.0 / 3]
    assert (told.kind, decode(told.tokens), told.results) == (Kind.OBSERVATION, "wrote a result itself", ())
    assert call.trained and answer.trained and not seen.trained
    leaf = grown.path.leaf
    assert leaf is not None
    assert (leaf.stop_reason, leaf.format_error, leaf.answer) == (StopReason.ANSWER, None, "5")
    # It counts as a call, is no observation of a result, and nobody branches from it.
    assert (grown.path.calls, grown.path.number) == (2, 1)
    assert [(o.number, o.node.id) for o in grown.observations] == [(1, 2)]


def test_a_policy_that_only_breaks_the_protocol_ends_at_the_limit_on_calls() -> None:
    grown = Grown(lambda at: BROKEN[at.number], limits=Limits(max_tool_calls=2), on_format_error="tell")
    assert [n.error for n in grown if n.kind is Kind.POLICY] == ["wrote a result itself"] * 2 + [None]
    assert grown.reason is StopReason.FORMAT
    assert grown.last.trained and grown.last.tokens == BROKEN


@pytest.mark.parametrize(("room", "reason"), [(24, StopReason.FORMAT), (25, StopReason.LENGTH)])
def test_a_broken_turn_ends_the_path_where_what_is_told_does_not_fit(room: int, reason: StopReason) -> None:
    # Two tokens of the turn, 22 that tell of it, and one more.
    grown = Grown(turns(BROKEN, [WORD, ANSWER]), limits=Limits(max_tokens=room), on_format_error="tell")
    assert grown.reason is reason


def test_the_call_after_the_last_allowed_one_ends_it_unanswered() -> None:
    asked: list[str] = []

    async def answer(what: str) -> str:
        asked.append(what)
        return "so"

    grown = Grown(lambda at: [WORD + at.turn, CALL][at.number], [asking(answer)], Limits(max_tool_calls=2))
    assert (grown.reason, asked) == (StopReason.TOOL_LIMIT, ["0", "1"])
    assert (grown.last.calls, grown.last.kind) == ((ToolCall("ask", {"what": "2"}),), Kind.POLICY)


def test_no_call_at_all_may_be_allowed() -> None:
    assert Grown(turns(CALLING), limits=Limits(max_tool_calls=0)).reason is StopReason.TOOL_LIMIT


def test_calls_before_the_path_began_count() -> None:
    grown = Grown(lambda at: [WORD, CALL][at.number], limits=Limits(max_tool_calls=3), calls=2, depth=1)
    assert (grown.reason, len([n for n in grown if n.results])) == (StopReason.TOOL_LIMIT, 1)
    assert [o.number for o in grown.observations] == [2], "two calls were inherited with one observation"


def test_the_calls_of_a_turn_are_one_observation_in_their_order() -> None:
    grown = Grown(turns([WORD + 7, WORD + 1, WORD + 2, CALLS], CALLING, [WORD, ANSWER]))
    _, first, seen, _, _, _ = grown
    assert [call.arguments for call in first.calls] == [{"what": "1"}, {"who": "7 1 2"}, {"what": "2"}]
    assert [result.status for result in seen.results] == [ToolStatus.OK, ToolStatus.BAD_ARGUMENTS, ToolStatus.OK]
    wrong = "bad arguments for ask: what: missing; who: no such argument"
    assert seen.tokens == [RESULT, *encode("1"), RESULT, *encode(wrong), RESULT, *encode("2")]
    assert ([o.number for o in grown.observations], grown.path.number, grown.path.calls) == ([1, 2], 2, 4)
    assert (grown.reason, executed_calls(grown.tree)) == (StopReason.ANSWER, 3)


@pytest.mark.parametrize(("most", "asked", "reason"), [(4, 3, StopReason.ANSWER), (3, 1, StopReason.TOOL_LIMIT)])
def test_of_a_turn_with_more_calls_than_are_left_nothing_is_run(most: int, asked: int, reason: StopReason) -> None:
    heard: list[str] = []

    async def answer(what: str) -> str:
        heard.append(what)
        return "so"

    written = turns(CALLING, [WORD, WORD, CALLS], [ANSWER])
    grown = Grown(written, [asking(answer)], Limits(max_tool_calls=most))
    assert (grown.reason, len(heard)) == (reason, asked)
    assert [len(node.results) for node in grown if node.results] == [1, 3][: 1 + (asked > 1)]


def test_a_call_that_cannot_be_run_counts_too() -> None:
    grown = Grown(lambda at: [WORD, MISCALL][at.number], limits=Limits(max_tool_calls=2))
    assert (grown.reason, len([n for n in grown if n.results])) == (StopReason.TOOL_LIMIT, 2)


def test_the_model_reads_the_message_of_a_tool_error() -> None:
    async def answer(what: str) -> str:
        raise ToolError(f"nothing about {what}")

    grown = Grown(turns(CALLING, [ANSWER]), [asking(answer)])
    assert grown.tree.nodes[2].results == (ToolResult("nothing about 1", ToolStatus.ERROR),)
    assert decode(grown.tree.nodes[2].tokens) == "nothing about 1"
    assert grown.reason is StopReason.ANSWER


def test_the_model_reads_what_was_wrong_with_its_arguments() -> None:
    grown = Grown(turns([WORD, MISCALL], [ANSWER]))
    (result,) = grown.tree.nodes[2].results
    assert not result.executed
    assert decode(grown.tree.nodes[2].tokens) == "bad arguments for ask: what: missing; who: no such argument"


def test_the_model_reads_that_a_tool_is_unknown() -> None:
    grown = Grown(turns(CALLING, [ANSWER]), [])
    assert decode(grown.tree.nodes[2].tokens) == "unknown tool 'ask'; known tools: none"


async def broken(what: str) -> str:
    raise KeyError(what)


def test_a_bug_in_a_tool_leaves_with_the_path_it_happened_on() -> None:
    with pytest.raises(ToolBug, match="tool ask raised KeyError") as caught:
        Grown(turns(CALLING), [asking(broken)])
    assert caught.value.__notes__[0].startswith("in path 0")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_bug_may_be_told_to_the_model_instead() -> None:
    grown = Grown(turns(CALLING, [ANSWER]), [asking(broken)], on_tool_bug="tell")
    assert grown.tree.nodes[2].results == (ToolResult("ask failed inside: KeyError", ToolStatus.BUG),)
    assert grown.reason is StopReason.ANSWER


LONG = [WORD, WORD + 1, WORD + 2, CALL]


def test_the_first_tokens_after_each_observation_are_peeked_at_and_kept() -> None:
    grown = Grown(turns(LONG, LONG, [WORD, WORD, ANSWER]))
    assert [(o.number, o.node.id, o.entropy) for o in grown.observations] == [
        (1, 2, 10.5),
        (2, 4, 20.5),
    ]
    assert all(o.path is grown.path for o in grown.observations)
    assert [n.tokens for n in grown if n.kind is Kind.POLICY] == [LONG, LONG, [WORD, WORD, ANSWER]]
    assert grown.tree.nodes[3].entropies == [10.0, 11.0, 12.0, 13.0]
    assert (grown.path.number, grown.path.calls) == (2, 2)


def test_a_peek_comes_before_the_rest_of_the_turn_is_written() -> None:
    sizes: list[tuple[int, int]] = []

    def seen(observation: Observation) -> None:
        before = PROMPT + observation.number * (len(LONG) + 4)
        sizes.append((observation.path.sequence.length - before, observation.path.number))

    Grown(turns(LONG, LONG, [ANSWER]), seen=seen)
    assert sizes == [(2, 1), (1, 2)]


def test_a_path_is_the_same_whether_somebody_peeks_or_not() -> None:
    def policy(at: Place) -> int:
        ending = CALL if at.turn < 3 else ANSWER
        return ending if at.number > 2 and at.draw > 0.6 else WORD + int(at.draw * 40)

    watched, alone = Grown(policy), Grown(policy, watched=False)
    assert (watched.tree, watched.path.leaf) == (alone.tree, alone.path.leaf)
    assert (len(watched.observations), len(alone.observations)) == (watched.path.calls, 0)
    assert watched.path.calls == 3


def test_an_inherited_root_entropy_is_not_measured_again() -> None:
    async def grow() -> tuple[Path, list[Observation]]:
        generator, tree, seen = ToyGenerator(turns(LONG, LONG, [ANSWER]), rising), TrajectoryTree(), []
        agent = Agent(generator, ToyProtocol(), {"ask": asking()}, Limits(), window=2)
        prompt = tree.add(None, Kind.PROMPT, ToyProtocol().prompt("why"), 0)
        async with generator:
            sequence = generator.open(prompt.tokens, 1)
            generator.extend(sequence, [RESULT])
            path = Path(1, Origin.BRANCH, sequence, prompt, PROMPT, 1, root_entropy=0.25, depth=1)
            await agent.grow(path, tree, seen.append)
            generator.close(sequence)
        return path, seen

    path, seen = alone(grow)
    assert path.leaf is not None
    assert (path.root_entropy, path.leaf.root_entropy, path.leaf.depth) == (0.25, 0.25, 1)
    assert [o.number for o in seen] == [2]  # not the inherited one, which its parent shows


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(
    ("window", "scale", "expected"), [(2, "running", 0.5), (3, "nats", 1.0), (20, "nats", 1.5), (2, "reference", 0.5)]
)
def test_root_entropy_is_of_the_first_tokens(watched: bool, window: int, scale: str, expected: float) -> None:
    grown = Grown(turns([WORD, WORD, WORD, ANSWER]), watched=watched, window=window, scale=scale)
    assert grown.path.leaf is not None
    # The reference scale sums the engine's reference entropies, here half of the full ones.
    assert grown.path.leaf.root_entropy == expected


def test_a_turn_shorter_than_the_window_uses_what_it_has() -> None:
    grown = Grown(turns([CALL], [ANSWER]), window=20)
    assert ([o.entropy for o in grown.observations], grown.path.root_entropy) == ([10.0], 0.0)
