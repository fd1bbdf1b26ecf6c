"""Training under Hugging Face's trainer (extra `trl`): `AEPOTrainer`, and `engine: trl` of a configuration.

The names are imported when they are first used: the package is looked into where trl is not installed too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aepo.engines.trl.dataset import question_dataset
    from aepo.engines.trl.trainer import AEPOTrainer

_WHERE = {"AEPOTrainer": "aepo.engines.trl.trainer", "question_dataset": "aepo.engines.trl.dataset"}

__all__ = ["AEPOTrainer", "question_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("trl", "datasets"):
            raise
        raise ImportError(f'{name} needs the package {error.name}: pip install "aepo-rl[trl]"') from error
