"""The room of an engine: who begins when some has become free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aepo.rollout.room import Room, Turn, Wave

FIRST, SECOND, LAST = Wave


def asking(room: Room, *turns: Turn) -> list[Turn]:
    """The turns in the order in which they begin, filled as they do."""
    begun: list[Turn] = []
    for turn in turns:
        room.ask(turn, lambda turn=turn: begun.append(turn))  # type: ignore[misc]
    return begun


def test_paths_begin_while_there_is_room_and_then_one_for_each_that_ends() -> None:
    room = Room(2)
    paths = [Turn(0, FIRST, 0, path) for path in range(4)]
    begun = asking(room, *paths)
    assert begun == paths[:2] and room.free == 0
    room.leave(last=False)
    assert begun == paths[:3]
    room.leave(last=False)
    room.leave(last=True)
    assert begun == paths and room.free == 1


def test_earlier_asks_come_first_then_earlier_waves_then_earlier_questions() -> None:
    room = Room(0)
    order = [
        Turn(0, FIRST, 1, 0),
        Turn(0, FIRST, 1, 1),
        Turn(0, FIRST, 2, 0),
        Turn(0, SECOND, 0, 3),
        Turn(0, LAST, 0, 5),
        Turn(1, FIRST, 3, 0),
    ]
    begun = asking(room, *reversed(order))
    assert begun == []
    for _ in order:
        room.leave(last=False)
    assert begun == order


def test_what_a_beginning_path_asks_for_waits_for_its_turn_too() -> None:
    room, begun = Room(0), list[str]()

    def opens(name: str, number: int) -> None:
        def begin() -> None:
            begun.append(name)
            room.ask(Turn(0, FIRST, number, 1), lambda: begun.append(f"{name} again"))

        room.ask(Turn(0, FIRST, number, 0), begin)

    opens("a", 0)
    opens("b", 1)
    for expected in (["a"], ["a", "a again"], ["a", "a again", "b"], ["a", "a again", "b", "b again"]):
        room.leave(last=False)
        assert begun == expected


def test_a_question_that_stopped_begins_no_more_paths() -> None:
    room = Room(0)
    begun = asking(room, Turn(0, FIRST, 0, 0), Turn(0, FIRST, 1, 0), Turn(0, SECOND, 0, 1))
    room.forget(0)
    for _ in range(3):
        room.leave(last=False)
    assert begun == [Turn(0, FIRST, 1, 0)] and room.free == 2


@given(st.permutations([0, 1, 0, 1, 0, 1]))
def test_whole_groups_begin_in_an_order_that_does_not_depend_on_which_path_ends_first(ends: list[int]) -> None:
    """Two groups of three in room for two: both have ended at last, and the same questions have begun."""
    room, left = Room(7, group=3), {0: 3, 1: 3}
    begun = asking(room, *(Turn(0, FIRST, question, 0) for question in range(5)))
    assert begun == [Turn(0, FIRST, 0, 0), Turn(0, FIRST, 1, 0)] and room.free == 1
    for question in ends:
        # The other paths of a question that has begun never wait.
        assert asking(room, Turn(0, LAST, question, left[question])) != []
        left[question] -= 1
        room.leave(last=left[question] == 0)
    assert [turn.question for turn in begun] == [0, 1, 2, 3]
