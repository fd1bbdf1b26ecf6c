"""Converts rows to samples, checks their ids, and takes a subset by ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aepo.files.paths import local
from aepo.tasks.reading.base import DataSet
from aepo.tasks.reading.files import read_file
from aepo.tasks.reading.hub import Load, read_hub
from aepo.tasks.reading.row import DataError, Row
from aepo.types import Sample


@dataclass(frozen=True)
class Loaded:
    """The samples of a data set, and the rows that are left out.

    Attributes:
        samples: The samples in the order of the rows, each with an id.
        needs: For each left-out row by its id, what a text model lacks to answer it.
    """

    samples: tuple[Sample, ...]
    needs: dict[str, str]

    @property
    def left_out(self) -> dict[str, int]:
        """The number of left-out rows by what they need, e.g. {"an image": 342}."""
        return dict(Counter(self.needs.values()))


def load_samples(
    data_set: DataSet,
    data: str | Path | None = None,
    ids: str | Path | Sequence[str] | None = None,
    split: str | None = None,
    load: Load | None = None,
) -> Loaded:
    """Load the samples of a data set.

    Args:
        data_set: The data set.
        data: A JSONL or Parquet file; the Hugging Face Hub by default.
        ids: Ids of the samples to take, a list or a file with one id per line; their order is that of the rows.
        split: Split on the hub; the evaluation split by default.
        load: Function to use instead of `datasets.load_dataset`.

    Raises:
        DataError: A row is invalid, two share an id, or an id is missing; the message names it.
    """
    if data is not None and split is not None:
        raise DataError(f"{data_set.name}: a file has no splits, give data or split")
    rows = read_hub(data_set, split, load) if data is None else read_file(data)
    loaded = converted(data_set, rows)
    return loaded if ids is None else Loaded(chosen(loaded, read_ids(ids), data_set.name), {})


def converted(data_set: DataSet, rows: Iterable[Row]) -> Loaded:
    """The samples of all rows.

    Raises:
        DataError: A row is invalid, two share an id, or no sample is left.
    """
    samples: list[Sample] = []
    places: dict[str, str] = {}
    needs: dict[str, str] = {}
    for row in rows:
        sample = data_set.sample(row)
        if sample.id in places:
            raise row.error(f"id {sample.id!r} was already that of {places[sample.id]}; every question needs its own")
        places[sample.id] = row.place
        need = data_set.needs(row)
        if need is None:
            samples.append(sample)
        else:
            needs[sample.id] = need
    loaded = Loaded(tuple(samples), needs)
    if not samples:
        raise DataError(f"{data_set.name}: no row is left; those that need more than text: {loaded.left_out}")
    return loaded


def read_ids(ids: str | Path | Sequence[str]) -> list[str]:
    """The ids of a list, or of a file with one id per line; DataError if the file cannot be read or has none."""
    if isinstance(ids, str | Path):
        try:
            lines = local(ids).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the ids in {ids}: {error}") from None
        found = [line.strip() for line in lines if line.strip()]
    else:
        found = [str(one) for one in ids]
    if not found:
        raise DataError(f"no id in {ids!s}: write one a line, or leave ids out for all questions")
    return list(dict.fromkeys(found))


def chosen(loaded: Loaded, ids: Sequence[str], name: str) -> tuple[Sample, ...]:
    """The samples with these ids; DataError if an id is missing, or its row needs more than text."""
    wanted, known = set(ids), {sample.id for sample in loaded.samples}
    for one in ids:
        if one in loaded.needs:
            raise DataError(f"{name}: question {one!r} needs {loaded.needs[one]}, and only text is answered")
    missing = [one for one in ids if one not in known]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{name}: no question has the id {missing[0]!r}{more}; an id is e.g. {loaded.samples[0].id!r}")
    return tuple(sample for sample in loaded.samples if sample.id in wanted)
