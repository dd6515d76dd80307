"""clip-bench topk: the figures of a file of predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench.commands import tell

HELP = "top-1 and top-5 from the predictions that clip-bench evaluate wrote"


def add(parser: argparse.ArgumentParser) -> None:
    """One file."""
    parser.add_argument("predictions", type=Path, metavar="FILE", help="what evaluate --predictions wrote")


def run(options: argparse.Namespace) -> int:
    """Count its lines, and print what follows."""
    from clip_bench.answers import predictions

    name, classes, counted = predictions.tally(options.predictions)
    return tell(counted.lines(name, classes))
