"""clip-bench audit: published rows against what their hardware can do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "hold published times against what the named hardware can do at most"


def add(parser: argparse.ArgumentParser) -> None:
    """One file."""
    parser.add_argument("published", type=Path, metavar="CSV", help="rows that others published")


def run(options: argparse.Namespace) -> int:
    """Print the page."""
    from clip_bench.report import audit

    sys.stdout.write(audit.page(audit.read(options.published)))
    return 0
