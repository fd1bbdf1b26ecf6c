"""`atlas`: multi-hop questions about places, answered with a search index and Python.

Many names belong to several places, so that after a search the model has to decide which one was meant.

    What is the capital of the country of the Valencia with 792492 people?
    > search Valencia            - Valencia, population 1385083, Venezuela
                                 - Valencia, population 792492, Spain ...
    > search capital of Spain    - capital of Spain: Madrid ...
    Madrid
"""

from __future__ import annotations

from aepo.rewards import exact, with_format
from aepo.tasks.atlas.questions import Split, questions
from aepo.tasks.atlas.world import MAX_NAMESAKES, World, world
from aepo.tasks.base import Task
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
    """The task, with `size` training questions and `held_out` ones about names that no training question has.

    An exact answer is worth 1, a wrong one 0, a broken format or no answer -1.

    Args:
        size: Questions to train on.
        held_out: Questions to evaluate with.
        split: Where the held-out questions come from: "validation" to choose settings, "test" to report.
        seed: Which questions are drawn.
        system: System message. The model that ships with the package was made for this task and needs none; others
            do: their instructions, or None for what the protocol says by itself.
        sandbox: Where the model's programs run; see `aepo.tools.python.python`.

    Raises:
        ValueError: There are not that many different questions.
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
    """The search tool over all facts, of GeoNames by default; it shows as many lines as a name can have places."""
    return search((Document(*d) for d in (facts or world()).documents()), top_k=MAX_NAMESAKES)
