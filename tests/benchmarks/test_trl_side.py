"""TRL's side of `benchmarks/against_trl.py`: what its rollout hands to the trainer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aepo.assembly.policies import load_policy
from aepo.config import Config
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.rewards import exact, with_format
from aepo.tasks.base import Task
from aepo.tools.base import tool
from aepo.types import Sample

pytest.importorskip("trl")
if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
    pytest.skip(
        "the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it", allow_module_level=True
    )

from benchmarks import trl_side

ONE = "<search>One</search>"
RESULT = "<result>found One</result>"


@tool
def search(query: str) -> str:
    """Search.

    Args:
        query: What for.
    """
    return f"found {query}"


class Scripted:
    """Answers each call of `generate` with the next turn of each row, which is padded as `generate` does it."""

    device = torch.device("cpu")

    def __init__(self, tokenizer: Any, turns: list[list[str]]) -> None:
        self.tokenizer, self.turns = tokenizer, turns
        self.read: list[list[str]] = []

    def generate(self, tokens_BT: Tensor, attention_mask: Tensor, pad_token_id: int, **settings: Any) -> Tensor:
        """(B, T + new)."""
        rows = [row[mask.bool()] for row, mask in zip(tokens_BT, attention_mask, strict=True)]
        self.read.append([self.tokenizer.decode(row) for row in rows])
        new = [self.tokenizer.encode(text, add_special_tokens=False) for text in self.turns.pop(0)]
        width = max(map(len, new))
        new_BT = torch.tensor([row + [pad_token_id] * (width - len(row)) for row in new])
        return torch.cat([tokens_BT, new_BT], dim=1)


def rolled(turns: list[list[str]], max_tokens: int = 64) -> tuple[dict[str, Any], Scripted, Any]:
    tokenizer = load_policy("atlas").tokenizer
    samples = [Sample("What is One?", "1"), Sample("Is it Two or Three?", "2")]
    task = Task("tiny", samples, [search], with_format(exact), system="")
    config = Config.model_validate({"rollout": {"max_tokens": max_tokens, "max_tool_calls": 2}})
    model = Scripted(tokenizer, turns)
    rollout = trl_side.Rollout(task, tokenizer, config)
    return rollout([s.question for s in samples], SimpleNamespace(model=model)), model, tokenizer


def test_the_mask_marks_exactly_what_tools_wrote() -> None:
    answer = "<answer>1</answer>"
    given, model, tokenizer = rolled([[ONE, "<answer>2</answer>"], [answer]])

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    completions = [tokenizer.decode(tokens) for tokens in given["completion_ids"]]
    assert completions == [ONE + RESULT + answer, "<answer>2</answer>"]
    assert given["env_mask"][0] == [1] * count(ONE) + [0] * count(RESULT) + [1] * count(answer)
    assert given["env_mask"][1] == [1] * count("<answer>2</answer>")
    assert given["reward"] == [1.0, 1.0]
    prompts = [tokenizer.decode(tokens) for tokens in given["prompt_ids"]]
    assert model.read == [prompts, [prompts[0] + ONE + RESULT]]


def test_a_result_that_leaves_no_room_ends_the_trajectory_without_it() -> None:
    room = len(load_policy("atlas").tokenizer.encode(ONE + RESULT, add_special_tokens=False))
    given, _, tokenizer = rolled([[ONE, "<answer>2</answer>"]], max_tokens=room)
    assert tokenizer.decode(given["completion_ids"][0]) == ONE
    assert set(given["env_mask"][0]) == {1}
    assert given["reward"] == [-1.0, 1.0]


def test_the_call_over_the_limit_is_not_made() -> None:
    given, _, tokenizer = rolled([[ONE, "<answer>2</answer>"], [ONE], [ONE]])
    assert tokenizer.decode(given["completion_ids"][0]) == (ONE + RESULT) * 2 + ONE
    assert given["reward"][0] == -1.0


def test_each_row_ends_at_its_own_limit() -> None:
    ended = trl_side.Room(width=5, room_B=torch.tensor([2, 3]))
    assert ended(torch.zeros(2, 7), torch.zeros(2, 9)).tolist() == [True, False]
