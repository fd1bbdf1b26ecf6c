"""Runs the command line by `python -m aepo.cli`."""

import sys

from aepo.cli import main

sys.exit(main())
