"""Random numbers from keys and positions, independent of other draws. No torch.

A key names a stream (run seed, step, question, path); a position is a place in it. The same pair always gives the same
number, so a run does not depend on which tool answers first.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
# splitmix64 (Steele, Lea, Flood 2014): the Weyl increment, and the multipliers of its finalizer.
GOLDEN = 0x9E3779B97F4A7C15
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
# The upper 53 bits fill a float64's significand, so the result is below 1.0.
UNIT = 2.0**-53


def noise_key(*parts: int | str) -> int:
    """A 64-bit key from the parts' types and values; different parts give unrelated keys.

    ("a", "b") and ("ab",) give different keys, and so do 1 and "1".
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        text = part.encode() if isinstance(part, str) else str(int(part)).encode()
        digest.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"i", len(text)) + text)
    return int.from_bytes(digest.digest(), "little")


def uniform(key: int, position: int) -> float:
    """A number in [0, 1), a function of key and position alone: splitmix64's `position`-th output from mix(key)."""
    return (_mix((_mix(key & MASK) + GOLDEN * (position + 1)) & MASK) >> 11) * UNIT


def uniforms(keys: NDArray[np.uint64], positions: NDArray[Any]) -> NDArray[np.float64]:
    """`uniform` for arrays that broadcast, equal to it bit for bit: uint64 keys and integer positions give float64."""
    with np.errstate(over="ignore"):  # arithmetic is modulo 2^64; numpy warns about it on scalars
        places = np.asarray(positions).astype(np.uint64) + np.uint64(1)
        bits = _mix_array(_mix_array(np.asarray(keys, dtype=np.uint64)) + np.uint64(GOLDEN) * places)
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) * UNIT)


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * FIRST) & MASK
    x = ((x ^ (x >> 27)) * SECOND) & MASK
    return x ^ (x >> 31)


def _mix_array(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND)
    return x ^ (x >> np.uint64(31))
