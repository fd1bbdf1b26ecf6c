"""The child process of `math.py`: a line with [answer, target] in, a line with true or false out.

It is run as a file, imports nothing of ours, and ends when its input does.
"""

from __future__ import annotations

import json
import logging
import sys

MEMORY = 4 << 30  # bytes of address space: a huge power must fail here, not on the machine
SECONDS = 3


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # no such limit on this system: the time limit remains
        pass


def _dollars(text: str) -> str:
    return text if "$" in text else f"${text}$"


def main() -> None:
    """Answer until the input ends."""
    _limit_memory()
    try:
        from math_verify import parse, verify
    except ImportError as error:
        print(" ".join(str(error).split()), flush=True)
        return
    logging.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        answer, target = json.loads(line)
        try:
            gold = parse(_dollars(target), parsing_timeout=SECONDS)
            equal = verify(gold, parse(_dollars(answer), parsing_timeout=SECONDS), timeout_seconds=SECONDS)
        except Exception:  # sympy raises anything on what a policy writes
            equal = False
        print("true" if equal else "false", flush=True)


if __name__ == "__main__":
    main()
