"""Reads the rows of a data set from a file or from the Hugging Face Hub, and chooses among them."""

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.load import Loaded, load_samples
from aepo.tasks.reading.row import DataError, Row

__all__ = ["DataError", "DataSet", "Hub", "Loaded", "Row", "load_samples"]
