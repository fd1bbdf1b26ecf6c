"""What tests of several folders share: the repository root on the path, a tiny model, one thread."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `tests.tiny`."""
    from tests import tiny

    return tiny.save_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A run sets the number of threads for the process; give back what was there."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
