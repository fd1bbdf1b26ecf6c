"""Demonstrations as the model is trained on them: pieces of text by the policy and by its tools, in padded batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

POOL = 16
"""Number of batches that are drawn at once, so that episodes of similar length get into one."""


@dataclass(frozen=True)
class Segment:
    """A piece of text by one writer."""

    writer: Literal["policy", "observation"]
    text: str


@dataclass(frozen=True)
class Episode:
    """One attempt at a question.

    Attributes:
        prompt: The text of the user's message.
        segments: The turns of the policy and the results of its tools, in their order.
    """

    prompt: str
    segments: Sequence[Segment]


def encode(tokenizer: PreTrainedTokenizerFast, episode: Episode) -> tuple[list[int], list[int]]:
    """Encode an episode as ids and mask (1 on the policy's text); each segment is encoded alone, as in a rollout."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": episode.prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    mask = [0] * len(ids)
    for segment in episode.segments:
        piece = tokenizer.encode(segment.text, add_special_tokens=False)
        ids += piece
        mask += [int(segment.writer == "policy")] * len(piece)
    return ids, mask


def episode_batches(
    tokenizer: PreTrainedTokenizerFast, draw: Callable[[], Episode], rows: int, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield padded batches (ids, mask) of shape (rows, length) without end; lengths within a batch are similar.

    Args:
        tokenizer: The model's tokenizer.
        draw: A function that writes the next episode.
        rows: Number of episodes in a batch.
        rng: Decides the order of batches.
    """
    while True:
        episodes = sorted((encode(tokenizer, draw()) for _ in range(rows * POOL)), key=lambda e: len(e[0]))
        batches = [episodes[i : i + rows] for i in range(0, len(episodes), rows)]
        rng.shuffle(batches)
        for batch in batches:
            width = max(len(ids) for ids, _ in batch)
            ids = torch.full((rows, width), tokenizer.pad_token_id, dtype=torch.long)
            mask = torch.zeros(rows, width, dtype=torch.bool)
            for row, (tokens, written) in enumerate(batch):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                mask[row, : len(tokens)] = torch.tensor(written, dtype=torch.bool)
            yield ids, mask
