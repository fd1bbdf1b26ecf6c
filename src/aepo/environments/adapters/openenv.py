"""Environments of OpenEnv (package `openenv`, BSD-3), with one tool, `step`. The reward is the sum of all rewards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from aepo.environments.adapters.made import method
from aepo.environments.contract import EnvironmentLost


def _shown(seen: Any) -> dict[str, Any]:
    known = seen if isinstance(seen, dict) else seen.model_dump(mode="json")
    return {name: known[name] for name in known if name not in ("done", "reward", "metadata")}


def openenv(make: Callable[[], Any], action: type[BaseModel], show: Callable[[Any], Any] = _shown) -> type:
    """A class for `aepo.environment`.

    Args:
        make: Makes a client, such as `lambda: GenericEnvClient(base_url="http://127.0.0.1:8000")`, or an environment.
        action: The class of the actions; its fields are the arguments of `step`.
        show: What the model reads of an observation; by default its fields as JSON.
    """
    about = (inspect.getdoc(action) or "Take an action.").split("\n\n")[0]

    class OpenEnv:
        def __init__(self) -> None:
            self._env, self._total, self.done = make(), 0.0, False

        async def reset(self, seed: int, id: str) -> Any:
            return await self._seen(self._env.reset, seed=seed % 2**31, episode_id=id)

        step = method("step", about, {key: one for key, one in action.model_fields.items() if key != "metadata"})

        async def _call(self, name: str, /, **values: Any) -> Any:
            return await self._seen(self._env.step, action(**values))

        def get_reward(self) -> float:
            return self._total

        def close(self) -> Any:
            return self._env.close()

        async def _seen(self, ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            try:
                result = ask(*args, **kwargs)
                result = await result if inspect.isawaitable(result) else result
            except Exception as error:
                if isinstance(error, OSError) or type(error).__module__.startswith("websockets"):
                    raise EnvironmentLost(f"no session with the server: {error}") from error
                raise
            self.done, self._total = bool(result.done), self._total + float(result.reward or 0.0)
            return show(getattr(result, "observation", result))  # a client gives a result that has it

    return OpenEnv
