"""Runs a command, and ends it with its whole process group when the host closes the lifeline or dies.

It runs as a script: `python -I -S guard.py LIFELINE COMMAND...`. LIFELINE is the descriptor of a pipe: the host holds
the other end, and nothing is written to it. Most servers end by themselves when their input ends. A server that does
not end gets SIGTERM, then SIGKILL, and so do its children.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_GRACE = 2.0


def _end(server: "subprocess.Popen[bytes]", lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(subprocess.TimeoutExpired):
            server.wait(_GRACE)
            return
        _signal(server, number)


def _signal(server: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


def main(lifeline: int, command: list[str]) -> int:
    """Run the command; return its exit status, or 128 plus the signal that killed it."""
    try:
        server = subprocess.Popen(command, process_group=0)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # If this process kept its copies of the three streams, the host would not see that the server has closed one.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    threading.Thread(target=_end, args=(server, lifeline), daemon=True).start()
    status = server.wait()
    _signal(server, signal.SIGKILL)  # ends what the server started and left behind
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
