"""Whether the trainer and the server fit on their GPUs; all in bytes, and nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass

CUDA = 1 << 30
"""What CUDA takes in each process beside tensors; in vLLM's also its passes and graphs. Assumed, not measured."""
STEP = 0.05
"""Shares that are advised are multiples of it."""


@dataclass(frozen=True)
class Need:
    """What a run has and what it needs, in bytes.

    Attributes:
        trainer_gpu: Memory of the trainer's GPU.
        server_gpu: Memory of each of the server's; the trainer's if they share it.
        shared: Whether they share it.
        sleeps: Whether the server gives its memory back while the trainer works.
        share: What it takes of its GPU, from 0 to 1.
        held: What the trainer holds in the rollout too: weights, gradients and optimizer.
        working: What a training pass takes besides.
        weights: The size of the served model on each of the server's GPUs.
        trajectory: Keys and values there of one trajectory of the largest length.
        adapters: Whether adapters are all that is trained.
        checkpointed: Whether activations are computed again in the backward pass.
    """

    trainer_gpu: int
    server_gpu: int
    shared: bool
    sleeps: bool
    share: float
    held: int
    working: int
    weights: int
    trajectory: int
    adapters: bool = False
    checkpointed: bool = False

    @property
    def taken(self) -> int:
        """What the server takes when it is awake."""
        return int(self.share * self.server_gpu)

    @property
    def in_rollout(self) -> int:
        """What is held on the trainer's GPU while the server samples."""
        return self.held + CUDA + (self.taken if self.shared else 0)

    @property
    def in_training(self) -> int:
        """What is held there while the trainer works."""
        beside = 0 if not self.shared else CUDA if self.sleeps else self.taken
        return self.held + self.working + CUDA + beside

    @property
    def trajectories(self) -> int:
        """Whole trajectories that the server's cache holds at once, if they share nothing."""
        return max(0, self.taken - self.weights - CUDA) // self.trajectory

    @property
    def most(self) -> float:
        """The largest share that leaves room for what the trainer holds."""
        left = self.server_gpu - (self.held + CUDA if self.shared else 0)
        if self.shared and not self.sleeps:
            left -= self.working
        return min(0.9, max(0, int(left / self.server_gpu / STEP + 1e-9)) * STEP)


def misfit(need: Need) -> tuple[str, str] | None:
    """What does not fit, and the settings to change, each in one line; None if all fits."""
    least = need.weights + need.trajectory + CUDA
    lighter = [] if need.adapters else ["set model.lora"]
    own = "give vLLM a GPU of its own (vllm.devices)"
    alone = need.held + need.working + CUDA * (2 if need.shared and need.sleeps else 1)
    if alone > need.trainer_gpu:
        ways = ["lower train.micro_batch_tokens and rollout.max_tokens"]
        ways += [*([] if need.checkpointed else ["set model.gradient_checkpointing: true"]), *lighter]
        return _line("the trainer needs", alone, "its GPU", need.trainer_gpu, ways)
    if need.taken < least:
        if need.most * need.server_gpu >= least:
            ways = [f"raise vllm.gpu_memory_utilization to at most {need.most:.2f}", "lower rollout.max_tokens"]
        else:
            # With more room beside the trainer a larger share would do.
            ways = [
                "lower rollout.max_tokens",
                *([*lighter, own] if need.shared else ["raise vllm.tensor_parallel_size"]),
            ]
        told = "vLLM needs, for its weights and the cache of one trajectory,"
        return _line(told, least, f"the share {need.share:.2f} of its GPU", need.taken, ways)
    together = max(need.in_rollout, need.in_training)
    if together > need.trainer_gpu:
        ways = [f"set vllm.gpu_memory_utilization to at most {need.most:.2f}"] if need.most else []
        ways += [*([] if need.sleeps else ["set vllm.enable_sleep_mode: true"]), *lighter, own]
        return _line("vLLM and the trainer need together", together, "their GPU", need.trainer_gpu, ways)
    return None


def gib(number: float) -> str:
    """Bytes for people."""
    return f"{number / 2**30:.1f} GiB"


def _line(told: str, needed: int, where: str, there: int, ways: list[str]) -> tuple[str, str]:
    *most, last = ways
    return f"{told} {gib(needed)}, and {where} has {gib(there)}", f"{', '.join(most)}{', or ' if most else ''}{last}"
