"""Training on the tree against training on whole trajectories: forward and backward of the same step, alternating.

One question, k trajectories that share a prompt of P tokens and go on alone for S; P is such that flat / distinct
tokens = s. Prints medians, the ratio, the bound 1 / (0.8 s) that it should stay under, and the peak memory of each
layout above that of the loaded model, in a process of its own (Linux).

    python benchmarks/tree_training.py --sharing 2 4 8 --suffix 64 900 --threads 1
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from aepo.bench.cost import Cost, CostMeter
from aepo.bench.training import TrainingStep, made_up, shared_for
from aepo.config import Layout, TrainConfig
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.training.batch import Batch

VOCABULARY = 8192
LAYOUTS: tuple[Layout, ...] = ("flat", "tree")


@dataclass
class Trained:
    """A model as `update` wants it."""

    logprobs: ModelLogprobs
    device = torch.device("cpu")

    def __post_init__(self) -> None:
        self.score, self.score_tree = self.logprobs.score, self.logprobs.score_tree

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of them."""
        return list(self.logprobs.model.parameters())


def random_policy(hidden: int, layers: int) -> Trained:
    """A Llama; 20 M parameters by default."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=1 << 16,
        tie_word_embeddings=True,
    )
    return Trained(ModelLogprobs(LlamaForCausalLM._from_config(shape, attn_implementation="sdpa").eval(), VOCABULARY))


def passes(policy: Trained, layout: Layout, given: Batch, micro_batch_tokens: int) -> Cost:
    """Cost of one step without the optimizer's own work; memory above what is held now."""
    settings = TrainConfig(layout=layout, micro_batch_tokens=micro_batch_tokens)
    # It holds nothing.
    step = TrainingStep(policy, torch.optim.SGD(policy.parameters(), 0.0), settings)
    with CostMeter(policy.device).cost() as found:
        metrics = step(given)
    found.seconds -= metrics["optimizer_seconds"]
    return found


def memory(options: argparse.Namespace, layout: Layout, sharing: float, suffix: int, rows: int) -> float:
    """MB that one step needs above the model, measured in a child process."""
    command = [sys.executable, __file__, "--measure-memory", layout]
    command += ["--sharing", str(sharing), "--suffix", str(suffix), "--rows", str(rows)]
    for name in ("threads", "hidden", "layers", "micro_batch_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sharing", type=float, nargs="+", default=[2, 4, 8], help="s, below k")
    parser.add_argument(
        "--suffix", type=int, nargs="+", default=[64, 900], help="tokens that each trajectory has alone"
    )
    parser.add_argument("--rows", type=int, help="k; 2 s by default, with which trees are smallest")
    parser.add_argument("--micro-batch-tokens", type=int, default=32768, help="so that no tree is split")
    parser.add_argument("--hidden", type=int, default=384, help="width, a multiple of 64")
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--warm-ups", type=int, default=1, help="repetitions that are not counted")
    parser.add_argument("--measure-memory", choices=LAYOUTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policy = random_policy(options.hidden, options.layers)
    if options.measure_memory:
        shared = shared_for(options.sharing[0], options.suffix[0], options.rows)
        given = made_up(VOCABULARY, 1, options.rows, shared, options.suffix[0])
        print((passes(policy, options.measure_memory, given, options.micro_batch_tokens).peak or 0) / 1e6)
        return
    size = sum(p.numel() for p in policy.parameters()) / 1e6
    print(f"Llama of {size:.1f} M parameters, {options.micro_batch_tokens} tokens a pass", end=", ")
    print(f"{options.threads} thread(s), medians of {options.repetitions}")
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}", end=", ")
    print(f"transformers {transformers.__version__}\n")
    print(f"{'s':>4}{'k':>4}{'P':>7}{'S':>6}{'flat s':>9}{'tree s':>9}", end="")
    print(f"{'ratio':>8}{'bound':>8}{'flat MB':>9}{'tree MB':>9}")
    for suffix in options.suffix:
        for sharing in options.sharing:
            rows = options.rows or round(2 * sharing)
            shared = shared_for(sharing, suffix, rows)
            given = made_up(VOCABULARY, 1, rows, shared, suffix)
            times: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
            for number in range(options.warm_ups + options.repetitions):
                for layout in LAYOUTS if number % 2 else LAYOUTS[::-1]:
                    taken = passes(policy, layout, given, options.micro_batch_tokens).seconds
                    if number >= options.warm_ups:
                        times[layout].append(taken)
            flat, tree = (statistics.median(times[layout]) for layout in LAYOUTS)
            megabytes = [memory(options, layout, sharing, suffix, rows) for layout in LAYOUTS]
            print(f"{sharing:4g}{rows:4d}{shared:7d}{suffix:6d}{flat:9.2f}{tree:9.2f}", end="")
            print(f"{tree / flat:8.3f}{1 / (0.8 * sharing):8.3f}{megabytes[0]:9.0f}{megabytes[1]:9.0f}", flush=True)


if __name__ == "__main__":
    main()
