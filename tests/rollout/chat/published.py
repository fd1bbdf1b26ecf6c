"""Published chat templates, as TRL ships them, and tokenizers for them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_TOKENS = re.compile(r"<\|[A-Za-z_]+\|>|<｜[^｜]+｜>|\[/?[A-Z_]{3,}\]|<(?:bos|eos|start_of_turn|end_of_turn)>|</?s>")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<|return|>", "<｜end▁of▁sentence｜>")


def source(name: str) -> str:
    """The jinja text of one of TRL's templates."""
    found = find_spec("trl")
    assert found is not None and found.submodule_search_locations is not None
    return (Path(found.submodule_search_locations[0]) / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer(template: str, *more: str) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes with the control tokens that a template writes, and more."""
    control = sorted({*_TOKENS.findall(template), *more, "<|endoftext|>"})
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(control), initial_alphabet=alphabet, special_tokens=control, show_progress=False
    )
    backend.train_from_iterator([], trainer)
    end = next((token for token in _ENDS if token in control), "<|endoftext|>")
    words = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, bos_token="<|endoftext|>")
    words.chat_template = template
    return words
