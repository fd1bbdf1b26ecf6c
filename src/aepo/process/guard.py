"""Runs a command, and ends it with its whole process group when the host closes the lifeline or dies.

It runs as a script: `python -I -S guard.py LIFELINE TERM KILL FOLDER COMMAND...`. LIFELINE is the descriptor of a pipe:
the host holds the other end, and nothing is written to it. A program that notices the end of its input ends by itself.
Otherwise it gets SIGTERM after TERM seconds, and SIGKILL KILL seconds later. Processes that it leaves behind get the
same time to end. At the end FOLDER is removed, if it is not "".
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

_POLL = 0.05


def _end(server: "subprocess.Popen[bytes]", lifeline: int, term: float, kill: float) -> None:
    while os.read(lifeline, 1):
        pass
    for number, seconds in ((signal.SIGTERM, term), (signal.SIGKILL, kill)):
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return
        _signal(server, number)


def _end_others(server: "subprocess.Popen[bytes]", kill: float) -> None:
    """End the rest of the group. Some processes may have to clean up, such as Python's tracker of shared memory."""
    last = time.monotonic() + kill
    left = _signal(server, signal.SIGTERM)
    while left and time.monotonic() < last:
        time.sleep(_POLL)
        left = _signal(server, 0)
    _signal(server, signal.SIGKILL)


def _signal(server: "subprocess.Popen[bytes]", number: int) -> bool:
    """Send a signal to the group; returns whether the group still exists."""
    try:
        os.killpg(server.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(lifeline: int, term: float, kill: float, folder: str, command: list[str]) -> int:
    """Run the command; returns its exit status, or 128 plus the signal that killed it."""
    try:
        server = subprocess.Popen(command, process_group=0)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # If this process kept its copies of the three streams, the host would not see that the server has closed one.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    threading.Thread(target=_end, args=(server, lifeline, term, kill), daemon=True).start()
    status = server.wait()
    _end_others(server, kill)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:]))
