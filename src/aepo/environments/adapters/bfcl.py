"""The multi-turn tasks of BFCL (package `bfcl-eval`, Apache-2.0, with its data): 200 tasks on 8 simulated services."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

from aepo.environments.adapters.made import forwarded, package
from aepo.environments.contract import methods_of
from aepo.types import ToolError


def bfcl(services: tuple[str, ...] | None = None) -> type:
    """A class for `aepo.environment`; the methods of these services are its tools. By default all eight."""
    known = package("bfcl_eval.constants.executable_backend_config")
    names = services or {*known.CLASS_FILE_PATH_MAPPING} - {*known.OMIT_STATE_INFO_CLASSES}
    kinds = {name: getattr(package(known.CLASS_FILE_PATH_MAPPING[name]), name) for name in names}
    tools = {name: forwarded(one) for kind in kinds.values() for name, one in methods_of(kind)}
    return type("Bfcl", (Bfcl,), {**tools, "_kinds": kinds})


class Bfcl:
    """The services of one task, and beside them those that BFCL's solution has changed."""

    def reset(
        self, initial_config: dict[str, Any], involved_classes: list[str], requests: list[str], path: Any
    ) -> None:
        """Load the task. The question is the first request."""
        self._own, self._wanted = ({name: self._kinds[name]() for name in involved_classes} for _ in range(2))
        for name, made in [*self._own.items(), *self._wanted.items()]:
            if hasattr(made, "_load_scenario"):
                made._load_scenario(deepcopy(initial_config.get(name, {})))
        self._requests, self._path, self._right, self.done = requests, path, list[bool](), False

    def next_request(self) -> str:
        """Say that the request is done, and read the next one."""
        equal = package("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker").state_checker
        known = {name: getattr(made, name) for made in self._wanted.values() for name in dir(made)}
        for step in self._path[len(self._right)]:
            with suppress(Exception):  # one of its own calls may fail, too
                eval(step, {"__builtins__": {}}, known)
        self._right.append(equal(self._own, self._wanted)["valid"])
        self.done = len(self._right) == len(self._requests)
        return "that was all" if self.done else self._requests[len(self._right)]

    def get_reward(self) -> float:
        """1 if all requests were done right, else 0. The last one need not be said to be done."""
        if len(self._right) == len(self._requests) - 1:
            self.next_request()
        return float(self.done and all(self._right))

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        owner = next((made for made in self._own.values() if hasattr(made, name)), None)
        if owner is None:
            raise ToolError(f"{name} is not there for this request")
        try:
            return getattr(owner, name)(*args, **kwargs)
        except Exception as error:
            raise ToolError(f"Error during execution: {error}") from error
