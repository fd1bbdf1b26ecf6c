"""`check_environment` finds what would spoil a rollout, and names the remedy in one line."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

import aepo
from aepo.environments import EnvironmentLost, check
from aepo.types import Sample
from tests.environments.worlds import Copied, Maze

SAMPLES = [Sample(f"Find way {number}.", id=f"q{number}") for number in range(2)]


def faults(kind: type, **settings: Any) -> list[str]:
    return [str(fault) for fault in aepo.check_environment(aepo.environment(kind, **settings), SAMPLES)]


class Ask(Maze):
    """The tool is `go`, whose result a fault changes."""

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        return super().ask(what) + self._fault()

    def _fault(self) -> str:
        return ""


class GlobalRandom(Ask):
    def reset(self, seed: int, size: int = 7) -> str:
        random.seed(seed)
        return super().reset(seed, size)

    def _fault(self) -> str:
        return f" {random.random()}"


class SharedLate(Ask):
    """All worlds count together, and it shows late."""

    steps = 0

    def reset(self, seed: int, size: int = 7) -> str:
        SharedLate.steps = 0
        return super().reset(seed, size)

    def _fault(self) -> str:
        SharedLate.steps += 1
        return " dusty" if SharedLate.steps > 7 else ""


class UnseededLate(Ask):
    """Each world hides a number of its own, and shows it late."""

    def _fault(self) -> str:
        if len(self.seen) == 2:
            self.secret = random.SystemRandom().random()
        return f" {self.secret}" if len(self.seen) == 8 else ""


class Unseeded(Ask):
    def reset(self) -> str:  # type: ignore[override]
        return super().reset(random.SystemRandom().randrange(10**6)) + str(self.doors)


class Forgetful(Copied):
    """Its snapshot misses the source of chance."""

    def snapshot(self) -> dict[str, Any]:
        return {**vars(self), "seen": list(self.seen), "draw": random.Random(0).getstate()}


class Entangled(Copied):
    """Its snapshot shares the list that goes on changing."""

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "seen": self.seen}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self.seen = snapshot["seen"]


class Buggy(Ask):
    def _fault(self) -> str:
        raise KeyError("door")


class Dead(Ask):
    def _fault(self) -> str:
        raise EnvironmentLost("gone")


class NotClosing(Maze):
    def close(self) -> None:
        raise OSError("no such window")


class Hanging(Maze):
    never = threading.Event()

    def reset(self, seed: int) -> str:  # type: ignore[override]
        self.never.wait()
        return ""


class HangingCall(Hanging):
    def reset(self, seed: int) -> str:  # type: ignore[override]
        return Maze.reset(self, seed)

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        self.never.wait()
        return ""


class Worthless(Maze):
    def get_reward(self) -> float:
        return float("nan")


class Silent(Maze):
    def get_reward(self) -> float:
        return None  # type: ignore[return-value]


class Leaking(Maze):
    left: list[Any]

    def reset(self, seed: int, size: int = 7) -> str:
        self.left.append(socket.socket())
        return super().reset(seed, size)


class LeavingProcesses(Leaking):
    def reset(self, seed: int, size: int = 7) -> str:
        self.left.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return Maze.reset(self, seed, size)


@pytest.mark.parametrize("kind", [Maze, Copied])
@pytest.mark.parametrize("inline", [True, False])
def test_a_good_environment_has_no_fault(kind: type, inline: bool) -> None:
    assert faults(kind, inline=inline) == []


def test_own_random_is_enough_for_the_random_numbers_of_the_process() -> None:
    assert faults(GlobalRandom, own_random=True) == []


@pytest.mark.parametrize(
    ("kind", "settings", "seen", "remedy"),
    [
        (GlobalRandom, {}, r'ask \{"what": "\w+"\} gave .*, before ', check.OWN_RANDOM),
        (SharedLate, {}, "dusty", check.SHARED),
        (UnseededLate, {}, "after 8", check.UNSEEDED),
        (Unseeded, {}, "reset said .* and then ", check.UNSEEDED),
        (Forgetful, {}, "gave", check.SNAPSHOT),
        (Entangled, {}, "gave", check.SNAPSHOT),
        (Maze, {"read_only": ["ask"]}, "gave", check.READ_ONLY),
        (Buggy, {}, "raised KeyError: 'door'", 'errors="tell"'),
        (Dead, {}, "the world was lost: gone", "opened again, it died once more"),
        (NotClosing, {}, "close raised OSError: no such window", check.CLOSE),
        (Hanging, {"reset_timeout": 0.05}, "reset did not end within 0.05 s", "raise reset_timeout"),
        (Hanging, {"reset_timeout": 0.05, "inline": True}, "reset did not end within 0.05 s", "raise reset_timeout"),
        (HangingCall, {"timeout": 0.05, "inline": True}, "did not end in time", "a faster method"),
        (Worthless, {}, "outcome.* is nan", "get_reward gives one finite number"),
        (Silent, {}, "get_reward gave None, which is no number", "get_reward gives one finite number"),
        (Leaking, {}, "closed worlds leave files open", check.CLOSE),
        (LeavingProcesses, {}, "closed worlds leave .*processes open", check.CLOSE),
    ],
)
def test_faults_are_found_with_their_remedy(
    kind: type, settings: dict[str, Any], seen: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepo.environments.world.CLOSE_SECONDS", 0.5)
    left: list[Any] = []
    found = faults(type(kind.__name__, (kind,), {"left": left}), **settings)
    Hanging.never.set()
    for one in left:
        one.communicate(b"\n") if isinstance(one, subprocess.Popen) else one.close()
    Hanging.never.clear()
    assert found
    assert remedy in found[0]
    assert "\n" not in found[0]
    assert re.search(seen, found[0]), found[0]


class Shelf:
    """A world whose words cannot be guessed, unless `say` tells them."""

    say = ""

    def reset(self, seed: int) -> str:
        self.cart: list[str] = []
        return f"A shop. {self.say}"

    def add(self, article: str) -> str:
        """Put an article into the cart.

        Args:
            article: Which.
        """
        if article != "xylophone":
            raise aepo.ToolError("no such article")
        self.cart.append(article)
        return f"{self.cart} {random.Random().random()}"

    def show(self) -> str:
        """Show the cart."""
        return str(self.cart)


class Labelled(Shelf):
    say = "It has: xylophone"


def test_a_method_that_refuses_every_call_is_named_since_it_was_not_tested(caplog: pytest.LogCaptureFixture) -> None:
    assert faults(Shelf) == []
    assert re.search(r"add: 0 of \d+ calls succeeded; what is refused is not tested", caplog.text)
    found = aepo.check_environment(aepo.environment(Labelled), SAMPLES, calls=100)
    assert found and "xylophone" in found[0].what


def test_a_sample_that_reset_cannot_take_is_no_fault_of_the_world() -> None:
    class Wants(Shelf):
        def reset(self, bugdet: int) -> str:  # type: ignore[override]
            return str(bugdet)

    with pytest.raises(ValueError, match="takes 'bugdet', which sample 'q0' does not have"):
        faults(Wants)


def test_a_world_may_name_the_error_after_importing_the_package_alone() -> None:
    code = "import aepo; print(aepo.environments.EnvironmentLost.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "EnvironmentLost"
