"""Trains a byte-level BPE tokenizer for the small model. Tags are single tokens; digits are paired from the left."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# A number is separated from the space before it, so that it has the same tokens everywhere and can be copied.
PIECES = Regex(r"\d{1,2}| ?[A-Za-z]+|[^A-Za-z\d\s]|\s")


def train_tokenizer(texts: Iterable[str], tags: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn merges from `texts`; `AutoTokenizer` can load the result once it is saved.

    Args:
        texts: What the model will read and write.
        tags: Names of the tags of the protocol and of the tools.
        vocab_size: Number of tokens without the tags.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs = [f"{n:02d}" for n in range(100)]
    # Every pair of digits must become one token, even if the texts do not have it.
    tokenizer.train_from_iterator([*texts, *(pairs * 2000)], trainer)
    written = (f"<{slash}{tag}>" for tag in tags for slash in ("", "/"))
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in written])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
