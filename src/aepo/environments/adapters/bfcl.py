"""The multi-turn tasks of BFCL (package `bfcl-eval`, Apache-2.0, with its data): 200 tasks on 8 simulated services.

The user's requests come one after the other: the model calls `next_request` when it is done with one. The reward is 1
if the services are then, each time, in the state in which BFCL's own solution leaves them.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aepo.environments.adapters.made import package
from aepo.types import Sample, ToolError

INSTALL = "pip install --no-deps bfcl-eval"
SERVICES = (
    *("GorillaFileSystem", "MathAPI", "MessageAPI", "TwitterAPI"),
    *("TicketAPI", "TradingBot", "TravelAPI", "VehicleControlAPI"),
)


def bfcl(services: tuple[str, ...] = SERVICES) -> type:
    """A class for `aepo.environment`; the methods of these services are its tools."""
    places = package("bfcl_eval.constants.executable_backend_config", INSTALL).CLASS_FILE_PATH_MAPPING
    kinds = {name: getattr(package(places[name], INSTALL), name) for name in services}
    methods = {name: method for kind in kinds.values() for name, method in inspect.getmembers(kind, inspect.isfunction)}
    tools = {name: _forwarded(name, method) for name, method in methods.items() if not name.startswith("_")}
    return type("Bfcl", (Bfcl,), {**tools, "_kinds": kinds})


def bfcl_samples(services: tuple[str, ...] = SERVICES, variant: str = "base") -> list[Sample]:
    """The tasks of a variant, "base" or "miss_param", that need no other services."""
    data = Path(package("bfcl_eval", INSTALL).__file__).parent / "data"
    texts = [(place / f"BFCL_v4_multi_turn_{variant}.json").read_text() for place in (data, data / "possible_answer")]
    rows, solved = ([json.loads(row) for row in text.splitlines()] for text in texts)
    samples = []
    for row, path in zip(rows, solved, strict=True):
        requests = [" ".join(said["content"] for said in turn) for turn in row["question"]]
        kept = {key: row[key] for key in ("initial_config", "involved_classes")}
        about = {**kept, "requests": requests, "path": path["ground_truth"]}
        samples.append(Sample(requests[0], id=row["id"], metadata=about))
    return [sample for sample in samples if set(sample.metadata["involved_classes"]) <= set(services)]


class Bfcl:
    """The services of one task, and beside them those that BFCL's solution has changed."""

    _kinds: dict[str, type]

    def reset(
        self, initial_config: dict[str, Any], involved_classes: list[str], requests: list[str], path: list[list[str]]
    ) -> None:
        """Load the task. The question is the first request."""
        both: Any = [{name: self._kinds[name]() for name in involved_classes} for _ in range(2)]
        for name, made in [*both[0].items(), *both[1].items()]:
            if hasattr(made, "_load_scenario"):
                made._load_scenario(copy.deepcopy(initial_config.get(name, {})))
        self._own, self._wanted = both
        self._right: list[bool] = []
        self._requests, self._path, self.done = requests, path, False

    def next_request(self) -> str:
        """Say that the request is done, and read the next one."""
        for step in self._path[len(self._right)]:
            call: Any = ast.parse(step, mode="eval").body
            named = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
            with suppress(Exception):  # one of its own calls may fail, too
                _owner(self._wanted, call.func.id)(*map(ast.literal_eval, call.args), **named)
        self._right.append(_facts(self._own) == _facts(self._wanted))
        self.done = len(self._right) == len(self._requests)
        return "that was all" if self.done else self._requests[len(self._right)]

    def get_reward(self) -> float:
        """1 if all requests were done right, else 0. The last one need not be said to be done."""
        if len(self._right) == len(self._requests) - 1:
            self.next_request()
        return float(self.done and all(self._right))


def _facts(services: dict[str, Any]) -> dict[str, Any]:
    return {name: {k: v for k, v in vars(made).items() if k[0] != "_"} for name, made in services.items()}


def _owner(services: dict[str, Any], method: str) -> Any:
    found = [getattr(made, method) for made in services.values() if hasattr(made, method)]
    if not found:
        raise ToolError(f"{method} is not there for this request")
    return found[0]


def _forwarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Bfcl, *args: Any, **kwargs: Any) -> Any:
        try:
            return _owner(self._own, name)(*args, **kwargs)
        except Exception as error:
            raise ToolError(f"Error during execution: {error}") from error

    return call
