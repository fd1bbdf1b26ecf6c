"""Draws the pictures of docs/viewer.md: a run's pages in Chromium, light, dark and 400 pixels wide.

python benchmarks/viewer_pictures.py RUN OTHER_RUN --section 60 --question ID --out docs/images

The next branch point of a tree is chosen, so that its numbers are on the picture.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from aepo.viewer.source import open_source
from aepo.viewer.views import questions

DESKTOP, NARROW = {"width": 1340, "height": 840}, {"width": 400, "height": 860}
TALL = {"width": 1340, "height": 1420}


@contextmanager
def served(*runs: Path) -> Iterator[str]:
    """The address of a viewer of these runs."""
    command = [sys.executable, "-m", "aepo.cli", "view", *map(str, runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def shown(page: Page, address: str) -> None:
    """Open a page and wait until it is drawn."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(f'#page[data-shown^="{address[address.index("#") :]}"]', state="attached", timeout=120_000)
    page.wait_for_load_state("networkidle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--section", default="60")
    parser.add_argument("--question", help="id; by default the one with most branches among those solved in part")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", default="")
    wanted = parser.parse_args()
    listed = questions(open_source(wanted.runs[0]).section(wanted.section))
    mixed = [q for q in listed if 0 < q["solved"] < len(q["rewards"])]
    chosen = [q for q in listed if q["id"] == wanted.question] or sorted(mixed, key=lambda q: -q["branches"])
    tree = f"#/{wanted.section}/0.{chosen[0]['index']}"
    wanted.out.mkdir(parents=True, exist_ok=True)
    views = [
        ("run", "#/", "light", TALL, 1),
        ("step", f"#/{wanted.section}", "light", DESKTOP, 1),
        ("tree", tree, "light", DESKTOP, 1),
        ("tree-dark", tree, "dark", DESKTOP, 1),
        ("tree-advantage", f"{tree}?colour=advantage", "light", DESKTOP, 1),
        ("tree-400", tree, "light", NARROW, 1),
        ("step-400", f"#/{wanted.section}", "dark", NARROW, 1),
        ("two-runs", "#/", "light", DESKTOP, 2),
        ("two-trees", tree, "dark", DESKTOP, 2),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=wanted.chromium, args=["--no-sandbox"])
        for count in (1, 2):
            if len(wanted.runs) < count:
                continue
            with served(*wanted.runs[:count]) as address:
                for name, at, theme, size, runs in views:
                    if runs != count or (wanted.only and name not in wanted.only.split(",")):
                        continue
                    page = browser.new_page(viewport=size, color_scheme=theme)
                    page.on("pageerror", lambda error: print("error:", error))
                    page.on("console", lambda line: print(line.type, line.text) if line.type == "error" else None)
                    shown(page, address + at)
                    if at.startswith(tree) and size is DESKTOP:
                        page.keyboard.press("b")
                        page.wait_for_timeout(300)
                    path = wanted.out / f"viewer-{name}.png"
                    page.screenshot(path=path)
                    print(path, path.stat().st_size // 1000, "kB")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main()
