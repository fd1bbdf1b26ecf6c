"""TRL's side of `against_trl.py`: GRPO of a task with tools under `GRPOTrainer`, as a user of TRL would write it.

`GRPOTrainer(tools=...)` needs a chat template that renders tool calls. A model that was trained on another protocol,
such as the tags of this package's model, takes `rollout_func`: generate, run the tools, append their results, mark
them in `env_mask`, generate on, as TRL's own tool loop does it.

Better than that loop, so that TRL loses nothing by our hand: the tools of a turn run at the same time, and a row stops
at its own limit of tokens. Left as TRL has it: each turn reads its trajectory again (`generate` starts with an empty
cache), micro-batches are padded to the longest trajectory of the step, and log-probabilities under the policy that
sampled are computed by a forward pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import anyio
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from aepo.config import Config
from aepo.rollout.chat import ChatProtocol, ParsedTurn, make_protocol
from aepo.rollout.together import run_together
from aepo.tasks.base import Task
from aepo.types import Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, Trajectory


@dataclass
class Row:
    """A trajectory while it grows.

    Attributes:
        sample: The question.
        prompt: Its tokens.
        completion: Tokens after the prompt, observations included.
        mask: 1 where the policy wrote the token of `completion`.
        calls: Tool calls so far.
        turn: What the last turn said.
    """

    sample: Sample
    prompt: list[int]
    completion: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    calls: int = 0
    turn: ParsedTurn = field(default_factory=ParsedTurn)

    def write(self, tokens: Sequence[int], trained: int) -> None:
        """Append tokens of the policy (1) or of a tool (0)."""
        self.completion += tokens
        self.mask += [trained] * len(tokens)


class Room(StoppingCriteria):
    """Ends each row of a batch at its own number of new tokens."""

    def __init__(self, width: int, room_B: Tensor) -> None:
        self.width, self.room_B = width, room_B

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """(B,): whether the row has ended."""
        return input_ids.shape[1] - self.width >= self.room_B.to(input_ids.device)


class Rollout:
    """`rollout_func`: all trajectories of a step, turn by turn, those that go on in one batch.

    Attributes:
        seconds: Of each rollout, rewards included.
        tokens: Mean tokens of a trajectory after the prompt, of each rollout.
        rewards: Mean reward of each rollout.
    """

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase, config: Config) -> None:
        self.task, self.settings = task, config.rollout
        self.tools = {tool.name: tool for tool in task.tools}
        self.protocol: ChatProtocol = make_protocol(config.rollout.protocol, tokenizer, task.tools, task.system)
        self.tokenizer = tokenizer
        self.samples = {sample.question: sample for sample in task.samples}
        self.seconds: list[float] = []
        self.tokens: list[float] = []
        self.rewards: list[float] = []

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """One trajectory a prompt; TRL has repeated each for its group."""
        began = time.perf_counter()
        samples = [self.samples[prompt] for prompt in prompts]
        rows = [Row(sample, self.protocol.prompt(sample.question)) for sample in samples]
        going = rows
        while going:
            for row, tokens in zip(going, self._sample(trainer.model, going), strict=True):
                row.write(tokens, 1)
                row.turn = self.protocol.parse(tokens) if self._stopped(tokens) else ParsedTurn()
            calling = [row for row in going if 0 < len(row.turn.calls) <= self.settings.max_tool_calls - row.calls]
            answers = anyio.run(self._answers, [row.turn.calls for row in calling])
            going = [row for row, results in zip(calling, answers, strict=True) if self._observe(row, results)]
        rewards = [self.task.reward(row.sample, _trajectory(row)) for row in rows]
        self.seconds.append(time.perf_counter() - began)
        self.tokens.append(sum(len(row.completion) for row in rows) / len(rows))
        self.rewards.append(sum(rewards) / len(rows))
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "env_mask": [row.mask for row in rows],
            "logprobs": None,  # with a transformers model TRL computes them itself
            "reward": rewards,
        }

    def _sample(self, model: PreTrainedModel, rows: Sequence[Row]) -> list[list[int]]:
        """The next turn of each row."""
        pad = self.tokenizer.pad_token_id
        tokens = [row.prompt + row.completion for row in rows]
        width = max(map(len, tokens))
        tokens_BT = torch.tensor([[pad] * (width - len(row)) + row for row in tokens])
        mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in tokens])
        room_B = torch.tensor([self.settings.max_tokens - len(row.completion) for row in rows])
        strings = list(self.protocol.stop.strings)
        with torch.no_grad():
            out_BT = model.generate(
                tokens_BT.to(model.device),
                attention_mask=mask_BT.to(model.device),
                max_new_tokens=int(room_B.max()),
                stopping_criteria=[Room(width, room_B)],
                eos_token_id=sorted(self.protocol.stop.tokens),
                pad_token_id=pad,
                do_sample=True,
                temperature=self.settings.temperature,
                top_k=0,
                top_p=1.0,
                **({"stop_strings": strings, "tokenizer": self.tokenizer} if strings else {}),
            )
        return [_without_padding(row, pad) for row in out_BT[:, width:].tolist()]

    def _stopped(self, tokens: Sequence[int]) -> bool:
        stop = self.protocol.stop
        if tokens and tokens[-1] in stop.tokens:
            return True
        return bool(stop.strings) and any(s in self.tokenizer.decode(tokens) for s in stop.strings)

    async def _answers(self, turns: Sequence[Sequence[ToolCall]]) -> list[Sequence[ToolResult]]:
        """The results of the calls of several rows' turns, all made at the same time."""
        answers: dict[int, Sequence[ToolResult]] = {}

        async def answer(at: int, calls: Sequence[ToolCall]) -> None:
            answers[at] = await run_together(self.tools, calls, walk=[])

        async with anyio.create_task_group() as group:
            for at, calls in enumerate(turns):
                group.start_soon(answer, at, calls)
        return [answers[at] for at in range(len(turns))]

    def _observe(self, row: Row, results: Sequence[ToolResult]) -> bool:
        """Append a turn's results; False if they leave no room to go on, and the row ends without them."""
        row.calls += len(results)
        tokens = self.protocol.observation(results, row.turn.calls, row.completion)
        row.turn = ParsedTurn()
        if len(row.completion) + len(tokens) >= self.settings.max_tokens:
            return False
        row.write(tokens, 0)
        return True


class StepClock(TrainerCallback):
    """When training began, and when the last optimizer step of each rollout ended.

    Attributes:
        times: Wall time, seconds.
        processor_times: Processor time of this process, seconds.
    """

    def __init__(self, optimizer_steps: int) -> None:
        self.optimizer_steps = optimizer_steps
        self.times: list[float] = []
        self.processor_times: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the begin."""
        self._note()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the last of a rollout's optimizer steps."""
        if state.global_step % self.optimizer_steps == 0:
            self._note()

    def _note(self) -> None:
        self.times.append(time.perf_counter())
        self.processor_times.append(time.process_time())


def given_reward(reward: list[float], **kwargs: Any) -> list[float]:
    """TRL's reward function: what the rollout found."""
    return reward


def make_trainer(
    model: PreTrainedModel, rollout: Rollout, clock: StepClock, config: Config, steps: int, micro_batch_rows: int
) -> GRPOTrainer:
    """`GRPOTrainer` under the settings of a run of ours, without logs and checkpoints.

    Args:
        model: Trained in place.
        rollout: Its `rollout_func`.
        clock: Told of every optimizer step.
        config: Questions, group size, limits, minibatches.
        steps: Rollouts.
        micro_batch_rows: Trajectories of a forward pass; divides those of a minibatch.
    """
    count, minibatches = config.rollout.questions, config.train.minibatches
    rows = count * config.algorithm.group_size
    if rows % (minibatches * micro_batch_rows):
        raise ValueError(f"{rows} trajectories are not whole micro-batches of {micro_batch_rows} x {minibatches}")
    arguments = GRPOConfig(
        output_dir="unused",
        use_cpu=model.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=config.model.gradient_checkpointing,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        loss_type="grpo",
        num_generations=config.algorithm.group_size,
        max_completion_length=config.rollout.max_tokens,
        temperature=config.rollout.temperature,
        max_steps=steps * minibatches,
        per_device_train_batch_size=micro_batch_rows,
        gradient_accumulation_steps=rows // minibatches // micro_batch_rows,
        steps_per_generation=rows // micro_batch_rows,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return GRPOTrainer(
        model,
        given_reward,
        arguments,
        Dataset.from_dict({"prompt": [sample.question for sample in rollout.task.samples[: steps * count]]}),
        processing_class=rollout.tokenizer,
        callbacks=[clock],
        rollout_func=rollout,
    )


def _without_padding(tokens: list[int], pad: int) -> list[int]:
    """Tokens without the padding that `generate` puts behind rows that have ended."""
    end = len(tokens)
    while end > 1 and tokens[end - 1] == pad:
        end -= 1
    return tokens[:end]


def _trajectory(row: Row) -> Trajectory:
    """What a reward of ours reads."""
    reason = StopReason.ANSWER if row.turn.answer is not None else StopReason.END
    leaf = Leaf(0, 0, Origin.GLOBAL, reason, row.turn.answer, row.turn.error)
    tokens, mask = row.prompt + row.completion, [0] * len(row.prompt) + row.mask
    return Trajectory(row.sample, tokens, mask, [], [], len(row.prompt), [], [], leaf)
