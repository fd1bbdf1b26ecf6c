"""How likely given tokens are under a model: the forward pass of training."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Scorer:
    """Scores tokens with a causal LM.

    The output layer runs only where a score is wanted, if the model's logits are its output layer on its last hidden
    state; models that do more to them (soft caps, scales) give all logits.

    Args:
        model: A causal LM.
        vocab_size: Ids below it can be sampled; the model may have padding rows above.
    """

    def __init__(self, model: PreTrainedModel, vocab_size: int) -> None:
        self.model, self.vocab_size = model, vocab_size
        self._plain_head = _plain_head(model)

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each wanted token given those before it, at a temperature; 0 elsewhere.

        Rows are padded on the right, where causal attention never looks back from. The first token of a row has
        nothing before it and must not be wanted.
        """
        wanted_BT = wanted_BT != 0
        inputs, targets, wanted = tokens_BT[:, :-1], tokens_BT[:, 1:], wanted_BT[:, 1:]
        if self._plain_head:
            hidden_BTD = _base(self.model).get_decoder()(input_ids=inputs, use_cache=False).last_hidden_state
            logits_NV = _base(self.model).get_output_embeddings()(hidden_BTD[wanted])
        else:
            logits_NV = self.model(input_ids=inputs, use_cache=False).logits[wanted]
        logits_NV = logits_NV[:, : self.vocab_size].float() / temperature
        picked_N = logits_NV.gather(-1, targets[wanted][:, None])[:, 0] - logits_NV.logsumexp(-1)
        scores_BT = picked_N.new_zeros(tokens_BT.shape)
        return scores_BT.masked_scatter(wanted_BT, picked_N)


class FrozenScorer(Scorer):
    """The model as it is now, whatever training does to it: a copy, or the model without its adapters."""

    def __init__(self, model: PreTrainedModel, vocab_size: int) -> None:
        adapted = hasattr(model, "disable_adapter")
        super().__init__(model if adapted else copy.deepcopy(model).requires_grad_(False), vocab_size)
        self._adapted = adapted

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """As `Scorer.score`, without gradient."""
        without = self.model.disable_adapter() if self._adapted else contextlib.nullcontext()
        with torch.no_grad(), without:
            return super().score(tokens_BT, wanted_BT, temperature)


def _base(model: PreTrainedModel) -> PreTrainedModel:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def _plain_head(model: PreTrainedModel) -> bool:
    """Whether logits are the output layer on the decoder's last hidden state, tried on a few tokens."""
    base = _base(model)
    head = base.get_output_embeddings()
    if head is None:
        return False
    tokens = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
    hidden = base.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state
    return torch.equal(head(hidden), model(input_ids=tokens, use_cache=False).logits)
