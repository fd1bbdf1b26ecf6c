"""On a CPU a pass gives freed memory back before it makes large logits; a user's own settings of malloc hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from aepo.process import freed
from aepo.process.freed import MAPPED, make_room

GAPS, VOCABULARY = 160, 65_536
LARGE = MAPPED // (4 * VOCABULARY) + 2
PROGRAM = f"""
import re, torch
from transformers import AutoModelForCausalLM, Qwen3Config
from aepo.engines.local.logprobs import ModelLogprobs

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

sizes = dict(hidden_size=16, intermediate_size=16, num_attention_heads=1, num_key_value_heads=1, head_dim=16)
config = Qwen3Config(vocab_size={VOCABULARY}, num_hidden_layers=1, **sizes)
logprobs = ModelLogprobs(AutoModelForCausalLM.from_config(config).eval(), {VOCABULARY})

def score(tokens):
    wanted = torch.ones(1, tokens, dtype=torch.int64)
    wanted[:, 0] = 0
    with torch.no_grad():
        logprobs.score(torch.zeros_like(wanted), wanted, 1.0)

score({LARGE})
large = torch.ones(24 << 20, dtype=torch.uint8)
del large  # glibc takes blocks up to this size from its own memory, from now on
gaps = [(torch.ones(4 << 20, dtype=torch.uint8), torch.ones(1 << 16, dtype=torch.uint8)) for _ in range({GAPS} // 4)]
between = [small for _, small in gaps]
before = held()
del gaps
print(before - held())
score(8)
print(before - held())
score({LARGE})
print(before - held())
"""


def given_back(variables: Mapping[str, str]) -> tuple[int, ...]:
    """MiB of the gaps that are back when they are freed, after a pass with few logits, and after one with many."""
    plain = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_") and n != "GLIBC_TUNABLES"}
    env = {**plain, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, check=True, capture_output=True, text=True)
    return tuple(int(line) for line in done.stdout.split())


def system_library() -> str:
    """The name and version of the C library, if it tells them."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError):
        return ""


@pytest.mark.skipif(not system_library().startswith("glibc"), reason="other C libraries are not asked")
class TestWithGlibc:
    def test_freed_memory_goes_back_before_many_logits_are_made(self) -> None:
        none, few, many = given_back({})
        assert max(none, few) < GAPS / 10, "glibc keeps it, and few logits find their place in it"
        assert many > GAPS * 0.9

    @pytest.mark.parametrize(
        "variables",
        [{"MALLOC_ARENA_MAX": "8"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}],
        ids=lambda v: next(iter(v)),
    )
    def test_what_a_user_set_holds(self, variables: dict[str, str]) -> None:
        assert max(given_back(variables)) < GAPS / 10


def test_without_such_a_function_in_the_c_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed.ctypes, "CDLL", lambda name: SimpleNamespace())
    make_room("cpu", MAPPED + 1)
