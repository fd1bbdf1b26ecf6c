"""A Python interpreter that stays in its sandbox and runs cells, each with the names that those before it left.

It has the arguments, the filter and the limits of `BubblewrapSandbox`. Time, output and memory are limited for each
cell. Between two cells all processes are stopped. After a cell that had to be killed, the whole sandbox is gone.

A fork of it is another interpreter in the same sandbox: files by absolute path, the limits and the other processes are
shared with it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from aepo.tools.cells import LENGTH, TEXT
from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import READY
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox, Running
from aepo.tools.sandbox.capture import START_SECONDS, Captured, End, StopFlag, capture
from aepo.tools.sandbox.freeze import Frozen, Held
from aepo.tools.sandbox.supervised import Supervised, readable

_ANSWER_SECONDS, _END_SECONDS, _FORK_SECONDS = 2.0, 1.0, 20.0

# bwrap dies with the thread that started it, so this one stays.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox starter")


class SandboxLost(RuntimeError):
    """The sandbox is gone, and not by the fault of a cell."""


class Interpreter(Supervised):
    """One that is started already. `run` runs a cell."""

    name = "bubblewrap"

    def __init__(self, box: Box, channel: socket.socket, stdout: int, root: Held | None) -> None:
        """Take over the channel and stdout of a process in the box.

        Args:
            box: The sandbox.
            channel: Where frames are sent to.
            stdout: Descriptor of what it prints.
            root: The process; None for the first one, whose end is that of the box.
        """
        self.limits = box.limits
        self._box, self._channel, self._stdout, self._root = box, channel, stdout, root
        self._turn = threading.Lock()
        self._frozen: Frozen | None = None
        self.alive = True
        box.hold(root)

    def seed(self, seed: int) -> None:
        """Seed the module `random`.

        Raises:
            SandboxLost: It is gone.
        """
        with self._turn:
            self._ask(b"S", str(seed).encode())
            self._freeze()

    def fork(self) -> Interpreter:
        """Another one, with the same names, its own output, and a copy of the files beside it.

        Raises:
            SandboxLost: It is gone, or no further process can be started.
        """
        with self._turn, ExitStack() as stack:
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            read, write = os.pipe()
            stack.callback(os.close, write)
            try:
                passed = (theirs.fileno(), write)
                with self._box.forking:
                    number = self._ask(b"F", self._box.new_folder().encode(), ours, passed)
                    made = Interpreter(self._box, ours, read, self._box.process(int(number)))
                for each in (made, self):
                    each._freeze()
                return made
            except BaseException as error:
                ours.close()
                os.close(read)
                with suppress(OSError, TimeoutError):
                    self._freeze()
                if isinstance(error, OSError | ValueError | TimeoutError):
                    raise SandboxLost(f"the session cannot fork: {error}") from error
                raise

    def gone(self) -> bool:
        """Whether its sandbox was killed from outside; it is ended then."""
        if self._box.broken():
            self.end()
        return not self.alive

    def end(self) -> None:
        """End it, and with the last one the sandbox. A cell that runs is killed."""
        with self._box.lock:
            ended, self.alive = not self.alive, False
        if ended:
            return
        if self._root is not None:
            self._root.send(signal.SIGSTOP)
            with suppress(OSError, TimeoutError):
                Frozen(self._root).kill()
            self._root.send(signal.SIGKILL)
        elif self._box.holders == 1:
            self._box.running.end()
        with self._turn:
            if self._frozen is not None:
                self._frozen.forget()
            self._channel.close()
            if self._root is not None:
                os.close(self._stdout)
        self._box.let_go(self._root)

    def _supervise(self, code: bytes, timeout: float, stop: StopFlag) -> tuple[Captured, int | None, bool]:
        with self._turn:
            self._thaw()
            channel = self._channel.fileno()
            captured = capture(
                os.dup(channel),
                self._stdout,
                self._box.stderr,
                channel,
                _frame(b"C", code),
                timeout,
                self.limits,
                stop,
                self._box.running.large,
                begun=True,
            )
            # As if the sandbox had said so now.
            captured = replace(captured, stdout=READY + captured.stdout, characters=captured.characters + len(READY))
            if captured.end is End.EXIT:
                with suppress(OSError, ValueError, TimeoutError):
                    told = self._answer(self._channel, _ANSWER_SECONDS)
                    self._freeze()
                    return replace(captured, stderr=told), int(bool(told)), False
        return self._ended(captured)

    def _ended(self, captured: Captured) -> tuple[Captured, int | None, bool]:
        """The interpreter has ended, or must."""
        ended, broken = captured.end is End.EXIT, self._box.broken()
        # A fork has no status of its own; that of the first process tells whether the whole sandbox was killed.
        status = self._box.status() if ended and (broken or self._root is None) else None
        if self._root is None:
            self._box.running.end()
        self.end()
        if ended and broken and status is None:
            return Captured(captured.end, b"", b"the sandbox was killed"), None, True
        if self._root is not None:
            status = None
        return captured, status, status is None or status < 0

    def _ask(
        self, kind: bytes, content: bytes, answers: socket.socket | None = None, passed: tuple[int, ...] = ()
    ) -> bytes:
        try:
            self._thaw()
            frame = _frame(kind, content)
            self._channel.settimeout(_FORK_SECONDS)
            if passed:
                socket.send_fds(self._channel, [frame], passed)
            else:
                self._channel.sendall(frame)
            return self._answer(answers or self._channel, _FORK_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise SandboxLost(f"the session has ended: {error}") from error

    def _answer(self, channel: socket.socket, seconds: float) -> bytes:
        channel.settimeout(seconds)
        size = int.from_bytes(_exactly(channel, LENGTH), "big")
        if size > TEXT:
            raise ValueError("the answer is too long")
        return _exactly(channel, size)

    def _freeze(self) -> None:
        # A fork must not be stopped before it is known as one.
        with self._box.forking:
            self._frozen = Frozen(self._box.top(), self._box.roots(self._root))

    def _thaw(self) -> None:
        if not self.alive:
            raise SandboxLost("the session has ended")
        frozen, self._frozen = self._frozen, None
        if frozen is not None:
            frozen.thaw()


class Box:
    """A sandbox with an interpreter that waits for cells, and its forks."""

    def __init__(self, sandbox: BubblewrapSandbox) -> None:
        """Start it.

        Raises:
            SandboxLost: It does not start.
        """
        self.limits: SandboxLimits = sandbox.limits
        # A snapshot that is dropped may be ended in the middle of anything that this thread does.
        self.lock, self.forking = threading.RLock(), threading.Lock()
        self.holders = self._folders = 0
        stack = ExitStack()
        # A box that is forgotten is ended too.
        self._end = weakref.finalize(self, stack.close)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.running: Running = stack.enter_context(sandbox.running([theirs.fileno()], _starter))
                assert self.running.process.stdin and self.running.process.stdout and self.running.process.stderr
                self.stderr = self.running.process.stderr.fileno()
                stdout = self.running.process.stdout.fileno()
                with self.running.process.stdin as stdin:
                    stdin.write(_program(theirs.fileno()))
            if not readable(stdout, START_SECONDS) or os.read(stdout, 1) != READY:
                os.set_blocking(self.stderr, False)
                said = os.read(self.stderr, 1000).decode("utf-8", "replace").strip()
                raise SandboxLost(f"the sandbox does not start: {said}")
            self._first = min(self.top().children(), default=-1)
            self._roots = {self._first}
            if self._first < 0:
                raise SandboxLost("the sandbox does not start: its interpreter has ended")
        except BaseException as error:
            ours.close()
            self._end()
            if isinstance(error, OSError):
                raise SandboxLost(f"the sandbox does not start: {error}") from error
            raise
        self.first = Interpreter(self, ours, stdout, None)

    def top(self) -> Held:
        """The process that all others descend from.

        Raises:
            ProcessLookupError: It has ended.
        """
        if self.running.first is None or self.running.held is None:
            raise ProcessLookupError("the sandbox has ended")
        return Held(self.running.first, self.running.held)

    def hold(self, root: Held | None) -> None:
        """Count one more interpreter."""
        with self.lock:
            self.holders += 1
            if root is not None:
                self._roots.add(root.number)

    def roots(self, but: Held | None) -> frozenset[int]:
        """The processes of all interpreters but one; None is the first."""
        with self.lock:
            return frozenset(self._roots - {self._first if but is None else but.number})

    def let_go(self, root: Held | None) -> None:
        """Count one less; after the last one everything is ended."""
        with self.lock:
            self.holders -= 1
            last = self.holders == 0
            if root is not None:
                self._roots.discard(root.number)
        if root is not None:
            os.close(root.pidfd)
        if last:
            self._end()

    def new_folder(self) -> str:
        """The name of a folder for a fork."""
        with self.lock:
            self._folders += 1
            return f"session{self._folders}"

    def status(self) -> int | None:
        """The first interpreter's exit status, if it has ended or is just ending."""
        if self.running.held is not None:
            readable(self.running.held, _END_SECONDS)
        return self.running.status()

    def broken(self) -> bool:
        """Whether bwrap itself has ended."""
        return self.running.process.poll() is not None

    def process(self, inside: int) -> Held:
        """The fork that has this number inside.

        Raises:
            ValueError: There is none.
        """
        for child in self.top().children():
            held = Held(child, os.pidfd_open(child))
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("NSpid:") and int(line.split()[-1]) == inside and child in self.top().children():
                    return held
            os.close(held.pidfd)
        raise ValueError("it has no process")


@cache
def _sources() -> str:
    folder = Path(__file__).parents[1]
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("notebook.py", "cells.py"))


def _program(descriptor: int) -> bytes:
    return f"exec({_sources()!r} + '\\nserve({descriptor}, prepare, cell, described)', {{}})".encode()


def _frame(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(LENGTH, "big") + content


def _exactly(channel: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = channel.recv(size - len(content))
        if not piece:
            raise ValueError("the process has ended")
        content += piece
    return content
