"""Hostile programs against canaries: the secret stays unread, the port unreached, nothing is left behind."""

import os
import runpy
from pathlib import Path

import anyio
import pytest

from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.probe import Canaries, canaries, processes_with

OWN = {
    "read_secret": "print(open('@CANARY@/secret.txt').read())",
    "read_through_proc": "print(open('/proc/1/root@CANARY@/secret.txt').read())",
    "read_through_symlink": "import os\nos.symlink('@CANARY@/secret.txt', 'link')\nprint(open('link').read())",
    "list_host": "import os\nprint(os.listdir('@CANARY@'))",
    "environment_of_everybody": (
        "import os\nfor p in os.listdir('/proc') if os.access('/proc', os.R_OK) else range(1, 3000):\n"
        "    try: print(open(f'/proc/{p}/environ').read())\n    except OSError: pass"
    ),
    "connect": "import socket\nsocket.create_connection(('127.0.0.1', @PORT@), 1)",
    "connect_by_child": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', "
        "'import socket; socket.create_connection((\"127.0.0.1\", @PORT@), 1)'])"
    ),
    "write": "open('@CANARY@/owned', 'w').write('x')",
    "remove": "import os\nos.unlink('@CANARY@/secret.txt')",
    "overwrite_library": "import os\nopen(os.__file__, 'a').write('#')",
    "write_executable": "import sys\nopen(sys.executable, 'ab').write(b'x')",
    "daemon": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        for f in (0, 1, 2): os.close(f)\n"
        "        os.execv('/bin/sleep', ['@MARKER@', '60'])\n    os._exit(0)"
    ),
    "kill_host": (
        f"import os\nfor p in (os.getppid(), {os.getpid()}, -1):\n    try: os.kill(p, 9)\n    except OSError: pass"
    ),
    "stop_host": f"import os, signal\nos.kill({os.getpid()}, signal.SIGSTOP)",
    "fork_bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread_bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "stderr_flood": "import sys\nwhile True: sys.stderr.write('x' * 65536)",
    "silent_flood": "import os\nwhile True: os.write(1, b'')",
    "many_files": "i = 0\nwhile True:\n    open(str(i), 'wb').write(bytes(1 << 20))\n    i += 1",
    "shared_memory": "i = 0\nwhile True:\n    open(f'/dev/shm/{i}', 'wb').write(bytes(1 << 20))\n    i += 1",
    "ignore_signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "forge_ready": "import os\nos.write(1, bytes([1]) * 10)\nos._exit(0)",
    "close_everything": "import os\nos.closerange(0, 256)\nwhile True: pass",
}


def given() -> dict[str, str]:
    """More programs: the dictionary PROGRAMS of the file AEPO_HOSTILE_PROGRAMS, or of one next to the repository."""
    beside = Path(__file__).parents[4] / "shared" / "hostile" / "programs.py"
    path = Path(os.environ.get("AEPO_HOSTILE_PROGRAMS", beside))
    return runpy.run_path(str(path))["PROGRAMS"] if path.is_file() else {}


async def attack(sandbox: Sandbox, programs: dict[str, str], host: Canaries) -> dict[str, SandboxResult]:
    results: dict[str, SandboxResult] = {}
    places = anyio.CapacityLimiter(6)

    async def one(name: str, program: str) -> None:
        code = program.replace("@CANARY@", str(host.folder)).replace("@PORT@", str(host.port))
        code = code.replace("@SECRET@", "AEPO_PROBE_SECRET").replace("@MARKER@", host.marker)
        async with places:
            results[name] = await sandbox.run(code, 1.0)

    async with anyio.create_task_group() as tasks:
        for name, program in programs.items():
            tasks.start_soon(one, name, program)
    # What a later program sees is what the first one saw.
    results["afterwards"] = await sandbox.run("import os\nprint('still here', os.listdir('.'))", 5)
    return results


def check(sandbox: Sandbox, programs: dict[str, str]) -> dict[str, SandboxResult]:
    # The given ones leave a `sleep` of 317 or 318 seconds; ours must not be taken for that of another test run.
    nap = str(10_000_000 + os.getpid())
    programs = {name: code.replace("317", nap).replace("318", nap) for name, code in programs.items()}
    with canaries() as host:
        results = anyio.run(attack, sandbox, programs, host)
        read = [name for name, r in results.items() if host.secret in r.stdout + r.stderr]
        assert read == [], "the secret was read"
        assert not host.reached(), "the port was reached"
        assert [p.name for p in host.folder.iterdir()] == ["secret.txt"], "a file was left"
        assert (host.folder / "secret.txt").read_text() == host.secret
        assert [m for m in (host.marker, f"sleep\0{nap}") if processes_with(m)] == [], "a process was left"
    assert not Path("/usr/owned").exists()
    broken = {name: r.stderr[-200:] for name, r in results.items() if r.status is SandboxStatus.INFRASTRUCTURE}
    assert broken == {}, "a program broke the sandbox itself"
    assert results["afterwards"].stdout == "still here []\n"
    return results


def test_every_program_of_our_own_is_contained(sandbox: Sandbox) -> None:
    results = check(sandbox, OWN)
    assert results["stderr_flood"].status is SandboxStatus.OUTPUT_LIMIT
    assert results["ignore_signals"].status is SandboxStatus.TIMEOUT
    assert results["close_everything"].status is SandboxStatus.TIMEOUT
    assert results["forge_ready"].stdout == "\x01" * 10


def test_every_given_program_is_contained(sandbox: Sandbox) -> None:
    programs = given()
    if not programs:
        pytest.skip("set AEPO_HOSTILE_PROGRAMS to a Python file with a dictionary PROGRAMS to run more programs")
    results = check(sandbox, programs)
    assert set(results) == {*programs, "afterwards"}
    assert results["hello"].stdout == "hi\n"
    assert results["subprocess"].stdout == "sub\n\n"
