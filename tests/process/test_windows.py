"""Windows, by what its Python does not have: `import aepo` and help work, everything else is one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

LINE = "aepo runs on Linux and macOS only: on Windows use WSL (wsl --install)"


def without(modules: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)


COMMANDS = [
    ["train", "train.steps=0", "--dry-run"], ["train", "run=x"], ["train", "--resume", "x"], ["doctor"], ["view", "x"],
    ["eval", "atlas"], ["eval", "--compare", "a", "b"], ["compare"], ["solve", "Who?", "--model", "atlas"],
    ["warmstart", "x"], ["convert", "x", "y"], ["export", "x", "y"], ["tools", "cache", "x"],
    ["tools", "index", "x", "--out", "y"],
]  # fmt: skip


def test_every_command_is_one_line() -> None:
    code = f"from aepo.cli import main\nfor words in {COMMANDS!r}: print(main(words))"
    done = without(("fcntl", "resource", "pwd", "grp", "termios"), code)
    assert done.stdout.split() == ["2"] * len(COMMANDS)
    assert done.stderr.splitlines() == [f"aepo: {LINE}"] * len(COMMANDS)


@pytest.mark.parametrize("gone", ["fcntl", "resource"])
def test_so_is_every_name_in_python(gone: str) -> None:
    code = """
import aepo
print(aepo.__version__)
for name in aepo.__all__:
    try:
        getattr(aepo, name)
    except ImportError as error:
        assert str(error).startswith("aepo runs on Linux"), error
    else:
        raise SystemExit(name)
"""
    done = without((gone,), code)
    assert done.returncode == 0, done.stderr


def test_help_is_shown_there() -> None:
    done = without(("fcntl", "resource"), "from aepo.cli import main\nmain(['train', '--help'])")
    assert done.returncode == 0 and "usage: aepo train" in done.stdout, done.stderr
