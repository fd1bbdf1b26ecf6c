"""Environments of OpenEnv (package `openenv`, BSD-3): a server by its client, or the environment's class itself.

The fields of the action are the arguments of one tool, `step`. The reward is the sum of the rewards of all steps. Each
world has a session of its own on the server, which must allow as many (`max_concurrent_envs`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, create_model

from aepo.environments.adapters.made import method
from aepo.environments.contract import EnvironmentLost


def openenv(make: Callable[[], Any], action: type[BaseModel], show: Callable[[Any], str] | None = None) -> type:
    """A class for `aepo.environment`.

    Args:
        make: Makes a client, such as `lambda: GenericEnvClient(base_url="http://127.0.0.1:8000")`, or an environment.
        action: The class of the actions.
        show: What the model reads of an observation; by default its fields as JSON.
    """
    fields = {key: (field.annotation, field) for key, field in action.model_fields.items() if key != "metadata"}
    model: type[BaseModel] = create_model(action.__name__, **fields)  # type: ignore[call-overload]
    about = (inspect.getdoc(action) or "Take an action.").split("\n\n")[0]

    class OpenEnv:
        def __init__(self) -> None:
            self._env, self._total, self.done = make(), 0.0, False

        async def reset(self, seed: int, id: str) -> str:
            return self._seen(await _asked(self._env.reset, seed=seed % 2**31, episode_id=id))

        async def get_reward(self) -> float:
            return self._total

        async def close(self) -> None:
            await _asked(self._env.close)

        def _seen(self, result: Any) -> str:
            seen = getattr(result, "observation", result)  # a client gives a result that has it
            self.done, self._total = bool(result.done), self._total + float(result.reward or 0.0)
            return show(seen) if show is not None else _fields(seen)

    async def step(self: OpenEnv, values: dict[str, Any]) -> str:
        return self._seen(await _asked(self._env.step, action(**values)))

    OpenEnv.step = method("step", about, model, step)  # type: ignore[attr-defined]
    return OpenEnv


async def _asked(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        value = function(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value
    except OSError as error:
        raise EnvironmentLost(str(error)) from error
    except Exception as error:
        if type(error).__module__.startswith("websockets"):
            raise EnvironmentLost(f"the server closed the session: {error}") from error
        raise


def _fields(seen: Any) -> str:
    known = seen if isinstance(seen, dict) else seen.model_dump(mode="json")
    return json.dumps({k: v for k, v in known.items() if k not in ("done", "reward", "metadata")}, ensure_ascii=False)
