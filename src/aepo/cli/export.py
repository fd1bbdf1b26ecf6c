"""Runs `aepo export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def export(
    run: Positional[Path],
    out: Positional[Path],
    /,
    merge: bool = False,
    push: Annotated[str | None, arg(metavar="OWNER/NAME")] = None,
) -> None:
    """Write the newest policy of a run as a Hugging Face folder, e.g. for vLLM, transformers or `aepo eval`.

    Args:
        run: Folder of the run, of any engine.
        out: Folder of the model; it must not exist yet.
        merge: After training with LoRA, write the whole model. Without it the adapter alone is written.
        push: Upload the folder to the Hugging Face Hub too. A new model there is private.
    """
    from aepo.assembly.export import ADAPTER
    from aepo.assembly.export import export as write
    from aepo.assembly.export import push as upload

    print(f"{write(run, out, merge)} -> {out}")
    if (out / ADAPTER).is_file():
        print("this is an adapter, which needs its model; --merge writes a whole one")
    if push is not None:
        print(f"uploaded to {upload(out, push)}")
