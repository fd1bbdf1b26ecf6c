"""`atlas`: multi-hop questions about places, answered with a search index and Python.

Many names belong to several places, so the model must decide after a search which one is meant.

    What is the capital of the country of the Valencia with 792492 people?
    > search Valencia            - Valencia, population 1385083, Venezuela
                                 - Valencia, population 792492, Spain ...
    > search capital of Spain    - capital of Spain: Madrid ...
    Madrid
"""

from __future__ import annotations

from aepo.rewards import exact, with_format
from aepo.tasks.atlas.questions import questions
from aepo.tasks.atlas.world import MAX_NAMESAKES, World, world
from aepo.tasks.base import Task
from aepo.tasks.splits import Split
from aepo.tools.base import Tool
from aepo.tools.python import python
from aepo.tools.search import Document, search


def atlas(
    size: int = 6000,
    held_out: int = 300,
    split: Split = "validation",
    seed: int = 0,
    system: str | None = "",
    sandbox: str | None = None,
) -> Task:
    """The task, with `size` training questions and `held_out` questions about other names.

    The reward is 1 for an exact answer, 0 for a wrong one, -1 for a format error or no answer.

    Args:
        size: Questions to train on.
        held_out: Questions to evaluate with.
        split: Where the held-out questions come from: "validation" to choose settings, "test" to report.
        seed: Seed of the choice of questions.
        system: System message; None is the protocol's own. The model in this package was made for this task and needs
            no message; other models do.
        sandbox: Sandbox of the model's programs; see `aepo.tools.python.python`.

    Raises:
        ValueError: There are too few different questions.
        SandboxUnavailable: No sandbox contains untrusted code on this host.
    """
    facts = world()
    return Task(
        name="atlas",
        samples=questions(facts, "train", size, seed),
        held_out=questions(facts, split, held_out, seed),
        tools=[atlas_search(), python(sandbox=sandbox)],
        reward=with_format(exact),
        system=system,
    )


def atlas_search(facts: World | None = None) -> Tool:
    """The search tool over all facts, by default of GeoNames; it shows as many results as a name can have places."""
    return search((Document(*d) for d in (facts or world()).documents()), top_k=MAX_NAMESAKES)
