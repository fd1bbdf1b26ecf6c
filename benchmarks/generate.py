"""Tokens per second of the local engine beside `transformers.generate`: same model, prompts, lengths, threads.

Both sample from the full vocabulary at T = 1 and never stop early; ours also records exact log-probabilities and
entropies. The two alternate, and each number is the median of the repetitions.

The floor is what no engine with these weights and this precision can beat: each step's matrix products, repeated by
themselves, with all they need in the processor's caches, and after them the keys and values of all rows, read once at
the speed of memory. No sampling, no norm, no softmax, no Python.

    python benchmarks/generate.py --rows 8 32 64 --tokens 128 --threads 1
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Callable

import numpy
import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aepo.core.noise import noise_key
from aepo.engines.local import GeneratorSettings, LocalGenerator
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.rollout.generator import Stop

REPEATED = 20


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        default=str(BUILT_IN_MODELS["atlas"]),
        help="a folder (the package's own), or 'random': a Llama of 2.2 M parameters",
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=128, help="tokens sampled in each row")
    parser.add_argument("--hidden", type=int, default=192, help="width of the random model, a multiple of 64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that others use")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.model == "random":
        model, tokenizer = random_model(args.hidden)
    else:
        model = AutoModelForCausalLM.from_pretrained(args.model, attn_implementation="sdpa").eval()
        tokenizer = AutoTokenizer.from_pretrained(args.model)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{type(model).__name__}, {size:.2f} M parameters, vocabulary {len(tokenizer)}, {model.dtype} on {model.device}"
    )
    print(f"prompt {args.prompt}, sampled {args.tokens} a row; {args.threads} thread(s), {args.clock} clock")
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}", end=", ")
    print(f"transformers {transformers.__version__}, numpy {numpy.__version__}\n")
    print(f"{'rows':>5} {'ours tok/s':>12} {'generate tok/s':>15} {'ratio':>6} {'floor tok/s':>12} {'floor ratio':>12}")
    for rows in args.rows:
        prompts = torch.randint(0, len(tokenizer), (rows, args.prompt))
        settings = GeneratorSettings(max_sequences=rows, max_length=args.prompt + args.tokens)
        engine = LocalGenerator(model, tokenizer, settings)
        ours(engine, prompts, 8, clock)
        theirs(model, prompts, 8, clock)
        times: list[tuple[float, float]] = []
        for _ in range(args.repetitions):
            times.append((ours(engine, prompts, args.tokens, clock), theirs(model, prompts, args.tokens, clock)))
        a, b = (rows * args.tokens / statistics.median(column) for column in zip(*times, strict=True))
        best = rows / floor(model, rows, args.prompt + args.tokens // 2, clock)
        print(f"{rows:>5} {a:>12,.0f} {b:>15,.0f} {a / b:>6.2f} {best:>12,.0f} {best / b:>12.2f}", flush=True)


def random_model(hidden: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A Llama of 4 layers with heads of 64, and a tokenizer of one word an id."""
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=4,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(2048)}, unk_token="w0"))
    return LlamaForCausalLM(config).eval(), PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0")


def ours(engine: LocalGenerator, prompts: torch.Tensor, tokens: int, clock: Callable[[], float]) -> float:
    """Seconds for one batch."""

    async def run() -> int:
        async with engine:
            opened = [engine.open(p, noise_key("row", i)) for i, p in enumerate(prompts.tolist())]
            sampled = await asyncio.gather(*(engine.sample(s, tokens, Stop()) for s in opened))
        return sum(len(s.tokens) for s in sampled)

    begin = clock()
    count = asyncio.run(run())
    seconds = clock() - begin
    assert count == prompts.shape[0] * tokens, "a row ended early"
    return seconds


def theirs(model: LlamaForCausalLM, prompts: torch.Tensor, tokens: int, clock: Callable[[], float]) -> float:
    """Seconds for the same batch."""
    # Any end token of the model is switched off, so that no row ends early and no processor has to forbid it.
    model.generation_config.eos_token_id = None
    begin = clock()
    out = model.generate(
        prompts.to(model.device),
        attention_mask=torch.ones_like(prompts, device=model.device),
        max_new_tokens=tokens,
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
    )
    seconds = clock() - begin
    assert out.shape[1] == prompts.shape[1] + tokens, "a row ended early"
    return seconds


@torch.inference_mode()
def floor(model: LlamaForCausalLM, rows: int, length: int, clock: Callable[[], float]) -> float:
    """Seconds that one step of `rows` rows, each with `length` positions, takes at least."""
    head = model.get_output_embeddings().weight
    products = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear) and m.weight is not head] + [head]
    inputs = {width: torch.randn(rows, width) for width in {weight.shape[1] for weight in products}}
    config = model.config.get_text_config()
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * rows * length
    # Larger than any cache, so that it comes from memory.
    memory = torch.zeros(max(values, 64_000_000))

    def multiply() -> None:
        for weight in products:
            for _ in range(REPEATED):
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    reading = median_seconds(lambda: memory.sum(), clock) * values / memory.numel()
    return median_seconds(multiply, clock) / REPEATED + reading


def median_seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """The median of nine calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(9):
        begin = clock()
        call()
        seconds.append(clock() - begin)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
