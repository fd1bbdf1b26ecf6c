"""Attention on a trie is attention under its dense mask, forward and backward, however its pairs are divided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from aepo.core.trie import Trie, trie
from aepo.engines.local import tree_attention
from aepo.engines.local.cpu import segments
from aepo.engines.local.cpu.segment_attention import SegmentAttention
from aepo.engines.local.cpu.segments import blocks, grouped
from aepo.engines.local.dispatch import attention_of
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.tree_attention import FlexAttention, block_mask, mask_mod
from aepo.engines.local.tree_check import refuse_tree
from tests.core.test_trie import sees

VOCABULARY = 90  # of the models' 96 rows

rows = st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 1), max_size=12)), min_size=1, max_size=9).filter(
    lambda rows: any(ids for _, ids in rows)
)
Rows = list[tuple[int, list[int]]]


def made(rows: Rows) -> Trie:
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids, dtype=torch.long) for _, ids in rows], True)
    return trie(tokens, torch.tensor([len(ids) for _, ids in rows]), torch.tensor([group for group, _ in rows]))


def random_trie(length: int = 40) -> Trie:
    chance = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 2, (9, length), generator=chance)
    return trie(tokens, torch.randint(length // 2, length + 1, (9,), generator=chance), torch.zeros(9))


def inputs(size: int, heads: int, pairs: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    chance = torch.Generator().manual_seed(size)
    return [
        torch.randn(1, count, size, 8, generator=chance, dtype=dtype).requires_grad_()
        for count in (heads, pairs, pairs)
    ]


def densely(query: Tensor, key: Tensor, value: Tensor, until_N: Tensor, scaling: float | None = None) -> Tensor:
    mixed = scaled_dot_product_attention(
        query, key, value, attn_mask=sees(until_N), scale=scaling, enable_gqa=key.shape[1] < query.shape[1]
    )
    return mixed.transpose(1, 2)


def segment_attention(
    query: Tensor, key: Tensor, value: Tensor, until_N: Tensor, scaling: float | None = None
) -> Tensor:
    return SegmentAttention(until_N)(None, query, key, value, scaling)


@settings(deadline=None)
@given(rows, st.sampled_from([(2, 2), (4, 2), (4, 1)]), st.sampled_from([0, 3, 10**9]))
def test_outputs_and_gradients_are_those_under_the_dense_mask(rows: Rows, heads: tuple[int, int], call: int) -> None:
    tree = made(rows)
    size = len(tree.tokens_N)
    given = inputs(size, *heads)
    with pytest.MonkeyPatch.context() as patch:
        # Every block alone, some together, all of a level together.
        patch.setattr(segments, "CALL_COST", call)
        ours = segment_attention(*given, tree.until_N, 0.4)
    theirs = densely(*given, tree.until_N, 0.4)
    assert ours.shape == (1, size, heads[0], 8)
    assert torch.allclose(ours, theirs, atol=1e-12)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).view_as(ours)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), given),
        torch.autograd.grad((theirs * weights).sum(), given),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_it_is_as_exact_as_the_dtype(dtype: torch.dtype, tolerance: float) -> None:
    tree = random_trie()
    given = inputs(len(tree.tokens_N), 4, 2, dtype)
    ours, theirs = segment_attention(*given, tree.until_N), densely(*given, tree.until_N)
    assert ours.dtype == dtype and (ours - theirs).abs().max() <= tolerance
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), given), torch.autograd.grad(theirs.square().sum(), given), strict=True
    ):
        assert (one - other).abs().max() <= 4 * tolerance


@given(rows)
def test_every_pair_is_asked_for_once_and_no_query_twice_in_a_level(rows: Rows) -> None:
    tree = made(rows)
    pairs = torch.zeros(len(tree.tokens_N), len(tree.tokens_N), dtype=torch.long)
    asked: dict[int, list[int]] = {}
    for block in blocks(tree.until_N):
        part = pairs[block.query : block.query + block.queries, block.key : block.key + block.keys]
        part += torch.ones_like(part).tril() if block.level == 0 else 1
        asked.setdefault(block.level, []).extend(range(block.query, block.query + block.queries))
    assert torch.equal(pairs, sees(tree.until_N).long())
    assert all(len(queries) == len(set(queries)) for queries in asked.values())


@given(rows)
def test_groups_hold_every_block_once_level_by_level(rows: Rows) -> None:
    found = blocks(made(rows).until_N)
    groups = grouped(found)
    assert sorted(block for group in groups for block in group) == sorted(found)
    levels = [{block.level for block in group} for group in groups]
    assert all(len(level) == 1 for level in levels)
    assert [min(level) for level in levels] == sorted(min(level) for level in levels)


def test_padded_work_stays_near_what_is_attended() -> None:
    """What is computed beyond the pairs that see each other is bounded by the price of the calls that it saves."""
    found = blocks(random_trie(400).until_N)
    groups = grouped(found)
    padded = sum(len(g) * max(b.queries for b in g) * max(b.keys for b in g) for g in groups)
    assert padded <= sum(b.queries * b.keys for b in found) + segments.CALL_COST * (len(found) - len(groups))
    assert len(groups) < len(found) / 2


@given(rows)
@settings(deadline=None, max_examples=20)
def test_the_mask_of_flex_attention_is_the_same(rows: Rows) -> None:
    until_N = made(rows).until_N
    size = len(until_N)
    assert torch.equal(create_mask(mask_mod(until_N), 1, 1, size, size, device="cpu")[0, 0], sees(until_N))


LISTS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices")
TRANSPOSED = ("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")


def assert_masks_of_the_library(until_N: Tensor, block: int) -> None:
    """Its lists of blocks to read, whole and in part, are those that the library finds in the N x N mask."""
    size = len(until_N)
    ours = block_mask(until_N)
    theirs = create_block_mask(mask_mod(until_N), None, None, size, size, "cpu", BLOCK_SIZE=block)
    assert (ours.seq_lengths, ours.BLOCK_SIZE) == (theirs.seq_lengths, theirs.BLOCK_SIZE)
    for name in LISTS + TRANSPOSED:
        one, other = getattr(ours, name), getattr(theirs, name)
        assert one.dtype == other.dtype and torch.equal(one, other), name


@given(rows, st.integers(2, 7))
@settings(deadline=None)
def test_its_blocks_are_those_of_the_library(rows: Rows, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "BLOCK", block)
        assert_masks_of_the_library(made(rows).until_N, block)


def test_so_are_its_blocks_of_the_usual_size() -> None:
    for length in (60, 128, 700):
        assert_masks_of_the_library(random_trie(length).until_N, tree_attention.BLOCK)


def test_flex_attention_gives_the_same_output_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library has no backward kernel for CPUs, but its definition in plain operations has one.
    monkeypatch.setattr(flex, "_validate_device", lambda *given: None)
    tree = random_trie(60)
    given = inputs(len(tree.tokens_N), 4, 2)
    mask = FlexAttention(tree.until_N).block_mask
    found = flex_attention(*given, block_mask=mask, scale=0.4, enable_gqa=True).transpose(1, 2)
    dense = densely(*given, tree.until_N, 0.4)
    assert torch.allclose(found, dense, atol=1e-12)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view_as(found)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((dense * weights).sum(), given),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.slow
def test_the_compiled_kernel_which_reads_the_blocks_in_its_lists_only_gives_the_same(compiler) -> None:
    tree = random_trie(700)
    given = [x.detach() for x in inputs(len(tree.tokens_N), 4, 4, torch.float32)]
    with torch.no_grad():
        found = torch.compile(flex_attention)(*given, block_mask=block_mask(tree.until_N)).transpose(1, 2)
        assert torch.allclose(found, densely(*given, tree.until_N), atol=1e-5)


def test_memory_for_the_backward_pass_grows_with_distinct_tokens_only() -> None:
    tree = random_trie()
    given = inputs(len(tree.tokens_N), 4, 2)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        out = segment_attention(*given, tree.until_N)
    assert sum(kept) <= sum(x.numel() for x in given) + 2 * out.numel()


def test_without_a_trie_it_is_the_usual_kernel(model) -> None:
    tokens = torch.arange(10)[None]
    mask = torch.ones_like(tokens)
    mask[:, :3] = 0
    with torch.no_grad():
        before = [model(input_ids=tokens).logits, model(input_ids=tokens, attention_mask=mask).logits]
        tree_attention.use(model)
        after = [model(input_ids=tokens).logits, model(input_ids=tokens, attention_mask=mask).logits]
    assert model.config._attn_implementation == tree_attention.NAME
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_scores_that_a_model_changes_are_refused() -> None:
    query = torch.zeros(1, 2, 3, 8)
    with pytest.raises(ValueError, match="its attention uses softcap"):
        tree_attention.tree_attention(
            torch.nn.Module(), query, query, query, None, SegmentAttention(torch.ones(3)), softcap=5.0
        )


def test_another_kernel_is_not_replaced(build) -> None:
    model = build()
    model.config._attn_implementation = "eager"
    with pytest.raises(ValueError, match='its attention is "eager", not "sdpa"'):
        tree_attention.use(model)


@pytest.fixture
def compiler() -> None:
    """It compiles a function for a few shapes and types only; a test must not inherit those of another."""
    torch.compiler.reset()


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_same(build, compiler) -> None:
    tree = random_trie(300)
    size = len(tree.tokens_N)
    given = [x.detach().cuda().requires_grad_() for x in inputs(size, 4, 2, torch.float32)]
    given = [torch.nn.functional.pad(x, (0, 8)).detach().requires_grad_() for x in given]
    model = build()
    module = model.model.layers[0].self_attn
    flex, _ = tree_attention.tree_attention(module, *given, None, attention_of(tree.until_N.cuda()), scaling=0.25)
    dense = densely(*given, tree.until_N.cuda(), 0.25)
    assert torch.allclose(flex, dense, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.03)])
def test_on_a_gpu_its_gradients_are_the_same(build, compiler, dtype: torch.dtype, tolerance: float) -> None:
    tree = random_trie(300)
    until_N = tree.until_N.cuda()
    chance = torch.Generator("cuda").manual_seed(0)
    shapes = [(1, heads, len(until_N), 128) for heads in (4, 2, 2)]
    exact = [torch.randn(s, device="cuda", generator=chance).requires_grad_() for s in shapes]
    given = [x.detach().to(dtype).requires_grad_() for x in exact]
    module = build().model.layers[0].self_attn
    flex, _ = tree_attention.tree_attention(module, *given, None, attention_of(until_N), scaling=0.1)
    dense = densely(*exact, until_N, 0.1)
    assert (flex - dense).norm() <= tolerance * dense.norm()
    ours = torch.autograd.grad(flex.float().square().sum(), given)
    theirs = torch.autograd.grad(dense.square().sum(), exact)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= tolerance * other.norm() and other.norm() > 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance", "checkpointing"), [(torch.float32, 1e-3, False), (torch.bfloat16, 0.1, True)]
)
def test_on_a_gpu_a_model_trains_on_the_tree_as_on_its_rows(
    build, compiler, dtype: torch.dtype, tolerance: float, checkpointing: bool
) -> None:
    model = build("qwen3", head_dim=32, num_hidden_layers=4).to("cuda", dtype)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.train()
    refuse_tree(model, VOCABULARY)
    tokens_BT = torch.randint(0, VOCABULARY, (6, 200), generator=torch.Generator().manual_seed(0))
    tokens_BT[:, :120] = tokens_BT[0, :120]
    tree = trie(tokens_BT[:, :-1], torch.full((6,), 199), torch.zeros(6))
    wanted_BT = torch.ones_like(tokens_BT)
    wanted_BT[:, 0] = 0
    scorer = ModelLogprobs(model, VOCABULARY)
    places_K, targets_K = tree.places_BT.flatten().cuda(), tokens_BT[:, 1:].flatten().cuda()
    on_tree = scorer.score_tree(tree.to("cuda"), places_K, targets_K, 0.8)
    flat = scorer.score(tokens_BT.cuda(), wanted_BT.cuda(), 0.8)[:, 1:].flatten()
    assert (on_tree - flat).abs().mean() <= tolerance
    weights = torch.linspace(-1, 1, len(flat), device="cuda")
    found = []
    for scores in (on_tree, flat):
        model.zero_grad()
        (scores * weights).sum().backward()
        found.append(torch.cat([p.grad.float().flatten() for p in model.parameters()]))
    assert (found[0] - found[1]).norm() <= tolerance * found[1].norm()
