import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.noise import noise_key, uniform, uniforms

words = st.integers(0, 2**64 - 1)
KEY, FIRST, SECOND = 1175228779199878877, 0.9156733431965799, 0.048876375903675884


@given(st.lists(st.tuples(words, st.integers(0, 2**40)), min_size=1, max_size=20))
def test_arrays_and_scalars_agree_bit_for_bit(pairs: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in pairs], dtype=np.uint64)
    positions = np.array([position for _, position in pairs], dtype=np.int64)
    assert uniforms(keys, positions).tolist() == [uniform(key, position) for key, position in pairs]


def test_arrays_broadcast() -> None:
    table = uniforms(np.arange(3, dtype=np.uint64)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    assert table[2, 3] == uniform(2, 3)
    assert uniforms(np.array(7, dtype=np.uint64), np.array(5)) == uniform(7, 5)


@given(words, st.integers(0, 2**40))
def test_numbers_lie_in_the_unit_interval(key: int, position: int) -> None:
    assert 0.0 <= uniform(key, position) < 1.0


def test_numbers_are_the_same_in_every_run() -> None:
    # Recorded once: saved runs are only reproducible while these hold.
    assert noise_key(0, "question", 3) == KEY
    assert uniform(KEY, 0) == FIRST
    assert uniform(KEY, 1) == SECOND


# 99.9 % quantile of chi-square with 99 degrees of freedom
LIMIT = 148.2


@pytest.mark.parametrize("key", [0, 1, 2**63, noise_key("a"), noise_key("b")])
def test_positions_of_a_key_are_uniform(key: int) -> None:
    assert _chi_square(uniforms(np.uint64(key), np.arange(100_000))) < LIMIT


def test_keys_at_a_position_are_uniform() -> None:
    hashed = np.array([noise_key(7, "q", n) for n in range(20_000)], dtype=np.uint64)
    for keys in (np.arange(20_000, dtype=np.uint64), hashed):
        assert _chi_square(uniforms(keys, np.array(5))) < LIMIT


def test_neighbouring_keys_and_positions_are_independent() -> None:
    table = uniforms(np.arange(200, dtype=np.uint64)[:, None], np.arange(500)) - 0.5
    for a, b in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1]), (table[1:, 1:], table[:-1, :-1])):
        # Standard error of a correlation over n pairs is 1 / sqrt(n).
        assert abs((a * b).mean() * 12) < 4 / np.sqrt(a.size)
    assert np.unique(table).size == table.size


def test_pairs_of_neighbours_fill_the_square() -> None:
    flat = uniforms(np.uint64(noise_key("square")), np.arange(100_000))
    cells = np.floor(flat[0::2] * 10) * 10 + np.floor(flat[1::2] * 10)
    assert _chi_square((cells + 0.5) / 100) < LIMIT


def test_keys_tell_their_parts_apart() -> None:
    keys = [
        noise_key(*parts)
        for parts in (
            (),
            ("",),
            ("a", "b"),
            ("ab",),
            ("a", "b", ""),
            (1,),
            ("1",),
            (-1,),
            (1, 2),
            (12,),
            (2, 1),
            (2**80,),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**64 for key in keys)


def _chi_square(values: np.ndarray) -> float:
    counts = np.histogram(values, bins=100, range=(0.0, 1.0))[0]
    expected = values.size / 100
    return float(((counts - expected) ** 2 / expected).sum())
