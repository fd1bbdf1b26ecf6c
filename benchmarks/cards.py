"""Which model fits which cards under `engine: vllm`, computed by the functions of `aepo doctor`. Nothing is measured.

A cell has the share of its GPU that vLLM may take (`vllm.gpu_memory_utilization`), and for how many whole trajectories
its cache then has room. Trajectories that share a beginning need less. "-": it does not fit. A card of 24 GB counts as
24 * 10^9 bytes; the smallest cards of that name have no more.

python benchmarks/cards.py [--tokens 4096] [--rank 32] [--pass-tokens 8192]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch

from aepo.bench.published import dimensions
from aepo.bench.random_model import config_from
from aepo.config import Config, load
from aepo.doctor.counted import Counted
from aepo.doctor.fit import misfit
from aepo.doctor.gpus import need
from aepo.doctor.training_memory import training_memory
from aepo.engines.local.shape import shape_from

MODELS = ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b")
CARDS = (24, 48, 80)
TOKENS, PASS_TOKENS, RANK = 4096, 8192, 32
GB = 10**9
PROMPT = 512
"""Tokens of the longest prompt; the others of a trajectory are `rollout.max_tokens`."""


def settings(tokens: int, passes: int, rank: int | None, optimizer: str = "adamw") -> Config:
    """A run whose trajectories have so many tokens, and its passes of training so many."""
    lora = [] if rank is None else [f"model.lora.rank={rank}"]
    return load(
        None,
        [
            "engine=vllm",
            "model.gradient_checkpointing=true",
            f"rollout.max_tokens={tokens - PROMPT}",
            f"train.micro_batch_tokens={passes}",
            f"train.optimizer={optimizer}",
            *lora,
        ],
    )


def count(model: str, config: Config) -> Counted:
    """A published model in bfloat16."""
    fields, eight_bit = config_from(dimensions(model)), config.train.optimizer == "adamw_8bit"
    passes = config.train.micro_batch_tokens
    training = training_memory(fields, config.model, torch.bfloat16, passes, eight_bit)
    return Counted(shape_from(fields), training, "bfloat16", on_cpu=False)


def cell(config: Config, model: Counted, card: int, shared: bool) -> str:
    """The largest share that fits, and the trajectories that the cache then holds."""
    found = need(config, model, shared, card * GB, card * GB, PROMPT)
    found = replace(found, share=found.most)
    return "-" if misfit(found) is not None else f"{found.share:.2f}: {found.trajectories:,}"


def rows(tokens: int, passes: int, rank: int, models: Sequence[str] = MODELS) -> list[list[str]]:
    """A row for each model and way of training: one GPU of each size, then two."""
    found = []
    for model in models:
        for name, lora, optimizer in (
            (f"LoRA {rank}", rank, "adamw"),
            ("full, `adamw_8bit`", None, "adamw_8bit"),
            ("full", None, "adamw"),
        ):
            config = settings(tokens, passes, lora, optimizer)
            counted = count(model, config)
            cells = [cell(config, counted, card, shared) for shared in (True, False) for card in CARDS]
            found.append([model.removeprefix("qwen3-").replace("b", " B"), name, *cells])
    return found


def line(row: Sequence[str]) -> str:
    """A row in Markdown."""
    return f"| {' | '.join(row)} |"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of the longest trajectory, prompt included")
    parser.add_argument("--pass-tokens", type=int, default=PASS_TOKENS, help="train.micro_batch_tokens")
    parser.add_argument("--rank", type=int, default=RANK, help="model.lora.rank")
    options = parser.parse_args()
    head = ["Qwen3", "trained", *[f"one of {card} GB" for card in CARDS], *[f"two of {card} GB" for card in CARDS]]
    for row in [head, ["---"] * len(head), *rows(options.tokens, options.pass_tokens, options.rank)]:
        print(line(row))


if __name__ == "__main__":
    main()
