"""One short file per algorithm; `algorithm.name` in a configuration picks one."""

from typing import Annotated, TypeAlias

from pydantic import Field

from aepo.algorithms.aepo import AEPO
from aepo.algorithms.arpo import ARPO
from aepo.algorithms.base import Algorithm, ScoredBatch
from aepo.algorithms.cispo import CISPO
from aepo.algorithms.dapo import DAPO
from aepo.algorithms.gigpo import GiGPO
from aepo.algorithms.gppo import GPPO
from aepo.algorithms.grpo import GRPO
from aepo.algorithms.reinforce_pp import ReinforcePP

AnyAlgorithm: TypeAlias = Annotated[
    AEPO | ARPO | CISPO | DAPO | GiGPO | GPPO | GRPO | ReinforcePP, Field(discriminator="name")
]

__all__ = [
    "AEPO",
    "ARPO",
    "CISPO",
    "DAPO",
    "GPPO",
    "GRPO",
    "Algorithm",
    "AnyAlgorithm",
    "GiGPO",
    "ReinforcePP",
    "ScoredBatch",
]
