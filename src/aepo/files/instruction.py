"""`instruction.txt` beside the weights of a policy: the text above the system text that it was trained under."""

from __future__ import annotations

from pathlib import Path

NAME = "instruction.txt"


def read_instruction(folder: str | Path) -> str:
    """The text; empty without one.

    Raises:
        ValueError: The file is not UTF-8 text.
    """
    file = Path(folder) / NAME
    try:
        return file.read_bytes().decode() if file.is_file() else ""
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None


def write_instruction(folder: str | Path, text: str) -> None:
    """Write the text, or remove the file if the text is empty."""
    file = Path(folder) / NAME
    if text:
        file.write_bytes(text.encode())
    else:
        file.unlink(missing_ok=True)
