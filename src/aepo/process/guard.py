"""Runs a command, and ends it with its whole process group once the host closes the lifeline or dies.

A script of its own: `python -I -S guard.py LIFELINE GRACE FOLDER COMMAND...`. LIFELINE is the descriptor of a pipe that
nobody writes to and whose other end the host holds. A program that notices the end of its input ends by itself. Another
one gets SIGTERM after GRACE seconds, and SIGKILL after as many more. At the end FOLDER is removed, if it is not "".
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def _end(server: "subprocess.Popen[bytes]", lifeline: int, grace: float) -> None:
    while os.read(lifeline, 1):
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(subprocess.TimeoutExpired):
            server.wait(grace)
            return
        _signal(server, number)


def _signal(server: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


def main(lifeline: int, grace: float, folder: str, command: list[str]) -> int:
    """Run the command; its exit status, or 128 and the signal that killed it."""
    try:
        server = subprocess.Popen(command, process_group=0)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # The host sees the end of a stream when the server closes it, not when this process ends.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    threading.Thread(target=_end, args=(server, lifeline, grace), daemon=True).start()
    status = server.wait()
    _signal(server, signal.SIGKILL)  # what it started and left behind
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]))
