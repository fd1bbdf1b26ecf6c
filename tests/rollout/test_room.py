"""The room of an engine: who begins when some has become free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aepo.rollout.room import Precedence, Room, Wave

FIRST, SECOND, LAST = Wave


def asking(room: Room, *precedences: Precedence) -> list[Precedence]:
    """In the order in which they begin, filled as they do."""
    begun: list[Precedence] = []
    for one in precedences:
        room.ask(one, lambda one=one: begun.append(one))  # type: ignore[misc]
    return begun


def test_paths_begin_while_there_is_room_and_then_one_for_each_that_ends() -> None:
    room = Room(2)
    paths = [Precedence(0, FIRST, 0, path) for path in range(4)]
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
        Precedence(0, FIRST, 1, 0),
        Precedence(0, FIRST, 1, 1),
        Precedence(0, FIRST, 2, 0),
        Precedence(0, SECOND, 0, 3),
        Precedence(0, LAST, 0, 5),
        Precedence(1, FIRST, 3, 0),
    ]
    begun = asking(room, *reversed(order))
    assert begun == []
    for _ in order:
        room.leave(last=False)
    assert begun == order


def test_what_a_beginning_path_asks_for_waits_too() -> None:
    room, begun = Room(0), list[str]()

    def opens(name: str, number: int) -> None:
        def begin() -> None:
            begun.append(name)
            room.ask(Precedence(0, FIRST, number, 1), lambda: begun.append(f"{name} again"))

        room.ask(Precedence(0, FIRST, number, 0), begin)

    opens("a", 0)
    opens("b", 1)
    for expected in (["a"], ["a", "a again"], ["a", "a again", "b"], ["a", "a again", "b", "b again"]):
        room.leave(last=False)
        assert begun == expected


def test_a_question_that_stopped_begins_no_more_paths() -> None:
    room = Room(0)
    begun = asking(room, Precedence(0, FIRST, 0, 0), Precedence(0, FIRST, 1, 0), Precedence(0, SECOND, 0, 1))
    room.forget(0)
    for _ in range(3):
        room.leave(last=False)
    assert begun == [Precedence(0, FIRST, 1, 0)] and room.free == 2


@given(st.permutations([0, 1, 0, 1, 0, 1]))
def test_whole_groups_begin_in_an_order_that_does_not_depend_on_which_path_ends_first(ends: list[int]) -> None:
    """Two groups of three in room for two: both have ended at last, and the same questions have begun."""
    room, left = Room(7, group=3), {0: 3, 1: 3}
    begun = asking(room, *(Precedence(0, FIRST, question, 0) for question in range(5)))
    assert begun == [Precedence(0, FIRST, 0, 0), Precedence(0, FIRST, 1, 0)] and room.free == 1
    for question in ends:
        # The other paths of a question that has begun never wait.
        assert asking(room, Precedence(0, LAST, question, left[question])) != []
        left[question] -= 1
        room.leave(last=left[question] == 0)
    assert [one.question for one in begun] == [0, 1, 2, 3]
