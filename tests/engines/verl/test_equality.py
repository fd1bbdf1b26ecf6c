"""On the same trees and weights, verl's own loss function gives the loss and the gradient of one machine."""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
import torch
from torch import Tensor

from aepo import api, config
from aepo.algorithms import Algorithm, AnyAlgorithm
from aepo.assembly.parts import build
from aepo.rewards.score import score
from aepo.rollout.explorer import Seeds, explore
from aepo.training.batch import flat_batch
from aepo.training.step import Learner, update
from aepo.types import Group, Trajectory
from tests import tiny

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
LIMIT, RANKS = 40, 2
KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rollout(model_folder: Path) -> list[Group]:
    """Scored groups with tool calls and branches."""
    task = tiny.letters(4)
    _, parts = build(config.load(None, tiny.settings(Path("unused"), model_folder)), task)
    rules = config.load(None, tiny.settings(Path("unused"), model_folder)).algorithm.exploration()

    async def sample() -> list[Group]:
        groups = await explore(task.samples, parts.agent, rules, rules.initial_state(parts.vocab_size), Seeds(0, 1))
        await score(groups, tiny.early)
        return groups

    return anyio.run(sample)


def changed(model_folder: Path) -> Any:
    """The policy after some learning, so that ratios leave the clip range."""
    policy = api.load_policy(str(model_folder))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter) * parameter.std()
    return policy


def scored(policy: Any, trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of a row as verl's engine gives them: shifted by one, the last for nothing."""
    tokens = torch.tensor([trajectory.tokens])
    logits = policy.model(input_ids=tokens).logits[0, :, : len(policy.tokenizer)]
    logp = torch.log_softmax(logits.float(), -1)
    picked = logp[:-1].gather(-1, tokens[0, 1:, None])[:, 0]
    return torch.cat([picked, picked.new_zeros(1)]), -(logp.exp() * logp).sum(-1)


def jagged(rows: list[Tensor]) -> Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_verls_loss_function_gives_the_local_loss_and_gradient(
    kind: type[Algorithm], model_folder: Path, rollout: list[Group], monkeypatch: pytest.MonkeyPatch
):
    from tensordict import TensorDict
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import FSDPActorConfig, PolicyLossConfig
    from verl.workers.utils.losses import ppo_loss

    from aepo.engines.verl import losses
    from aepo.engines.verl.mapping import NAME

    algorithm = kind(group_size=6)
    monkeypatch.setattr(losses, "run_config", lambda: config.Config(algorithm=algorithm))
    monkeypatch.setitem(POLICY_LOSS_REGISTRY, NAME, losses.policy_loss)
    groups, before = deepcopy(rollout), api.load_policy(str(model_folder))
    trajectories = [t for group in groups for t in group.trajectories()]

    batch = flat_batch(groups, algorithm, before.tokenizer.pad_token_id, LIMIT)
    policy = changed(model_folder)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    settings = config.TrainConfig(minibatches=1, max_grad_norm=1e9, micro_batch_tokens=512)
    local = update(Learner(policy, optimizer, schedule, algorithm, settings), batch, random.Random(0))

    with torch.no_grad():
        passes = [scored(before, t) for t in trajectories]
    # A row that fills up the batch is among them: verl copies one and masks all of it.
    width = max(len(t.tokens) - t.prompt_length for t in trajectories)
    entropy_BT = torch.full((len(trajectories) + 1, width), 7.0)
    for row, (t, (_, entropy)) in enumerate(zip(trajectories, passes, strict=True)):
        written = len(t.tokens) - t.prompt_length
        entropy_BT[row, :written] = entropy[t.prompt_length - 1 : len(t.tokens) - 1]
    places = [list(range(6 * number, 6 * number + 6)) for number in range(len(groups))]
    made_BT = losses.advantages(groups, places, entropy_BT, algorithm, LIMIT)

    settings = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=6,
        use_dynamic_bsz=True,
        loss_agg_mode=algorithm.aggregation,
        policy_loss=PolicyLossConfig(loss_mode=NAME),
    )
    policy = changed(model_folder)
    tokens = sum(sum(t.loss_mask) for t in trajectories)
    total = 0.0
    for start in range(0, len(trajectories), 5):
        part = list(enumerate(trajectories))[start : start + 5]
        cut = [slice(t.prompt_length, None) for _, t in part]
        data = TensorDict(
            {
                "prompts": jagged([torch.tensor(t.tokens[: t.prompt_length]) for _, t in part]),
                "responses": jagged([torch.tensor(t.tokens[c]) for (_, t), c in zip(part, cut, strict=True)]),
                "response_mask": jagged([torch.tensor(t.loss_mask[c]) for (_, t), c in zip(part, cut, strict=True)]),
                "old_log_probs": jagged([passes[row][0][t.prompt_length - 1 : len(t.tokens) - 1] for row, t in part]),
                "advantages": jagged([made_BT[row, : len(t.tokens) - t.prompt_length] for row, t in part]),
            },
            batch_size=len(part),
        )
        tu.assign_non_tensor(data, dp_size=RANKS, batch_num_tokens=tokens, global_batch_size=len(trajectories))
        output = {"log_probs": jagged([scored(policy, t)[0] for _, t in part])}
        loss, _ = ppo_loss(settings, output, data)
        # Each micro-batch is one rank's; gradients are averaged over ranks.
        (loss / RANKS).backward()
        total += loss.item() / RANKS
    norm = torch.stack([p.grad.norm() for p in policy.parameters() if p.grad is not None]).norm()
    assert total == pytest.approx(local["loss"], abs=1e-4)
    assert float(norm) == pytest.approx(local["grad/norm"], abs=1e-4)
    assert float(norm) > 1e-3
