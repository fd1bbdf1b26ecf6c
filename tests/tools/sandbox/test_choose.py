"""Choosing a backend: the probe decides, its findings are told, the choice is remembered."""

import asyncio
import socket
import subprocess
import sys
import tempfile

import anyio
import pytest

from aepo.tools.sandbox import choose as module
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.probe import probe


class NoSandbox:
    """Runs the program as it is: what the probe must refuse. Its programs are ended after a second."""

    name = "none"

    def __init__(self, packages: object = None) -> None:
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

    def __init__(self, packages: object = None) -> None:
        pass

    async def run(self, code: str, timeout: float) -> SandboxResult:
        return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, "", "Landlock is not there\n")


def test_the_probe_sees_every_hole_of_no_sandbox() -> None:
    failed = " ".join(probe(NoSandbox()))
    holes = "file,environment,network,fast open,abstract socket,mode,limits of the host,signal,write"
    for hole in f"{holes},processes,memory,disk,loop,flood".split(","):
        assert f"{hole}: not contained" in failed


def test_the_probe_works_inside_a_running_event_loop() -> None:
    async def main() -> list[str]:
        return probe(Dead())

    assert asyncio.run(main()) == ["print: an ordinary program did not run (Landlock is not there)"]


def test_the_choice_is_remembered(sandbox: Sandbox) -> None:
    assert choose(sandbox.name) is sandbox
    assert choose() is choose()


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
    with pytest.raises(ValueError, match="sandbox 'docker' is unknown; known: bubblewrap, sandlock, unsafe_no_sandbox"):
        choose("docker")


def test_no_sandbox_is_never_fallen_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_trusted", {})
    monkeypatch.setattr(module, "_BACKENDS", {"sandlock": Dead, "bubblewrap": Dead})
    with pytest.raises(SandboxUnavailable):
        choose()


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SandboxUnavailable, match=r"the sandbox at .* does not work .*start SandboxFusion there"):
            choose(address)


def test_packages_of_a_service_are_its_own_affair() -> None:
    with pytest.raises(ValueError, match="packages are installed at the service"):
        choose("http://127.0.0.1:1", packages="host")
