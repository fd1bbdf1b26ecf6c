"""Loaded by every process of verl (`VERL_USE_EXTERNAL_MODULES`): puts our parts into verl's registries."""

from __future__ import annotations

from verl.trainer.ppo.core_algos import register_policy_loss
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.workers.rollout.replica import RolloutReplicaRegistry

from aepo.engines.verl.losses import policy_loss
from aepo.engines.verl.mapping import NAME
from aepo.engines.verl.trainer import VerlTrainer


def _vllm() -> type:
    from aepo.engines.verl.vllm import TopLogprobsReplica

    return TopLogprobsReplica


register_policy_loss(NAME)(policy_loss)
register_trainer(NAME)(VerlTrainer)
RolloutReplicaRegistry.register("vllm", _vllm)
