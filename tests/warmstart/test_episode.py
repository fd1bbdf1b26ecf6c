"""Episodes become rows in which the policy's text alone is trained."""

from __future__ import annotations

import random

from aepo.warmstart.episode import Episode, Segment, encode, episode_batches
from aepo.warmstart.tokenizer import train_tokenizer


def test_only_policy_text_is_trained_on() -> None:
    tokenizer = train_tokenizer(["What is the capital of Spain?"] * 50, ["search", "result"], 420)
    segments = [Segment("policy", "<search> Spain</search>"), Segment("observation", "<result>- x</result>")]
    ids, mask = encode(tokenizer, Episode("What is the capital of Spain?", segments))
    trained = tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m])
    assert trained == "<search> Spain</search>"
    assert len(ids) == len(mask)


def test_a_batch_has_episodes_of_similar_length_and_no_loss_on_its_padding() -> None:
    tokenizer = train_tokenizer(["one two three"] * 50, ["go"], 420)
    rng = random.Random(0)

    def draw() -> Episode:
        return Episode("one two", [Segment("policy", "<go> three</go>")] * rng.randrange(1, 40))

    batches = episode_batches(tokenizer, draw, 8, rng)
    widths = set()
    for _ in range(8):
        ids, mask = next(batches)
        assert ids.shape == mask.shape and len(ids) == 8
        assert not mask[ids == tokenizer.pad_token_id].any()
        widths.add(ids.shape[1])
        assert (mask.sum(1) > ids.shape[1] / 3).all(), "no row is mostly padding"
    assert len(widths) > 2
