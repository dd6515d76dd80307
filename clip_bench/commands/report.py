"""clip-bench report: tables from the JSON files of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench.commands import tell

HELP = "make the tables from the JSON files of runs, without any runtime"


def add(parser: argparse.ArgumentParser) -> None:
    """From where, and to where."""
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="JSON", help="run files, or folders of them (default: reports)"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("reports"), help="folder to write (default: reports)")


def run(options: argparse.Namespace) -> int:
    """Write them, and tell their paths."""
    from clip_bench.report import pages

    return tell(map(str, pages.write(options.runs or [Path("reports")], options.out)))
