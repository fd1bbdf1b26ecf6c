"""As root and as an ordinary user: the same checks in a process that has given up root."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from aepo.tools.sandbox.base import SandboxUnavailable
from aepo.tools.sandbox.bubblewrap import find_bwrap
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.packages import interpreter

PROGRAM = """
import anyio, os, pathlib, sys, tempfile
from aepo.tools.sandbox.base import SandboxUnavailable
from aepo.tools.sandbox.choose import _BACKENDS, choose
from tests.tools.sandbox import holding
try:
    box = choose(sys.argv[1])
except SandboxUnavailable as error:
    sys.exit(f"unavailable: {error}")
own = pathlib.Path(tempfile.mkdtemp())
other = _BACKENDS[sys.argv[1]](packages=own) if (module := holding.environment(own)) else None
async def main():
    print(*await holding.held(other, module), sep="; ")
    print(os.getuid(), (await box.run("print('hi')", 20)).stdout, (await box.run("b = bytearray(1 << 30)", 20)).status)
anyio.run(main)
for each in (box, other):
    getattr(each, "close", lambda: None)()
"""
NOBODY = 65534
ROOT = Path(__file__).parents[3]


def readable(paths: set[Path]) -> list[str]:
    """Start of a command line that shows these folders to everybody, should they lie in somebody's home."""
    bwrap = find_bwrap()
    closed = {
        parent for path in paths for parent in path.parents if parent != Path("/") and not parent.stat().st_mode & 0o1
    }
    if not closed or bwrap is None:
        return []
    words = [str(bwrap), "--bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    for folder in sorted(closed):
        if not any(parent in closed for parent in folder.parents):
            words += ["--perms", "0755", "--tmpfs", str(folder)]
    made: set[Path] = set()
    # None within another: what is mounted inside a folder cannot be shown by an overlay of it.
    for path in sorted(p for p in paths if not any(p != other and p.is_relative_to(other) for other in paths)):
        inside = [parent for parent in reversed(path.parents) if any(parent.is_relative_to(c) for c in closed)]
        for parent in inside:
            if parent not in closed | made:
                words += ["--perms", "0755", "--dir", str(parent)]
                made.add(parent)
        if inside:
            words += ["--ro-bind", str(path), str(path)]
    return [*words, "--"]


# With a place for what is kept, and without: bubblewrap then has no files of its own to show.
@pytest.mark.parametrize(("name", "home"), [("sandlock", False), ("bubblewrap", True), ("bubblewrap", False)])
def test_the_probe_passes_for_a_user_who_is_not_root_and_nobody_waits(
    name: str, home: bool, request: pytest.FixtureRequest
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else; the other tests have run as this user")
    try:
        choose(name)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    needed = {interpreter().parents[1], Path(sys.base_prefix), Path(sys.prefix), *map(Path, filter(None, sys.path))}
    needed.add(ROOT)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv of util-linux")
    # Not in pytest's own folder, which is closed to others.
    cache = Path(tempfile.mkdtemp(prefix="aepo-test-"))
    os.chown(cache, NOBODY, NOBODY)
    request.addfinalizer(partial(shutil.rmtree, cache))
    done = subprocess.run(
        [
            *readable({path.resolve() for path in needed if path.is_dir()}),
            *(setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"),
            *(sys.executable, "-c", PROGRAM, name),
        ],
        env={
            "PATH": os.environ["PATH"],
            "XDG_CACHE_HOME": str(cache) if home else "/nowhere",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT))),
        },
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
    )
    if "unavailable" in done.stderr and "not contained" not in done.stderr:
        pytest.skip(done.stderr.strip()[-300:])
    assert done.stdout.split() == [str(NOBODY), "hi", "memory_limit"], done.stderr
