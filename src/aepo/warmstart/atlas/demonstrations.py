"""Writes demonstrations of mixed quality, by a scripted agent that can solve `atlas` but often makes mistakes.

The agent reads the results of the real search tool. It makes mistakes in decisions that reinforcement learning can
improve: which of several places with one name to take, whether to ask for a fact by its name, whether to calculate or
to guess, and when to stop.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from aepo.types import Sample
from aepo.warmstart.episode import Segment

CITY = re.compile(r"^- (?P<name>.+), population (?P<population>\d+), (?P<country>.+)$", re.M)


@dataclass(frozen=True)
class Faults:
    """The probability of each mistake, for one decision."""

    wrong_exact: float = 0.22
    wrong_extreme: float = 0.42
    no_thought: float = 0.12
    vague_query: float = 0.18
    guess: float = 0.08
    repeat_search: float = 0.06
    no_answer: float = 0.03
    no_python: float = 0.3
    wrong_operation: float = 0.15


class Demonstrator:
    """Writes one episode for each question.

    Args:
        search: The real search tool, a function from a query to the result's text.
        values: The values to guess from, for each attribute.
        faults: The probabilities of mistakes.
        rng: Random generator.
    """

    def __init__(
        self, search: Callable[[str], str], values: dict[str, list[str]], faults: Faults, rng: random.Random
    ) -> None:
        self.search, self.values, self.faults, self.rng = search, values, faults, rng
        self.segments: list[Segment] = []

    def episode(self, sample: Sample) -> list[Segment]:
        """Write the turns and results of one attempt at `sample`; its answer may be wrong or missing."""
        self.segments = []
        plan = sample.metadata
        {
            "exact": self._one_country,
            "extreme": self._one_country,
            "total": self._total,
            "gap": self._gap,
            "area": self._area,
        }[plan["kind"]](plan)
        return self.segments

    def _one_country(self, plan: dict) -> None:
        if self._chance(self.faults.guess):
            return self._answer(self._any_value(plan["attribute"]))
        found = self._cities(plan["name"])
        if self._chance(self.faults.repeat_search):
            found = self._cities(plan["name"])
        if not found:
            return self._answer(self._any_value(plan["attribute"]))
        wrong = self.faults.wrong_exact if plan["kind"] == "exact" else self.faults.wrong_extreme
        right = [f for f in found if f[1] == plan["country"] and int(f[0]) == plan["population"]]
        others = [f for f in found if f not in right]
        population, country = self.rng.choice(others) if others and (not right or self._chance(wrong)) else right[0]
        if self._chance(self.faults.no_thought):
            thought = ""
            population, country = self.rng.choice(found)
        else:
            which = "" if plan["kind"] == "exact" else f" {'most' if plan['most'] else 'least'}:"
            thought = f"<think>{which} {population}, {country}</think>"
        self._fact(thought, plan["attribute"], country)

    def _fact(self, thought: str, attribute: str, country: str) -> None:
        vague = self._chance(self.faults.vague_query)
        text = self._search(country if vague else f"{attribute} of {country}", thought)
        value = self._value(text, attribute, country)
        if value is None and self._chance(0.5):
            value = self._value(self._search(f"{attribute} of {country}"), attribute, country)
        if value is None:
            value = self._any_value(attribute)
        self._answer(self.rng.choice(value.split(", ")) if attribute == "neighbours" else value)

    def _total(self, plan: dict) -> None:
        found = [p for p, _ in self._cities(plan["name"])]
        if len(found) > 1 and self._chance(self.faults.wrong_operation):
            found.remove(self.rng.choice(found))
        self._calculate("+".join(found or ["0"]))

    def _gap(self, plan: dict) -> None:
        numbers: dict[str, str] = {}
        for name in self._either_order(plan["names"]):
            found = self._cities(name)
            numbers[name] = found[0][0] if found else "0"
        self._subtract(*(numbers[name] for name in plan["names"]))

    def _area(self, plan: dict) -> None:
        numbers: dict[str, str] = {}
        for name in self._either_order(plan["names"]):
            found = self._cities(name)
            country = found[0][1] if found else plan["countries"][0]
            numbers[name] = self._value(self._search(f"area of {country}"), "area", country) or "0"
        self._subtract(*(numbers[name] for name in plan["names"]))

    def _subtract(self, a: str, b: str) -> None:
        wrong = self._chance(self.faults.wrong_operation)
        self._calculate(self.rng.choice([f"{b}-{a}", f"{a}+{b}"]) if wrong else f"{a}-{b}")

    def _calculate(self, expression: str) -> None:
        terms = [int(t) for t in re.split(r"[+-]", expression)]
        result = terms[0] - terms[1] if "-" in expression else sum(terms)
        if self._chance(self.faults.no_python):
            size = len(str(abs(result)))
            return self._answer(str(self.rng.randrange(10 ** (size - 1), 10**size)))
        self.segments.append(Segment("policy", f"<python>print({expression})</python>"))
        self._observe(str(result))
        self._answer(str(result))

    def _cities(self, name: str) -> list[tuple[str, str]]:
        return [(m["population"], m["country"]) for m in CITY.finditer(self._search(name)) if m["name"] == name]

    def _search(self, query: str, thought: str = "") -> str:
        self.segments.append(Segment("policy", f"{thought}<search> {query}</search>"))
        text = self.search(query)
        self._observe(text)
        return text

    def _observe(self, text: str) -> None:
        self.segments.append(Segment("observation", f"<result>{text}</result>"))

    def _answer(self, answer: str) -> None:
        silent = self._chance(self.faults.no_answer)
        space = "" if answer.lstrip("-").isdigit() else " "
        self.segments.append(Segment("policy", "<|end|>" if silent else f"<answer>{space}{answer}</answer>"))

    def _value(self, text: str, attribute: str, country: str) -> str | None:
        found = re.search(rf"^- {re.escape(attribute)} of {re.escape(country)}: (.+)$", text, re.M)
        return found[1] if found else None

    def _any_value(self, attribute: str) -> str:
        return self.rng.choice(self.values[attribute]).split(", ")[0]

    def _either_order(self, names: list[str]) -> list[str]:
        return names if self._chance(0.8) else names[::-1]

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share
