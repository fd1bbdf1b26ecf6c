"""Makes a task of a published data set: its questions, its tools, its score as the reward."""

from __future__ import annotations

from collections.abc import Sequence

from aepo.rewards import exact, f1, math, paper
from aepo.rewards.base import Score
from aepo.tasks.base import Task
from aepo.tasks.reading import DataSet, load_samples
from aepo.tools.base import Tool
from aepo.tools.named import named
from aepo.types import Sample

REWARDS: dict[str, Score] = {"exact": exact, "f1": f1, "math": math, "paper": paper}


def benchmark(
    data_set: DataSet,
    data: str | None = None,
    ids: str | list[str] | None = None,
    split: str | None = None,
    tools: list[str] | None = None,
    corpus: str | None = None,
    reward: str | None = None,
    system: str | None = None,
) -> Task:
    """The task of a data set.

    Args:
        data_set: The data set.
        data: A JSONL or Parquet file; the Hugging Face Hub by default.
        ids: Ids of the questions to use: a list, or a file with one id per line.
        split: Split on the hub; the evaluation split by default.
        tools: "search", "browse", "python", or "package.module:function" for a function that returns a tool; [] for
            none. By default those of the data set.
        corpus: JSONL file of the documents to search.
        reward: "exact", "f1", "math", or "paper" for the paper's, with format and bonus. By default the data set's
            score; a data set that a judge scores has none.
        system: System message; None is the protocol's own, which describes the tools; "" sends none.

    Raises:
        ValueError: The data cannot be read, a tool or reward is unknown, or a needed one is missing.
    """
    check_corpus(data_set, tools, corpus)
    samples = load_samples(data_set, data, ids, split).samples
    return Task(data_set.name, samples, make_tools(data_set, tools, corpus), _reward(data_set, reward), (), system)


def make_tools(data_set: DataSet, tools: Sequence[str] | None = None, corpus: str | None = None) -> list[Tool]:
    """The tools of a data set; arguments and errors as of `benchmark`."""
    check_corpus(data_set, tools, corpus)
    return [named(name, corpus) for name in (data_set.tools if tools is None else tools)]


def check_corpus(data_set: DataSet, tools: Sequence[str] | None, corpus: str | None) -> None:
    """Check that a tool for searching has documents, before questions are loaded.

    Raises:
        ValueError: It has none.
    """
    if "search" in (data_set.tools if tools is None else tools) and corpus is None:
        raise ValueError(
            f"{data_set.name} is answered by searching: give a corpus, a JSONL file of documents "
            "(--corpus FILE, or task.options.corpus=FILE in training), or other tools, e.g. --tools python"
        )


def _reward(data_set: DataSet, name: str | None) -> Score:
    if name is not None and name not in REWARDS:
        raise ValueError(f"unknown reward {name!r}: known: {', '.join(REWARDS)}")
    if name is None and data_set.method == "judge":
        return _needs_a_judge
    return REWARDS[name or {"math": "math", "words": "f1"}[data_set.method]]


def _needs_a_judge(sample: Sample, trajectory: object) -> float:
    raise ValueError(
        "this data set is scored by a judge: evaluate it with `aepo eval NAME --model MODEL --judge JUDGE`, "
        "or choose task.options.reward"
    )
