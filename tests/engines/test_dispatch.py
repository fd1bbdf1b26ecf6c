"""The device decides which path a model takes: what only a CPU runs is taken there and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from aepo.engines.local import dispatch
from aepo.engines.local.cache import RowCache
from aepo.engines.local.cpu.block_cache import BlockCache
from aepo.engines.local.cpu.forward import DirectForward, InPlaceForward
from aepo.engines.local.cpu.segment_attention import SegmentAttention
from aepo.engines.local.dispatch import attention_of, forward_of
from aepo.engines.local.forward import ModelForward
from aepo.engines.local.sized_attention import SizedAttention

VOCABULARY = 90  # of the model's 96 rows


def test_on_a_cpu_a_llama_runs_without_modules_over_blocks(model) -> None:
    forward = forward_of(model, VOCABULARY, 4, 100)
    assert type(forward) is DirectForward and type(forward.cache) is BlockCache


def test_on_a_cpu_a_model_of_another_shape_has_its_blocks_read_in_place(model) -> None:
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(96))
    forward = forward_of(model, VOCABULARY, 4, 100)
    assert type(forward) is InPlaceForward and type(forward.cache) is BlockCache


def test_on_a_cpu_a_model_with_an_attention_of_its_own_runs_as_on_a_gpu(model) -> None:
    model._supports_attention_backend = False
    forward = forward_of(model, VOCABULARY, 4, 100)
    assert type(forward) is ModelForward and type(forward.cache) is RowCache


def test_elsewhere_a_model_runs_its_own_modules_over_a_plain_cache(model) -> None:
    # With a bias the output layer is the model's own, and nothing is tried on a device without values.
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(96))
    forward = forward_of(model.to("meta"), VOCABULARY, 4, 100)
    assert type(forward) is ModelForward and type(forward.cache) is RowCache


def test_a_trie_is_attended_by_segments_on_a_cpu_on_meta_by_sizes_and_elsewhere_by_flex_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    until_N = torch.tensor([4, 3, 3, 4])
    assert type(attention_of(until_N)) is SegmentAttention
    assert type(attention_of(until_N.to("meta"))) is SizedAttention
    monkeypatch.setattr(dispatch, "FlexAttention", lambda trie: trie)
    on_gpu = SimpleNamespace(is_meta=False, device=torch.device("cuda"))
    assert attention_of(on_gpu) is on_gpu


@torch.inference_mode()
def test_the_plain_cache_gives_its_memory_back(model) -> None:
    forward = ModelForward(model, VOCABULARY, RowCache(2, 4, 100))
    forward.cache.reserve(2, 3)
    layer = forward.cache.layers[0]
    layer.reserve(torch.zeros(2, 3, 8), torch.zeros(2, 3, 8))
    assert layer.keys.shape == (4, 2, 100, 8)
    forward.cache.release()
    assert layer.keys is None and forward.cache.slots == 0
