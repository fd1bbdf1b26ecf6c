"""Computes how likely given tokens are under a model: the forward pass of training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aepo.core.trie import Trie
from aepo.engines.local import tree_attention
from aepo.engines.local.dispatch import attention_of
from aepo.engines.local.head import base_model, find_head
from aepo.process.freed import make_room

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ModelLogprobs:
    """Log-probabilities of given tokens under a causal LM (the `Logprobs` protocol).

    If the model's logits have a known form, the output layer runs only where a score is wanted, and in pieces (`head`).
    Other models compute all logits.

    Args:
        model: A causal LM.
        vocab_size: Ids below it can be sampled; the model may have padding rows above.
    """

    def __init__(self, model: PreTrainedModel, vocab_size: int) -> None:
        self.model, self.vocab_size = model, vocab_size
        self.head = find_head(model, vocab_size)

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each wanted token given those before it, at a temperature; 0 elsewhere.

        Rows are padded on the right, because causal attention does not see later tokens. The first token of a row has
        no token before it and must not be wanted.
        """
        wanted_BT = wanted_BT != 0
        inputs, targets, wanted = tokens_BT[:, :-1], tokens_BT[:, 1:], wanted_BT[:, 1:]
        picked_N = self._picked(wanted, targets[wanted], temperature, input_ids=inputs)
        scores_BT = picked_N.new_zeros(tokens_BT.shape)
        return scores_BT.masked_scatter(wanted_BT, picked_N)

    def score_tree(self, tree: Trie, places_K: Tensor, targets_K: Tensor, temperature: float) -> Tensor:
        """(K,): ln p of tokens that follow tokens of a trie; each token of the trie is computed once.

        The result equals `score` of the whole sequences, up to rounding.

        Args:
            tree: The trie that the model reads.
            places_K: The index in the trie of the token before each target.
            targets_K: The ids of the targets.
            temperature: As in `score`.
        """
        tree_attention.use(self.model)
        return self._picked(
            (torch.zeros_like(places_K), places_K),
            targets_K,
            temperature,
            input_ids=tree.tokens_N[None],
            position_ids=tree.positions_N[None],
            # Models pass a mask of this shape on unchanged. The trie's attention does not read it. If a layer does not
            # get the trie, the mask turns its result into NaN, and the error is seen.
            attention_mask=torch.full((1, 1, 1, 1), torch.nan, dtype=self.model.dtype, device=self.model.device),
            tree=attention_of(tree.until_N),
        )

    def _picked(self, wanted: Any, targets_N: Tensor, temperature: float, **inputs: Any) -> Tensor:
        """(N,): ln p of the targets; the index says at which (rows, positions) of the model's input."""
        if self.head is not None:
            hidden_BTD = base_model(self.model).get_decoder()(**inputs, use_cache=False).last_hidden_state
            # Here a pass holds the most: all that its layers keep, and logits.
            make_room(hidden_BTD.device.type, self.head.piece_bytes(len(targets_N)))
            return self.head.logprobs(hidden_BTD[wanted], targets_N, temperature)
        logits_NV = self.model(**inputs, use_cache=False).logits[wanted]
        logits_NV = logits_NV[:, : self.vocab_size].float() / temperature
        return logits_NV.gather(-1, targets_N[:, None])[:, 0] - logits_NV.logsumexp(-1)


class FrozenLogprobs(ModelLogprobs):
    """The model with its present weights, even after training: each call puts a copy of them back for its time."""

    def __init__(self, model: PreTrainedModel, vocab_size: int) -> None:
        super().__init__(model, vocab_size)
        self._kept = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """As `ModelLogprobs.score`, without gradient."""
        with torch.no_grad(), self._as_it_was():
            return super().score(tokens_BT, wanted_BT, temperature)

    def score_tree(self, tree: Trie, places_K: Tensor, targets_K: Tensor, temperature: float) -> Tensor:
        """As `ModelLogprobs.score_tree`, without gradient."""
        with torch.no_grad(), self._as_it_was():
            return super().score_tree(tree, places_K, targets_K, temperature)

    @contextlib.contextmanager
    def _as_it_was(self) -> Iterator[None]:
        trained = dict(self.model.named_parameters())
        now = {name: trained[name].data for name in self._kept}
        try:
            for name, kept in self._kept.items():
                trained[name].data = kept
            yield
        finally:
            for name, value in now.items():
                trained[name].data = value
