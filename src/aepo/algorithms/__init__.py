"""One short file per algorithm; `algorithm.name` in a configuration picks one."""

from typing import Annotated, TypeAlias

from pydantic import Field

from aepo.algorithms.aepo import AEPO
from aepo.algorithms.base import Algorithm, ScoredBatch
from aepo.algorithms.grpo import GRPO

AnyAlgorithm: TypeAlias = Annotated[AEPO | GRPO, Field(discriminator="name")]

__all__ = ["AEPO", "GRPO", "Algorithm", "AnyAlgorithm", "ScoredBatch"]
