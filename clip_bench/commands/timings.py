"""clip-bench timings: what raw timings of any origin are worth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "what anybody's raw timings are worth: proven percentiles, stability"


def add(parser: argparse.ArgumentParser) -> None:
    """Files, and what their numbers are."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a JSON list, pytest-benchmark's JSON, or a number per line"
    )
    parser.add_argument("--percentiles", default="50,90,95,99", metavar="P,P", help="in percent (default: 50,90,95,99)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default: 1)")
    parser.add_argument("--unit", choices=("s", "ms", "us", "ns"), default="s", help="of lists and lines (default: s)")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from clip_bench.report import timings
    from clip_bench.timing import percentiles

    chosen = percentiles.parse(options.percentiles)
    sys.stdout.write(timings.table(options.files, unit=options.unit, percentiles=chosen, batch=options.batch))
    return 0
