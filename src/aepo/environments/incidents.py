"""What goes wrong in the worlds of an environment: all of it is counted, and the first of each kind is logged."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal, TypeAlias

from aepo.tools.counts import count

Incident: TypeAlias = Literal["refused", "lost", "not_closed"]
"""A branch that begins at the question instead, a world that died, a world that did not close as it should."""

TOLD = 3
"""Incidents of each kind that are logged."""
MANY, SHARE = 20, 0.2
"""After so many branches, a larger share of refused ones is worth a line."""

_log = logging.getLogger(__name__)


class Incidents:
    """The incidents of one environment.

    Attributes:
        begun: The number of branches.
        seen: The number of incidents of each kind.
        warned: Whether a line has said that many branches are refused.
    """

    def __init__(self) -> None:
        """Nothing has happened."""
        self.begun, self.warned = 0, False
        self.seen: Counter[Incident] = Counter()

    def tell(self, kind: Incident, line: str) -> None:
        """Count an incident, and log it if it is one of the first of its kind."""
        count(f"environment/{kind}")
        self.seen[kind] += 1
        if self.seen[kind] < TOLD:
            _log.warning("%s", line)
        elif self.seen[kind] == TOLD:
            _log.warning("%s (from now on only counted, as environment/%s)", line, kind)

    def refuse(self, name: str, line: str) -> None:
        """Count a refused branch of the environment `name`; if many are refused, say once how to find out why."""
        self.tell("refused", line)
        if not self.warned and self.begun >= MANY and self.seen["refused"] > SHARE * self.begun:
            self.warned = True
            _log.warning(
                "%d of %d branches in environment %s begin at the question instead: aepo.check_environment, or aepo "
                "doctor, says why its worlds differ (docs/environments.md)",
                self.seen["refused"],
                self.begun,
                name,
            )
