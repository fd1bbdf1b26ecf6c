"""OpenEnv: the class in this process, and a server on loopback with a session for each world."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import aepo
from aepo.environments import EnvironmentLost
from aepo.environments.adapters.openenv import openenv
from aepo.types import Sample

server = pytest.importorskip("openenv.core.env_server", reason="pip install openenv", exc_type=ImportError)
from openenv.core.env_server.types import Action, Observation, State  # noqa: E402
from openenv.core.generic_client import GenericEnvClient  # noqa: E402
from pydantic import Field  # noqa: E402

SAMPLES = [Sample("Guess.", id=f"g{number}") for number in range(2)]


class Guess(Action):
    """Guess the number.

    More is said here.
    """

    number: int = Field(description="From 1 to 8.")
    loud: bool = Field(default=False, description="Whether to shout.")


class Told(Observation):
    text: str = ""


class Numbers(server.interfaces.Environment):  # type: ignore[misc, name-defined]
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed: int | None = None, episode_id: str | None = None, **more: Any) -> Told:
        self.draw = random.Random(seed)
        self.number, self.kept = self.draw.randint(1, 8), State(episode_id=episode_id, step_count=0)
        return Told(text=f"{episode_id}: guess", done=False, reward=0.0)

    def step(self, action: Guess, timeout_s: float | None = None, **more: Any) -> Told:
        self.kept.step_count += 1
        right = action.number == self.number
        return Told(text=f"{right} {self.draw.random()} {self.kept.step_count}", done=right, reward=float(right))

    @property
    def state(self) -> State:
        return self.kept


def test_the_fields_of_the_action_are_the_arguments() -> None:
    (tool,) = aepo.environment(openenv(Numbers, Guess)).tools
    assert (tool.name, tool.description) == ("step", "Guess the number.")
    assert tool.parameters["required"] == ["number"]
    assert tool.parameters["properties"]["loud"] == {"type": "boolean", "description": "Whether to shout."}


def test_the_class_in_this_process() -> None:
    environment = aepo.environment(openenv(Numbers, Guess, lambda told: told.text))
    assert aepo.check_environment(environment, SAMPLES) == []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import uvicorn

    app = server.create_fastapi_app(Numbers, Guess, Told, max_concurrent_envs=32)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        served = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio"))
        thread = threading.Thread(target=served.run, args=([listening],), daemon=True)
        thread.start()
        while not served.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        served.should_exit = True
        thread.join(10)


def test_a_server_gives_each_world_a_session_of_its_own(address: str) -> None:
    def client() -> Any:
        return GenericEnvClient(base_url=address)

    environment = aepo.environment(openenv(client, Guess))
    assert aepo.check_environment(environment, SAMPLES) == []

    async def main() -> None:
        one, other = (environment.factory() for _ in range(2))
        assert await one.reset(seed=3, id="a") == await other.reset(seed=3, id="a") == {"text": "a: guess"}
        said = [(await one.step(number=n), await other.step(number=n)) for n in (1, 2)]
        assert all(mine == its for mine, its in said)
        for number in range(1, 9):
            if not one.done:
                await one.step(number=number)
        assert one.done and one.get_reward() == 1.0
        # As when the server is gone.
        await other.close()
        with pytest.raises((EnvironmentLost, RuntimeError)):
            await other.step(number=1)
        await one.close()

    anyio.run(main)


def test_a_server_that_is_not_there_is_a_world_that_is_lost() -> None:
    async def main() -> None:
        world = openenv(lambda: GenericEnvClient(base_url="http://127.0.0.1:9"), Guess)()
        with pytest.raises(EnvironmentLost):
            await world.reset(seed=1, id="a")
        await world.close()

    anyio.run(main)
