"""Finds what the name of a model means: a folder, a run, a model of the package, or a server."""

from __future__ import annotations

from pathlib import Path

from aepo.config import Config
from aepo.files.paths import expanded, local
from aepo.runs import checkpoint
from aepo.runs.folder import RunFolder

BUILT_IN_MODELS = {name: Path(__file__).parents[1] / "models" / name for name in ("atlas", "house")}


def is_server(path: str) -> bool:
    """Whether a path is the address of a server."""
    return path.startswith(("http://", "https://"))


def policy_folder(path: str) -> str:
    """The folder of a policy's files: the newest undamaged one of a run, the package's own, else the path itself.

    Raises:
        ValueError: The run has no checkpoint that can be loaded.
    """
    where = BUILT_IN_MODELS.get(path) or local(path)
    checkpoints = RunFolder(where).checkpoints
    if not checkpoints.is_dir():
        return str(BUILT_IN_MODELS.get(path, expanded(path)))
    if checkpoint.verl_step(checkpoints) is not None:
        raise ValueError(f"run {where} was trained by engine verl: aepo export {where} FOLDER, then give FOLDER")
    if (newest := checkpoint.latest(checkpoints, checkpoint.POLICY)) is None:
        raise ValueError(f"run {where} has no whole checkpoint yet")
    return str(newest / checkpoint.POLICY)


def started_from(config: Config) -> Config:
    """The configuration with the checkpoint to start from in place of the run that it names.

    The named run may train further, but a resumed run must start from the same checkpoint as before.
    """
    path = config.model.path
    if path in BUILT_IN_MODELS or is_server(path):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"path": policy_folder(path)})})
