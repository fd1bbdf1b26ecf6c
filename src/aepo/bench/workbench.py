"""Measures each part on a loaded model; parts that would take too long are shortened."""

from __future__ import annotations

import torch
import transformers

from aepo.bench.agreement import agreement
from aepo.bench.cost import CostMeter
from aepo.bench.parts import GROUPS, TRAJECTORIES, BenchPart, Described, Measured
from aepo.bench.sampling import WARM_UP, generated, pushed, random_prompts, sampled
from aepo.bench.subject import Subject, free_bytes, load
from aepo.bench.training import TrainingStep, made_up
from aepo.engines.local.load import device_named
from aepo.engines.local.shape import shape_from
from aepo.training.batch import Batch
from aepo.training.eight_bit import rule_of
from aepo.training.optimizer import AdamW

TRIAL = 2 * WARM_UP
"""Tokens of a first try, which also warms up."""
LEAST = 4
"""Tokens that a trajectory of the first training step has alone."""


class Workbench:
    """Loads a model and measures parts on it.

    Args:
        subject: The model.

    Raises:
        ValueError: The model cannot be loaded, or memory is too small for its weights.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, self.config = subject, subject.config
        device = device_named(self.config.model.device)
        self._free = free_bytes(device)
        self.meter = CostMeter(device)
        self.policy = load(subject, device)

    def described(self) -> Described:
        """The model and the machine."""
        policy, device = self.policy, self.policy.device
        on_cpu = device.type == "cpu"
        return Described(
            name=self.subject.name,
            shape=shape_from(policy.model.config),
            trained=sum(parameter.numel() for parameter in policy.parameters()),
            dtype=str(policy.model.dtype).removeprefix("torch."),
            device="CPU" if on_cpu else torch.cuda.get_device_name(device),
            on_cpu=on_cpu,
            free=self._free,
            threads=torch.get_num_threads(),
            packages=f"torch {torch.__version__}, transformers {transformers.__version__}",
            model=policy.model.config,
        )

    def measure(self, part: BenchPart, seconds: float) -> Measured:
        """Measure a part.

        Args:
            part: The part.
            seconds: The time that it should take at most. Training on the tree is not shortened, so that it reads the
                same trajectories as the flat step.
        """
        if part.kind == "sampling":
            return self._sampling(part, seconds)
        if part.kind == "generate":
            return self._generate(part, seconds)
        if part.trains:
            return self._training(part, seconds)
        temperature = self.config.rollout.temperature
        if part.kind == "push":
            prompts = self._prompts(part)
            return Measured(part, figures=pushed(self.policy.sampler, prompts, temperature))
        return Measured(part, figures=agreement(self.policy, part.rows, part.prompt, part.tokens, temperature))

    def _prompts(self, part: BenchPart) -> torch.Tensor:
        return random_prompts(len(self.policy.tokenizer), part.rows, part.prompt)

    def _sampling(self, part: BenchPart, seconds: float) -> Measured:
        given = (self.policy.sampler, self._prompts(part))
        temperature = self.config.rollout.temperature
        cost, step = sampled(*given, min(TRIAL, part.tokens), temperature, self.meter)
        least = cost.seconds
        # The time that is left after the try and the prompts, in steps.
        steps = int((seconds - least - max(0.0, least - TRIAL * step)) / step)
        part, note = _shortened(part, max(TRIAL, steps))
        if part.tokens > TRIAL:
            cost, step = sampled(*given, part.tokens, temperature, self.meter)
        speed = part.rows * part.tokens / cost.seconds
        figures = {"tokens_per_second": speed, "step_seconds": step, "seconds": cost.seconds, "least_seconds": least}
        return Measured(part, figures=figures, peak=cost.peak, note=note)

    def _generate(self, part: BenchPart, seconds: float) -> Measured:
        given, temperature = (self.policy.model, self._prompts(part)), self.config.rollout.temperature
        cost, tokens = generated(*given, WARM_UP, temperature, self.meter, seconds)
        least = cost.seconds
        if seconds > 2 * least:
            cost, tokens = generated(*given, part.tokens, temperature, self.meter, seconds - least)
        part, note = _shortened(part, tokens)
        speed = part.rows * part.tokens / cost.seconds
        figures = {"tokens_per_second": speed, "seconds": cost.seconds, "least_seconds": least}
        return Measured(part, figures=figures, peak=cost.peak, note=note)

    def _training(self, part: BenchPart, seconds: float) -> Measured:
        settings = self.config.train.model_copy(update={"layout": part.kind})
        small = self._batch(part.with_tokens(min(LEAST, part.tokens)))
        note = ""
        with self.meter.cost() as first:
            optimizer = AdamW(
                self.policy.parameters(), 0.0, rule=rule_of(self.config.train.optimizer, self.policy.device)
            )
            step = TrainingStep(self.policy, optimizer, settings, self.config.rollout.temperature)
            step(small)
        if part.kind == "flat":
            with self.meter.cost() as short:
                step(small)
            left = seconds - first.seconds - short.seconds
            # The step is made twice, and longer rows cost more per token.
            part, note = _shortened(part, max(LEAST, int(LEAST * left / 3 / short.seconds)))
        batch = self._batch(part)
        # Kernels may have to be compiled for this size.
        step(batch)
        with self.meter.cost() as cost:
            metrics = step(batch)
        passes = cost.seconds - metrics["optimizer_seconds"]
        read = part.rows * (part.prompt + part.tokens)
        figures = {"tokens_per_second": read / passes, "seconds": passes, "first_seconds": first.seconds}
        figures["optimizer_seconds"] = metrics["optimizer_seconds"]
        if "train/sharing" in metrics:
            figures["sharing"] = metrics["train/sharing"]
        return Measured(part, figures=figures, peak=cost.peak, note=note)

    def _batch(self, part: BenchPart) -> Batch:
        return made_up(len(self.policy.tokenizer), GROUPS, TRAJECTORIES, part.prompt, part.tokens)


def _shortened(part: BenchPart, tokens: int) -> tuple[BenchPart, str]:
    """A part of at most so many tokens, and a note about it."""
    if tokens >= part.tokens:
        return part, ""
    what = "trajectories have" if part.trains else "rows sampled"
    return part.with_tokens(tokens), f"for lack of time {what} {tokens} tokens, not {part.tokens}"
