"""Checks the machine: versions, devices, memory, threads, disk, sandbox."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from aepo.doctor.finding import Finding, State, size
from aepo.process.host import host_memory

LEAST_DISK = 2 << 30
EXTRAS = {
    "lora": "peft",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "data": "datasets",
    "parquet": "pyarrow",
    "plots": "matplotlib",
    "eight-bit": "bitsandbytes",
    "gguf": "gguf",
    "mcp": "mcp",
    "pages": "lxml",
    "browser": "playwright",
    "miniwob": "miniwob",
    "trl": "trl",
    "verl": "verl",
}
"""The module that each extra installs."""


def versions() -> list[Finding]:
    """List the versions of Python, this package and the model libraries, and the installed extras."""
    names = ("aepo-rl", "torch", "transformers", "tokenizers")
    found = ", ".join(f"{name} {_version(name)}" for name in names)
    there = [extra for extra, module in EXTRAS.items() if find_spec(module) is not None]
    missing = [extra for extra in EXTRAS if extra not in there]
    text = f"{', '.join(there) or 'none'}" + (f"; not installed: {', '.join(missing)}" if missing else "")
    return [
        Finding("versions", "python", f"{platform.python_version()} on {sys.platform} {platform.machine()}"),
        Finding("versions", "packages", found),
        Finding("versions", "extras", text),
    ]


def machine(folder: Path) -> list[Finding]:
    """List devices with their memory, processors, threads, memory and disk.

    Args:
        folder: The folder for runs; it need not exist yet.
    """
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        text = f"{torch.cuda.get_device_name(number)}, {size(free)} free of {size(total)}"
        found.append(Finding("machine", f"cuda:{number}", text))
    if not found:
        found.append(Finding("machine", "device", "no GPU: models run on the CPU"))
    free, total = host_memory()
    cores = processors()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    found.append(Finding("machine", "memory", f"{size(free)} free of {size(total)}"))
    found.append(Finding("machine", "processors", f"{cores}, torch uses {torch.get_num_threads()} threads{load}"))
    place = next(part for part in (folder.absolute(), *folder.absolute().parents) if part.exists())
    left = shutil.disk_usage(place).free
    found.append(
        Finding("machine", "disk", f"{size(left)} free for {folder}")
        if left >= LEAST_DISK
        else Finding("machine", "disk", f"{size(left)} free for {folder}", "note", "checkpoints may not fit: make room")
    )
    return found


def sandboxes(needed: bool) -> list[Finding]:
    """Probe each sandbox, and say which one would be chosen.

    Args:
        needed: True if the task needs a sandbox, so that having none is reported as missing.
    """
    from aepo.tools.sandbox.choose import verdicts

    if not sys.platform.startswith("linux"):
        text = f"programs of a model run on Linux only, this is {sys.platform}"
        return [Finding("sandbox", "none", text, "missing" if needed else "note", "use a container or a VM")]
    judged = verdicts()
    chosen = next((one.name for one in judged if one.sandbox is not None), None)
    found = []
    for one in judged:
        if one.sandbox is not None:
            found.append(
                Finding("sandbox", one.name, "contains the probe" + ("; chosen" if one.name == chosen else ""))
            )
        else:
            state: State = "missing" if needed and chosen is None else "note"
            found.append(Finding("sandbox", one.name, f"refused: {'; '.join(one.failures)}", state, one.fix))
    return found


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"
