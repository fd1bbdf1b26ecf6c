"""Peak memory of optimizer steps on a CPU beside what `aepo doctor` says, for random Qwen3 models of 151,936 ids.

Each case is a process of its own, which makes the model, takes two steps of two forward passes each, and reads the most
memory that it held in the second one from Linux, less what it held before. With a variable of malloc, such as
MALLOC_ARENA_MAX=8, the package leaves freed memory to the C library, and the peak shows what that keeps.

python benchmarks/memory.py [--layers 8] [--hidden 512] [--tokens 2048] [--only bfloat16-tree]
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

MIB = 1 << 20
VOCABULARY = 151_936
TRAJECTORIES, RANK = 8, 16


@dataclass(frozen=True)
class Case:
    """What is trained: hidden width, layers, tokens of a pass, and the settings."""

    hidden: int
    layers: int
    tokens: int
    dtype: str
    layout: str
    lora: bool
    checkpointed: bool

    @property
    def name(self) -> str:
        """For the table."""
        extras = (" lora" if self.lora else "") + (" checkpointed" if self.checkpointed else "")
        return f"{self.dtype}-{self.layout}{extras}"

    def model_config(self, vocabulary: int = VOCABULARY) -> Any:
        """The configuration of transformers; heads are twice as wide as the residual stream, as in Qwen3-0.6B."""
        from transformers import Qwen3Config

        return Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            intermediate_size=3 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.hidden // 64,
            num_key_value_heads=self.hidden // 128,
            head_dim=128,
            max_position_embeddings=40_960,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )

    def settings(self) -> list[str]:
        """The configuration of a run."""
        return [
            f"model.dtype={self.dtype}",
            f"model.gradient_checkpointing={str(self.checkpointed).lower()}",
            *([f"model.lora={{rank: {RANK}}}"] if self.lora else []),
            f"train.layout={self.layout}",
            f"train.micro_batch_tokens={self.tokens}",
            "train.minibatches=1",
        ]


def status() -> dict[str, int]:
    """Bytes of this process, by Linux's names."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: 1024 * int(lines[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}


def measured(case: Case) -> int:
    """Bytes at the worst moment of the second step, by a run of it in this process."""
    # What is imported, and what kernels and threads keep, is there before anything is counted.
    trained(replace(case, hidden=128, layers=1, tokens=64), 1000)
    before = status()["RssAnon"]
    trained(case, VOCABULARY)
    now = status()
    return now["VmHWM"] - now["RssFile"] - before


def trained(case: Case, vocabulary: int) -> None:
    """Take two optimizer steps of two passes each, and let Linux forget the peak before the second."""
    import tokenizers
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from aepo import config as configuration
    from aepo.algorithms import AEPO
    from aepo.engines.local.adapters import Lora, add
    from aepo.engines.local.load import LoadedModel
    from aepo.engines.local.policy import LocalPolicy
    from aepo.training.batch import Batch
    from aepo.training.optimizer import AdamW
    from aepo.training.step import Learner, update

    torch.manual_seed(0)
    few = tokenizers.Tokenizer(tokenizers.models.WordLevel({"w0": 0, "w1": 1}, unk_token="w0"))
    words = PreTrainedTokenizerFast(tokenizer_object=few, pad_token="w0", eos_token="w1")
    # The policy asks for no more than the number of ids.
    words.__class__ = type("Words", (PreTrainedTokenizerFast,), {"__len__": lambda _: vocabulary})
    model = AutoModelForCausalLM.from_config(
        case.model_config(vocabulary), dtype=getattr(torch, case.dtype), attn_implementation="sdpa"
    )
    model = add(model, Lora(RANK)) if case.lora else model
    if case.checkpointed:
        model.activation_checkpointing_enable()
        if case.lora:
            model.enable_input_require_grads()
    policy = LocalPolicy(LoadedModel(model.eval(), words, "random", torch.device("cpu")))
    # Two groups, each of which fills a pass; half of a flat trajectory is shared.
    rows, flat = 2 * TRAJECTORIES, case.layout == "flat"
    length = case.tokens // TRAJECTORIES + 1
    shared = length // 2 if flat else 16
    length = length if flat else shared + (case.tokens - shared) // TRAJECTORIES + 1
    tokens_BT = torch.randint(0, vocabulary, (rows, length))
    tokens_BT.view(2, TRAJECTORIES, length)[:, :, :shared] = tokens_BT.view(2, TRAJECTORIES, length)[
        :, :1, :shared
    ].clone()
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[:, 0] = 0
    old_BT = -12.0 * mask_BT
    groups_B = torch.arange(rows) // TRAJECTORIES
    advantages_BT = torch.randn(rows, 1) * mask_BT
    batch = Batch(tokens_BT, mask_BT, old_BT, -old_BT, advantages_BT, groups_B, groups_B * 0 + length)
    optimizer = AdamW(policy.parameters(), 1e-6)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
    settings = configuration.load(None, case.settings()).train
    learner = Learner(policy, optimizer, schedule, AEPO(), settings)
    for _ in range(2):
        Path("/proc/self/clear_refs").write_text("5")
        update(learner, batch, random.Random(0))


def estimated(case: Case) -> int:
    """What `aepo doctor` says of it."""
    import torch

    from aepo import config as configuration
    from aepo.doctor.training_memory import training_memory

    settings = configuration.load(None, case.settings()).model
    need = training_memory(case.model_config(), settings, getattr(torch, case.dtype), case.tokens)
    return need.weights + need.held + need.worst


def main() -> None:
    """Measure the cases, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--only", default="")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(measured(Case(**json.loads(options.case))))
        return
    choices = (("bfloat16", "float32"), ("tree", "flat"), (False, True), (False, True))
    for dtype, layout, lora, checkpointed in itertools.product(*choices):
        case = Case(options.hidden, options.layers, options.tokens, dtype, layout, lora, checkpointed)
        if options.only not in case.name:
            continue
        command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-2000:])
            continue
        peak, told = int(done.stdout), estimated(case)
        print(f"{case.name:36} {peak / MIB:8.0f} MiB {told / MIB:8.0f} estimated {told / peak - 1:+7.1%}", flush=True)


if __name__ == "__main__":
    main()
