"""The policy of a run in this process, for sampling, scoring, training and saving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aepo.core.trie import Trie
from aepo.engines.local.load import LoadedModel, quiet
from aepo.engines.local.logprobs import FrozenLogprobs, ModelLogprobs
from aepo.engines.local.residual import widen_residual
from aepo.engines.local.sampler import LocalSampler
from aepo.engines.local.tree_check import refuse_tree
from aepo.engines.stopping import declared_ends
from aepo.files.instruction import read_instruction, write_instruction

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalPolicy:
    """A loaded model with everything that training and evaluation ask of it.

    Attributes:
        model: The causal LM.
        tokenizer: Its tokenizer.
        path: The folder or hub name that it was loaded from.
        device: The device of the model.
        ends: The ends of a turn that its tokenizer and its configurations declare.
        sampler: Samples with the model's current weights.
        instruction: The text above the system text that it was trained under; empty for none.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.model: PreTrainedModel = loaded.model
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.path, self.device = loaded.path, loaded.device
        self.instruction = read_instruction(loaded.path)
        self.ends = declared_ends(self.tokenizer, self.model.config, getattr(self.model, "generation_config", None))
        # This comes before any trial of the model, so that the sampler and the trainer use the same residual stream.
        widen_residual(self.model)
        self.sampler = LocalSampler(self.model, self.tokenizer)
        self._loaded = loaded
        self._logprobs = ModelLogprobs(self.model, len(self.tokenizer))
        self._checkpointed = [m for m in self.model.modules() if getattr(m, "gradient_checkpointing", False)]

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The trained parameters: all, or those of the adapters."""
        return (p for p in self.model.parameters() if p.requires_grad)

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each wanted token given those before it, at a temperature; 0 elsewhere."""
        self._prepare()
        return self._logprobs.score(tokens_BT, wanted_BT, temperature)

    def score_tree(self, tree: Trie, places_K: Tensor, targets_K: Tensor, temperature: float) -> Tensor:
        """(K,): ln p of tokens that follow tokens of a trie; see `ModelLogprobs.score_tree`."""
        self._prepare()
        return self._logprobs.score_tree(tree, places_K, targets_K, temperature)

    def refuse_tree(self, tokens: Sequence[int] = ()) -> None:
        """Check that trees can be scored, on a text that the model will read; see `tree_check.refuse_tree`.

        Raises:
            ValueError: They cannot; the message says why and what to set.
        """
        refuse_tree(self.model, len(self.tokenizer), tokens)

    def _prepare(self) -> None:
        # Layers use checkpointing only in training mode. The modules inside them, above all dropout, run as in
        # sampling.
        self.model.eval()
        for module in self._checkpointed:
            module.training = True

    def frozen(self) -> FrozenLogprobs:
        """The model with its weights of now, which later training does not change."""
        return FrozenLogprobs(self.model, len(self.tokenizer))

    def decode(self, tokens: list[int]) -> str:
        """Ids to text, special tokens included."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False))

    def weights(self) -> dict[str, Tensor]:
        """The weights as `save` takes them; the trained ones are copied into the machine's memory."""
        # Tied weights are one parameter with two names, and must stay one.
        copied = {p: p.detach().to("cpu", copy=True) for p in self.parameters()}
        return {name: copied.get(p, p) for name, p in self.model.state_dict(keep_vars=True).items()}

    def save(self, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write weights (safetensors; the adapter if there is one), tokenizer and instruction.

        Args:
            folder: The folder; it is made if missing.
            weights: A result of `weights`; by default the current weights.
        """
        self._loaded.save(folder, weights)
        write_instruction(folder, self.instruction)

    def restore(self, folder: str | Path) -> None:
        """Load the weights that `save` wrote."""
        if hasattr(self.model, "disable_adapter"):
            from peft import set_peft_model_state_dict
            from safetensors.torch import load_file

            set_peft_model_state_dict(self.model, load_file(Path(folder) / "adapter_model.safetensors"))
            return
        with quiet():
            saved = type(self.model).from_pretrained(folder, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())
