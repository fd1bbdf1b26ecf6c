"""Writes the policy of a run as a folder of its own, which other programs load, and uploads it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from aepo.equipment.models import policy_folder
from aepo.files.instruction import read_instruction, write_instruction
from aepo.runs.checkpoint import verl_step
from aepo.runs.folder import RunFolder, writing

ADAPTER = "adapter_config.json"


def export(run: Path, out: Path, merge: bool = False) -> str:
    """Write the newest policy of a run as a Hugging Face folder, whatever engine trained it, with its instruction.

    Args:
        run: The run folder.
        out: The folder to write; it must not exist yet.
        merge: Add an adapter to the weights of its model, and write the whole model.

    Returns:
        The checkpoint, or the part of it, that was written.

    Raises:
        ValueError: There is no run or no checkpoint, `out` is there already, or there is no adapter to merge.
        RunFolderError: The disk is full or refuses.
    """
    folder = RunFolder(run)
    if folder.config_file is None:
        raise ValueError(f"{run} is no run: it has no config.yaml")
    if out.exists():
        raise ValueError(f"{out} is there already: give a new folder")
    if verl_step(folder.checkpoints) is not None:
        from aepo.engines.verl.export import export as from_verl

        if merge:
            raise ValueError("engine verl trains whole models: leave --merge out")
        return str(from_verl(run, out))
    source = policy_folder(str(run))
    adapter = (Path(source) / ADAPTER).is_file()
    if merge and not adapter:
        raise ValueError(f"the policy of {run} is a whole model, not an adapter: leave --merge out")
    aside = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            if merge:
                _merged(source, aside)
            else:
                shutil.copytree(source, aside)
                if adapter:
                    _name_base(source, aside)
            os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return source


def push(folder: Path, name: str) -> str:
    """Upload a folder to the Hugging Face Hub, as a private model if there is none of this name.

    Args:
        folder: The folder of a policy.
        name: The model, "owner/name". The token is that of `hf auth login`, or HF_TOKEN.

    Returns:
        The address of the model.

    Raises:
        ValueError: The hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    api = HfApi()
    try:
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=name)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{folder} is written, but cannot be uploaded as {name}: {line}") from error
    return str(address)


def _merged(source: str, out: Path) -> None:
    import torch

    from aepo.engines.local.load import load_config, load_policy

    # The sum is rounded once, to the type of the model's own weights.
    loaded = load_policy(source, device="cpu", dtype="float32", train=True)
    loaded.model.to(getattr(load_config(source), "dtype", None) or torch.float32)
    loaded.save(out)
    write_instruction(out, read_instruction(source))


def _name_base(source: str, out: Path) -> None:
    """Let an adapter name its model so that it is found from any folder."""
    from aepo.engines.local.adapters import find_adapter

    adapter = find_adapter(source)
    assert adapter is not None
    file = out / ADAPTER
    settings = {**json.loads(file.read_text(encoding="utf-8")), "base_model_name_or_path": adapter.base}
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
