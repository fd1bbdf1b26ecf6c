"""Where a policy is: a folder, a name, a run, a model of the package, or a server."""

from __future__ import annotations

from pathlib import Path

from aepo.paths import expanded, local
from aepo.training import checkpoint

BUILT_IN_MODELS = {"atlas": Path(__file__).parent / "models" / "atlas"}


def is_server(path: str) -> bool:
    """Whether what is to be loaded is the address of a server."""
    return path.startswith(("http://", "https://"))


def policy_folder(path: str) -> str:
    """Where the files of a policy are: of a run its newest checkpoint, of "atlas" its folder, else the path itself.

    Raises:
        ValueError: The run has no checkpoint that can be loaded.
    """
    where = BUILT_IN_MODELS.get(path) or local(path)
    if not (kept := where / "checkpoints").is_dir():
        return str(BUILT_IN_MODELS.get(path, expanded(path)))
    if (kept / "latest_checkpointed_iteration.txt").is_file():
        raise ValueError(f"run {where} was trained by engine verl: aepo export {where} FOLDER, then give FOLDER")
    newest = checkpoint.latest(kept)
    if newest is None:
        raise ValueError(f"run {where} has no whole checkpoint yet")
    return str(newest / "policy")
