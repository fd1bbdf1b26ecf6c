import doctest
import io
import sys

import pytest

from aepo.core.exploration import Exploration
from aepo.rollout.chat.base import ChatProtocol
from aepo.rollout.generator import Generator
from aepo.tools.base import tool


@pytest.mark.parametrize("implemented", [ChatProtocol, Exploration, Generator, tool], ids=lambda thing: thing.__name__)
def test_the_example_of_what_people_implement_runs(implemented: object) -> None:
    names = vars(sys.modules[implemented.__module__])
    (found,) = doctest.DocTestFinder(recurse=False).find(implemented, "example", globs=names)
    said = io.StringIO()
    ran = doctest.DocTestRunner(verbose=False).run(found, out=said.write)
    assert (ran.attempted > 1, said.getvalue()) == (True, "")
