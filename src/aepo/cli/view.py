"""Runs `aepo view`."""

from __future__ import annotations

import sys
from pathlib import Path

from tyro.conf import Positional


def view(
    runs: Positional[tuple[Path, ...]],
    /,
    export: Path | None = None,
    sections: tuple[str, ...] = (),
    questions: tuple[str, ...] = (),
    megabytes: float = 20.0,
    host: str = "127.0.0.1",
    port: int | None = None,
    open: bool = False,
) -> None:
    """Look into a run or an evaluation: curves while it trains, rollout trees, tokens; two runs side by side.

    A folder that holds several runs is shown as a list of them.

    The command serves a page to this machine until you interrupt it. With --export it writes the page to a file.

    Args:
        runs: One folder, or two to compare, or a folder of runs.
        export: Write the page to this HTML file, which a browser can open from disk.
        sections: Put only these steps or data sets into the file.
        questions: Put only the questions with these ids into the file.
        megabytes: The most data of trees in the file, in MB.
        host: Address to listen on; with an address other than loopback, other machines can read your runs.
        port: Port to listen on; by default 6880, or a free port if 6880 is taken.
        open: Open the page in the browser.
    """
    from aepo.viewer import server
    from aepo.viewer.export import Choice
    from aepo.viewer.export import export as write
    from aepo.viewer.policy import LOOPBACK
    from aepo.viewer.source import open_source, runs_in

    if not runs:
        raise ValueError("no folder was given: aepo view RUN, or aepo view RUN OTHER_RUN")
    if len(runs) > 2:
        raise ValueError(f"{len(runs)} folders were given: at most two can be shown side by side")
    several = runs_in(runs[0]) if len(runs) == 1 and export is None else []
    sources = [open_source(run) for run in several or runs]
    if export is not None:
        print(write(sources, export, Choice(sections, questions, megabytes)))
        return
    at = server.listening(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{at.getsockname()[1]}/"
    if host not in LOOPBACK:
        print(f"anyone who can reach {host} can read these runs", file=sys.stderr)
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    if open:
        import webbrowser

        webbrowser.open(address)
    server.serve(sources, at, host, runs[0] if several else None)
