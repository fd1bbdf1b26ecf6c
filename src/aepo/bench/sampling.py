"""Measures tokens per second of a sampler and of `transformers.generate`, and the seconds of a weight push."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from aepo.bench.cost import Cost, CostMeter
from aepo.core.noise import noise_key
from aepo.doctor.measure import grow
from aepo.process import event_loop
from aepo.rollout.generator import Generator, GeneratorSettings, GrowingSequence
from aepo.rollout.sampler import Sampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WARM_UP = 4
"""Tokens of each row before a decode step is timed; then the prompt is read and memory is allocated."""


def random_prompts(vocabulary: int, rows: int, length: int) -> Tensor:
    """(rows, length): random ids."""
    chance = torch.Generator().manual_seed(rows)
    return torch.randint(0, vocabulary, (rows, length), generator=chance)


def engine_for(sampler: Sampler, prompts: Tensor, tokens: int, temperature: float) -> Generator:
    """An engine with room for the rows and for so many more tokens in each."""
    rows, length = prompts.shape
    return sampler.generator(GeneratorSettings(temperature, rows, length + tokens))


def open_all(engine: Generator, prompts: Tensor) -> list[GrowingSequence]:
    """Open a sequence for each row."""
    return [engine.open(row, noise_key("bench", number)) for number, row in enumerate(prompts.tolist())]


def sampled(sampler: Sampler, prompts: Tensor, tokens: int, temperature: float, meter: CostMeter) -> tuple[Cost, float]:
    """Sample so many tokens in each row; there must be more than `WARM_UP`.

    Returns:
        The whole cost, prompts included, and the seconds of a decode step of all rows.
    """
    engine = engine_for(sampler, prompts, tokens, temperature)

    async def main() -> float:
        async with engine:
            opened = open_all(engine, prompts)
            await grow(engine, opened, WARM_UP)
            began = time.perf_counter()
            # Every step copies its tokens to the host, so the device has finished after the last one.
            await grow(engine, opened, tokens - WARM_UP)
            return (time.perf_counter() - began) / (tokens - WARM_UP)

    with meter.cost() as found:
        step = event_loop.run(main)
    return found, step


def generated(
    model: PreTrainedModel, prompts: Tensor, tokens: int, temperature: float, meter: CostMeter, seconds: float
) -> tuple[Cost, int]:
    """Sample with `transformers.generate`, which gives no log-probabilities and no entropies.

    Args:
        model: A causal LM.
        prompts: (rows, length), the ids of the prompts.
        tokens: The number of tokens to sample in each row.
        temperature: The temperature of sampling.
        meter: A meter on the model's device.
        seconds: The time after which it ends, with the tokens that it has.

    Returns:
        The cost, and the tokens that each row got.
    """
    ids = prompts.to(model.device)
    generate: Any = model.generate
    with meter.cost() as found, torch.inference_mode():
        out = generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=temperature,
            stopping_criteria=StoppingCriteriaList([_Deadline(time.perf_counter() + seconds)]),
        )
    return found, out.shape[1] - prompts.shape[1]


def pushed(sampler: Sampler, prompts: Tensor, temperature: float) -> dict[str, float]:
    """The seconds of handing weights over to a sampler with open sequences, until each has one more token."""
    engine = engine_for(sampler, prompts, WARM_UP + 1, temperature)

    async def main() -> tuple[float, float]:
        async with engine:
            opened = open_all(engine, prompts)
            await grow(engine, opened, WARM_UP)
            began = time.perf_counter()
            engine.pause()
            sampler.push(sampler.version + 1)
            engine.resume()
            handed = time.perf_counter()
            await grow(engine, opened, 1)
            return handed - began, time.perf_counter() - handed

    push, again = event_loop.run(main)
    return {"push_seconds": push, "next_token_seconds": again}


class _Deadline(StoppingCriteria):
    """Ends all rows at a given time."""

    def __init__(self, at: float) -> None:
        self._at = at

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        late = time.perf_counter() > self._at
        return torch.full((input_ids.shape[0],), late, device=input_ids.device, dtype=torch.bool)
