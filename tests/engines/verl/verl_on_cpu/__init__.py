"""What verl needs to run without a GPU: a platform, an FSDP engine on gloo, and a rollout server. For tests only.

Loaded by every process of verl, before our plugin (`VERL_USE_EXTERNAL_MODULES`); `VERL_PLATFORM=cpu` chooses it.
"""

import functools

from verl_on_cpu import platform  # noqa: F401  # before all that asks for the platform

# isort: split
import verl.utils.distributed
import verl.workers.engine
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplicaRegistry

# verl joins "cpu:gloo" with itself where the device is a CPU, which torch refuses.
verl.utils.distributed.initialize_global_process_group_ray = functools.partial(
    verl.utils.distributed.initialize_global_process_group_ray, backend="cpu:gloo"
)
for strategy in ("fsdp", "fsdp2"):
    EngineRegistry._engines["language_model"][strategy].setdefault("cpu", FSDPEngineWithLMHead)


def _replica():
    from verl_on_cpu.server import Replica

    return Replica


RolloutReplicaRegistry.register("cpu", _replica)
base._ROLLOUT_REGISTRY["cpu", "async"] = "verl_on_cpu.server.Weights"
