"""Gives code that draws from the random numbers of the whole process a stream of its own."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OwnRandom:
    """The state of Python's `random`, and of NumPy's if it is loaded, while one world uses them."""

    def __init__(self, seed: int) -> None:
        """Begin a stream."""
        self.seed = seed
        self.state: tuple[Any, Any] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Draw from this stream inside of the context. No other code may draw meanwhile."""
        numpy = getattr(sys.modules.get("numpy"), "random", None)
        shared = random.getstate(), None if numpy is None else numpy.get_state()
        if self.state is None:
            random.seed(self.seed)
            if numpy is not None:
                numpy.seed(self.seed)
        else:
            random.setstate(self.state[0])
            if numpy is not None and self.state[1] is not None:
                numpy.set_state(self.state[1])
        try:
            yield
        finally:
            self.state = random.getstate(), None if numpy is None else numpy.get_state()
            random.setstate(shared[0])
            if numpy is not None and shared[1] is not None:
                numpy.set_state(shared[1])
