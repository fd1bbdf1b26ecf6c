"""Checks that the name of a model leads to a folder or to the hub, before a model library is loaded."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_SECONDS = 10.0


def check_named(name: str) -> None:
    """Refuse the name of a model that is neither a folder nor on the Hugging Face Hub.

    The hub is asked once, and only for a model that was not downloaded before. The model libraries would ask it for
    minutes where there is no network.

    Raises:
        ValueError: There is no such folder and no such model, or the hub cannot be reached.
    """
    _check_folder(name)
    if not Path(name).exists():
        _check_hub(name)


def _check_folder(name: str) -> None:
    folder = Path(name)
    # A hub name is "model" or "owner/model".
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"model folder {name} does not exist")
    runs = [file.parent.name for file in folder.parent.glob("*/config.yaml")]
    if runs and "/" in name and not folder.exists():
        near = get_close_matches(folder.name, runs, 1)
        raise ValueError(f"{folder.parent} has no run {folder.name}" + (f": did you mean {near[0]}?" if near else ""))
    if name.startswith("runs/") and not folder.exists():
        raise ValueError(f"there is no run {name}")
    if folder.is_file():
        raise ValueError(f"model {name} is a file: give the folder that holds config.json and the weights")


def _check_hub(name: str) -> None:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots").is_dir():
        return
    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except (RepositoryNotFoundError, HFValidationError) as error:
        if isinstance(error, GatedRepoError):
            return
        raise ValueError(f"there is no folder {name}, and the Hugging Face Hub shows no model {name}") from error
    except OfflineModeIsEnabled as error:
        raise ValueError(
            f"there is no folder {name}, and HF_HUB_OFFLINE forbids to ask the Hugging Face Hub"
        ) from error
    except HfHubHTTPError:
        return  # the hub has an error of its own, which the model library tells or waits for
    except Exception as error:
        # Which library sends the request, and so the type of the error, depends on the version of huggingface_hub.
        raise ValueError(f"there is no folder {name}, and the Hugging Face Hub cannot be reached") from error
