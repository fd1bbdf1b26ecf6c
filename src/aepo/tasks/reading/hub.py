"""Reads rows from the Hugging Face Hub by its library `datasets`, which caches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aepo.tasks.reading.base import DataSet
from aepo.tasks.reading.row import DataError, Row

Load = Callable[..., Any]
"""`datasets.load_dataset`, or something with its signature."""


def read_hub(data_set: DataSet, split: str | None = None, load: Load | None = None) -> Iterator[Row]:
    """The rows of the published split, configuration after configuration.

    Args:
        data_set: The data set.
        split: Split to use instead of the evaluation split.
        load: Function to use instead of `datasets.load_dataset`.

    Raises:
        DataError: The library is missing, the hub cannot be reached, or it refuses; the message says what to do.
    """
    load = load or _library(data_set)
    hub, split = data_set.hub, split or data_set.hub.split
    for config in hub.configs:
        try:
            table = load(hub.repository, config, split=split)
        except Exception as error:  # the library passes on any exception of its transports and formats
            raise DataError(_explain(data_set, error)) from error
        # Pictures are not used, and decoding them would need another library.
        pictures = [name for name, kind in table.features.items() if type(kind).__name__ == "Image"]
        name = ", ".join(part for part in (config, split) if part)
        for number, fields in enumerate(table.remove_columns(pictures), 1):
            yield Row(fields, f"{hub.repository} ({name}), row {number}")


def _library(data_set: DataSet) -> Load:
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(
            f"reading {data_set.name} from the Hugging Face Hub needs the extra 'data': "
            f'pip install "aepo-rl[data]"; or give a local file'
        ) from None
    found: Load = load_dataset
    return found


def _explain(data_set: DataSet, error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    page, local = data_set.hub.page, "or give a local file"
    # Without consent the hub does not say that a gated data set exists.
    if data_set.gated and not isinstance(error, ConnectionError):
        return (
            f"{data_set.name} is gated ({said}): accept its conditions at {page}, log in with `hf auth login` "
            f"or set HF_TOKEN, and try again; {local}"
        )
    if isinstance(error, ConnectionError):
        return f"cannot read {data_set.name} from the Hugging Face Hub ({said}): connect, {local}"
    return f"cannot read {data_set.name} from {page}: {type(error).__name__}: {said}; {local}"
