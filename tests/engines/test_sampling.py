from __future__ import annotations

import numpy as np
import pytest
import torch

from aepo.core.noise import noise_key, uniforms
from aepo.engines.local.sampling import draw, sums_on

KEYS = np.array([noise_key("chi-square", i) for i in range(40_000)], dtype=np.uint64)


@pytest.mark.parametrize("temperature", [0.7, 1.3])
@pytest.mark.parametrize("size", [12, 150])
def test_tokens_are_distributed_as_the_softmax_low_probabilities_included(temperature, size):
    logits = 2.5 * torch.randn(size, generator=torch.Generator().manual_seed(size))
    chance = torch.from_numpy(uniforms(KEYS, np.full(len(KEYS), 17)))
    drawn = draw(logits.expand(len(KEYS), size), chance, temperature)
    expected = torch.softmax(logits.double() / temperature, -1).numpy() * len(KEYS)
    seen = np.bincount(drawn.tokens, minlength=size)
    rare = expected < 5
    statistic = ((seen[~rare] - expected[~rare]) ** 2 / expected[~rare]).sum()
    freedom = int((~rare).sum()) - 1
    if rare.any():
        # Pooled: alone they are too few for the statistic, together they must come up as often as they should.
        assert abs(seen[rare].sum() - expected[rare].sum()) < 4 * np.sqrt(expected[rare].sum()) + 1
    # Five standard deviations of a chi-square.
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [3, 64, 65, 1000])
def test_a_token_is_the_inverse_of_the_cumulative_distribution(size):
    logits = 3 * torch.randn(500, size, generator=torch.Generator().manual_seed(size))
    chance = torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    tokens = torch.tensor(draw(logits, chance).tokens)
    above = cumulative.gather(1, tokens[:, None])[:, 0]
    below = above - torch.softmax(logits.double(), -1).gather(1, tokens[:, None])[:, 0]
    assert ((below - 1e-6 <= chance) & (chance <= above + 1e-6)).all()


def test_the_ends_of_the_unit_interval_never_take_a_token_of_no_probability():
    logits = torch.full((2, 200), -torch.inf)
    logits[:, 70:72] = 1.0
    drawn = draw(logits, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    assert drawn.tokens == [70, 71]
    assert np.allclose(drawn.logprobs, -np.log(2)) and np.allclose(drawn.entropies, np.log(2))


def test_large_logits_and_low_temperatures_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0], [3e38, -3e38, 0.0]])
    drawn = draw(logits, torch.full((2,), 0.5, dtype=torch.float64), 1e-3)
    assert drawn.tokens == [0, 0] and drawn.entropies == [0.0, 0.0] and drawn.logprobs == [0.0, 0.0]


def test_nan_logits_are_refused():
    logits = torch.zeros(3, 5)
    logits[1, 2] = torch.nan
    with pytest.raises(FloatingPointError, match="1 of 3 rows"):
        draw(logits, torch.full((3,), 0.5, dtype=torch.float64))


def test_rows_are_drawn_alike_in_pieces(monkeypatch) -> None:
    logits, chance = torch.randn(7, 50), torch.rand(7, dtype=torch.float64)
    whole = draw(logits, chance, 0.7, reference=True)
    monkeypatch.setattr("aepo.engines.local.sampling.PIECE_BYTES", 3 * 4 * 50)
    assert draw(logits, chance, 0.7, reference=True) == whole


def test_float64_stays_where_it_exists():
    assert sums_on(torch.device("mps")) == torch.device("cpu")
    assert sums_on(torch.device("cuda:1")) == torch.device("cuda:1")
