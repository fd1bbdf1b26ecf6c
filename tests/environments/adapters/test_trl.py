"""A class as TRL's documentation has it runs as it is."""

from __future__ import annotations

import asyncio
import inspect
import pickle

import pytest

import aepo
from aepo.environments.adapters.trl import trl
from aepo.types import Sample, ToolError


@trl
class Counter:
    """As in TRL's documentation: it knows no class of ours."""

    def reset(self, **kwargs) -> str | None:  # type: ignore[no-untyped-def]
        self.count = 0
        return "Count to " + str(kwargs.get("target"))

    def add(self, amount: int) -> str:
        """Add to the counter.

        Args:
            amount: How much to add.

        Returns:
            The counter.
        """
        if amount > 5:
            raise ValueError("too much")
        self.count += amount
        return str(self.count)

    async def wait(self, seconds: float) -> str:
        """Wait.

        Args:
            seconds: How long.
        """
        await asyncio.sleep(0)
        raise KeyError("clock")

    def get_reward(self) -> float:
        return float(self.count == 5)


def test_an_exception_is_told_as_trl_tells_it_and_the_world_goes_on() -> None:
    world = Counter()
    assert world.reset(target="5", prompt="...") == "Count to 5"
    with pytest.raises(ToolError, match=r'^{"error": "too much"}$'):
        world.add(9)
    with pytest.raises(ToolError, match="clock"):
        asyncio.run(world.wait(1))
    assert (world.add(5), world.get_reward()) == ("5", 1.0)
    assert inspect.iscoroutinefunction(Counter.wait) and not inspect.iscoroutinefunction(Counter.add)


@pytest.mark.parametrize("process", [False, True])
def test_it_is_an_environment(process: bool) -> None:
    environment = aepo.environment(Counter, process=process)
    assert [tool.name for tool in environment.tools] == ["add", "wait"]
    assert aepo.check_environment(environment, [Sample("Count.", "5", id="a")], calls=10) == []
    assert pickle.loads(pickle.dumps(Counter)) is Counter
