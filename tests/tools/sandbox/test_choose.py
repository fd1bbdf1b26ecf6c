"""Choosing a backend: the probe decides, its findings are told, the choice is remembered."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from aepo.tools.sandbox import choose as module
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.probe import probe


class NoSandbox:
    """Runs the program as it is: what the probe must refuse. Its programs are ended after a second."""

    name = "none"

    def __init__(self, readable: Sequence[Path] = ()) -> None:
        pass

    async def run(self, code: str, timeout: float) -> SandboxResult:
        if "os.fork()" in code or "bytearray" in code or "range(256)" in code or "while True" in code:
            return SandboxResult(SandboxStatus.OK, "DONE\n")

        def run() -> subprocess.CompletedProcess[str]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-c", code]
                return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder)

        done = await anyio.to_thread.run_sync(run)
        status = SandboxStatus.OK if done.returncode == 0 else SandboxStatus.ERROR
        return SandboxResult(status, done.stdout, done.stderr, done.returncode)


class Dead:
    """Cannot start."""

    name = "dead"

    def __init__(self, readable: Sequence[Path] = ()) -> None:
        pass

    async def run(self, code: str, timeout: float) -> SandboxResult:
        return SandboxResult(SandboxStatus.INFRASTRUCTURE, "", "Landlock is not there\n")


def test_the_probe_sees_every_hole_of_no_sandbox() -> None:
    failed = " ".join(probe(NoSandbox()))
    for hole in ("file", "environment", "network", "write", "processes", "memory", "disk", "loop", "flood"):
        assert f"{hole}: not contained" in failed


def test_the_probe_works_inside_a_running_event_loop() -> None:
    async def main() -> list[str]:
        return probe(Dead())

    assert asyncio.run(main()) == ["print: an ordinary program did not run (Landlock is not there)"]


def test_the_choice_is_remembered(sandbox: Sandbox) -> None:
    assert choose(sandbox.name) is sandbox
    assert choose() is choose()


def test_another_choice_of_folders_is_another_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note").write_text("seen")
    other = choose(sandbox.name, readable=[folder])
    assert other is not sandbox and other is choose(sandbox.name, readable=[folder])
    program = f"print(open({str(folder / 'note')!r}).read())"
    assert anyio.run(other.run, program, 5).stdout == "seen\n"
    assert anyio.run(sandbox.run, program, 5).status is SandboxStatus.ERROR


def test_a_host_without_a_working_backend_is_told_what_failed_and_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_trusted", {})
    monkeypatch.setattr(module, "_BACKENDS", {"sandlock": Dead, "bubblewrap": NoSandbox})
    with pytest.raises(SandboxUnavailable) as caught:
        choose()
    told = str(caught.value)
    assert "sandlock: failed print: an ordinary program did not run (Landlock is not there)" in told
    assert "bubblewrap: failed" in told and "file: not contained" in told
    assert "apt-get install bubblewrap" in told or "apparmor_restrict_unprivileged_userns=0" in told
    assert "\n" not in told


def test_the_next_backend_is_taken_when_the_first_does_not_start(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr(module, "_trusted", {})
    monkeypatch.setattr(module, "_BACKENDS", {"sandlock": Dead, "bubblewrap": type(sandbox)})
    assert isinstance(choose(), type(sandbox))


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="sandbox 'docker' is unknown; known: sandlock, bubblewrap"):
        choose("docker")
