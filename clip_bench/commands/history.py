"""clip-bench history: how the time of each cell went over many runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_bench import places

HELP = "the time of each cell over all runs, and where it changed for good"


def add(parser: argparse.ArgumentParser) -> None:
    """Of which runs."""
    parser.add_argument("runs", nargs="*", metavar="JSON", help="run files, folders or URIs of them (default: reports)")


def run(options: argparse.Namespace) -> int:
    """Print the tables."""
    from clip_bench.report import history

    sys.stdout.write(history.table(list(map(places.of, options.runs)) or [Path("reports")]))
    return 0
