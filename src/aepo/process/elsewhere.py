"""Calls a function in another process, one call at a time, while this process goes on.

The other process starts a fresh Python. It is not forked, because a process with threads of torch must not be; and it
does not run the caller's script again, as those of `multiprocessing` do. It ends with this process, even if that one is
killed: it then sees the end of the connection, and drops the call.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue

from aepo.process.background import Background
from aepo.process.signals import ignore_signals


class Elsewhere:
    """Starts the process with the first call, and ends it.

    Ctrl-C and SIGTERM do not reach the process: its caller decides when it ends.

    Args:
        function: It and its arguments are pickled.
        does: The function's work, for messages: "writes trees".
    """

    def __init__(self, function: Callable[..., object], does: str) -> None:
        self._function, self._does = pickle.dumps(function), does
        self._calls = Background(f"aepo {does}")
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: Connection

    def start(self, *arguments: object) -> None:
        """Start a call after the one before has ended.

        Raises:
            OSError: As `wait`, for the call before; then no call is started.
            RuntimeError: As `wait`, for the call before.
        """
        data = pickle.dumps(arguments)
        self._calls.start(lambda: self._call(data))

    def check(self) -> None:
        """As `wait`, for a call that has ended; do not wait for a running one."""
        self._calls.check()

    def wait(self) -> None:
        """Wait until the call has ended; if it has failed, the error is raised once.

        Raises:
            OSError: The function raised it.
            RuntimeError: The function raised another error, or the process was killed.
        """
        self._calls.wait()

    def close(self) -> None:
        """Wait until the call has ended, whatever came of it, and end the process."""
        with suppress(OSError, RuntimeError):
            self._calls.wait()
        self._end()

    def _call(self, arguments: bytes) -> None:
        if self._process is None:
            self._process = self._begin()
        try:
            self._asked.send_bytes(arguments)
            failure: OSError | str | None = self._asked.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"the process that {self._does} {self._end()}") from None
        if isinstance(failure, str):
            raise RuntimeError(f"the process that {self._does} failed: {failure}")
        if failure is not None:
            raise failure

    def _begin(self) -> subprocess.Popen[bytes]:
        self._asked, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                # Its path is this one's, without the current folder before it.
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with suppress(OSError):  # the call that follows finds it dead
            self._asked.send_bytes(self._function)
        return process

    def _end(self) -> str:
        """Wait until the process has ended, and tell how."""
        if self._process is None:
            return ""
        self._asked.close()
        code = self._process.wait()
        self._process = None
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def main(descriptor: int) -> None:
    """Serve the calls of the process that holds the other end of a connection."""
    ignore_signals()
    asked, received = Connection(descriptor), SimpleQueue[bytes]()
    threading.Thread(target=_receive, args=(asked, received), daemon=True).start()
    pickled, function = received.get(), None
    while True:
        arguments = received.get()
        try:
            function = function or pickle.loads(pickled)
            function(*pickle.loads(arguments))
            failure: OSError | str | None = None
        except OSError as error:
            failure = error
        except Exception as error:
            failure = " ".join(f"{type(error).__name__}: {error}".split())
        asked.send(failure)


def _receive(asked: Connection, received: SimpleQueue[bytes]) -> None:
    while True:
        try:
            received.put(asked.recv_bytes())
        except (EOFError, OSError):
            # This thread notices that the caller has died in the middle of a call, too.
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
