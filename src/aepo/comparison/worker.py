"""Trains one run of a comparison in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from aepo.config import Config
from aepo.process.signals import terminable
from aepo.process.user_code import with_notes
from aepo.runs.folder import RunFolder

INTERRUPTED, FAILED = 130, 1


def work(config: Config, log: Path, failure: Connection) -> None:
    """Train one run to its end, or continue it; then end the process.

    Ctrl-C stops it with a checkpoint, as in any run. So does the end of the process that started it.

    Args:
        config: The run's configuration.
        log: The file to which the run's output is appended.
        failure: A connection that gets one line if the run fails.
    """
    # Ctrl-C in a terminal reaches all processes of the session. In a session of its own, a run stops only when the
    # comparison says so.
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    with log.open("a", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # A tool that never returns would block Python's normal exit, so the process ends at once.
    with terminable():
        os._exit(_train(config, failure))


def _train(config: Config, failure: Connection) -> int:
    from aepo.start import train_config

    code = 0
    try:
        train_config(config, resume=RunFolder(Path(config.run)).config_file is not None)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failure.send(with_notes(error))
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _stop_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)
