"""`python -m website` builds the site into website/build/site and checks it: what `make docs` runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from website import check, pages, reference

BUILD = Path(__file__).parent / "build"


def main() -> int:
    """Gather, generate, build, check; the exit code of the first that fails."""
    sources = BUILD / "pages"
    linked = pages.gather(sources)
    linked |= reference.write_all(sources)
    pages.write_sources(sources, linked)
    shutil.rmtree(BUILD / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "-f", str(check.SETTINGS)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    if built.returncode:
        print(built.stdout, built.stderr, sep="\n", file=sys.stderr)
    # Its warnings are not shown: the check below says what is wrong in a line each.
    return built.returncode or check.main(BUILD / "site")


if __name__ == "__main__":
    sys.exit(main())
