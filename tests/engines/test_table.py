"""Rows of the cache in any order, length and company give the logits of one whole forward pass."""

from __future__ import annotations

import pytest
import torch

from aepo.engines.local.cache import RowCache
from aepo.engines.local.cpu.block_cache import BlockCache
from aepo.engines.local.cpu.forward import DirectForward, InPlaceForward
from aepo.engines.local.cpu.llama_shaped import direct_model
from aepo.engines.local.forward import ModelForward, layer_count
from aepo.engines.local.schedule import CHUNK, compacting_moves, exact_moves
from aepo.engines.local.table import RowTable

VOCABULARY = 90  # of a model of 96


def tokens_of(seed: int, length: int) -> list[int]:
    return torch.randint(0, 96, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def after(model, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0, -1, :VOCABULARY]


@pytest.fixture(params=["direct", "in place", "as on a GPU"])
def table(request, model) -> RowTable:
    layers = layer_count(model)
    if request.param == "as on a GPU":
        return RowTable(ModelForward(model, VOCABULARY, RowCache(layers, 8, 1000)))
    cache = BlockCache(layers, 8, 1000)
    if request.param == "in place":
        return RowTable(InPlaceForward(model, VOCABULARY, cache))
    return RowTable(DirectForward(direct_model(model), VOCABULARY, cache))


def opened(table: RowTable, *lengths: int) -> list:
    return [table.add(tokens_of(i, length), i, i, [length]) for i, length in enumerate(lengths)]


@torch.inference_mode()
def test_a_prefill_gives_the_rows_that_were_read_to_their_end(table, model) -> None:
    rows = opened(table, 5, CHUNK + 3, 1)
    read, logits = table.prefill(rows)
    assert read == [rows[0], rows[2]] and rows[1].cached == CHUNK
    for row, found in zip(read, logits, strict=True):
        torch.testing.assert_close(found, after(model, row.tokens), atol=1e-4, rtol=1e-4)
    read, logits = table.prefill([rows[1]])
    assert read == [rows[1]]
    torch.testing.assert_close(logits[0], after(model, rows[1].tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("moves", [exact_moves, compacting_moves])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [3, 1, 0, 2], [3], [2, 0]])
@torch.inference_mode()
def test_a_decode_step_gives_each_row_its_own_logits_in_the_order_that_it_names(table, model, moves, chosen) -> None:
    rows = opened(table, 4, 70, 9, 130)
    table.prefill(rows)
    for row in rows:
        row.tokens.append(7)
    wanted = [rows[i] for i in chosen]
    named, logits = table.decode(wanted, moves)
    assert set(map(id, named)) == set(map(id, wanted))
    for row, found in zip(named, logits, strict=True):
        torch.testing.assert_close(found, after(model, row.tokens), atol=1e-4, rtol=1e-4)
    # Those that were left out are read later as if nothing had happened, wherever they have been moved.
    left = [row for row in rows if row.uncached]
    if left:
        named, logits = table.decode(left, moves)
        for row, found in zip(named, logits, strict=True):
            torch.testing.assert_close(found, after(model, row.tokens), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_copy_goes_on_from_where_it_was_taken(table, model) -> None:
    [source] = opened(table, 80)
    table.prefill([source])
    new = table.add([*source.tokens[:70], 3], 9, 9, [70])
    table.copy(source, new, 70)
    _, logits = table.decode([new], compacting_moves)
    torch.testing.assert_close(logits[0], after(model, new.tokens), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_freed_slot_is_taken_again_and_a_full_table_says_so(table, model) -> None:
    rows = opened(table, *[3] * 8)
    table.prefill(rows)
    with pytest.raises(RuntimeError, match="8 sequences grow, no more are allowed"):
        table.add([1], 0, 9, [1])
    table.remove(rows[5])
    new = table.add(tokens_of(50, 40), 0, 9, [40])
    assert new.slot == rows[5].slot and rows[5] not in list(table)
    _, logits = table.prefill([new])
    torch.testing.assert_close(logits[0], after(model, new.tokens), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_first_to_have_ended_loses_its_slot_first_and_is_read_again_when_it_is_forked(table, model) -> None:
    rows = opened(table, *[20] * 8)
    table.prefill(rows)
    for row in (rows[3], rows[1]):
        table.end(row)
    kept = table.fork(rows[1], 10, 0, 8, [10])
    assert kept.slot == rows[3].slot and kept.cached == 9
    assert (rows[3].cached, rows[1].cached) == (0, 20)
    taken = table.fork(rows[1], 15, 0, 9, [15])  # takes the slot of its source, with what lies there
    assert taken.slot == rows[1].slot and (taken.cached, rows[1].cached) == (14, 0)
    table.end(kept)
    again = table.fork(rows[1], 12, 0, 10, [12])
    assert again.slot == kept.slot and again.cached == 0
    for row in rows[:4]:
        table.remove(row)
    assert taken in list(table) and again in list(table)
    _, logits = table.decode([taken], compacting_moves)
    torch.testing.assert_close(logits[0], after(model, taken.tokens), atol=1e-4, rtol=1e-4)
    _, logits = table.prefill([again])
    torch.testing.assert_close(logits[0], after(model, again.tokens), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_after_new_weights_everything_is_read_again(table, model) -> None:
    rows = opened(table, 12, 30)
    table.prefill(rows)
    for parameter in model.parameters():
        parameter.mul_(0.9)
    table.forget_weights()
    table.new_weights()
    read, logits = table.prefill(rows)
    assert read == rows
    for row, found in zip(read, logits, strict=True):
        torch.testing.assert_close(found, after(model, row.tokens), atol=1e-4, rtol=1e-4)
