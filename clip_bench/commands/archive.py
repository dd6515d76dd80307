"""clip-bench archive: any number of run files as one Parquet data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench import places, plain

if TYPE_CHECKING:
    from clip_bench.report import appending

HELP = "append the cells of run files to a Parquet data set, which pandas and DuckDB query"


def add(parser: argparse.ArgumentParser) -> None:
    """From where, and to where."""
    parser.add_argument("runs", nargs="+", metavar="JSON", help="run files, folders or URIs of them")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="the archive: made, or appended to"
    )


def run(options: argparse.Namespace) -> int:
    """Append, and tell each part; the exit status is 1 where files were left out."""
    from clip_bench.report import appending

    tally, told = appending.Tally(), 0
    for part in appending.append(options.out, list(map(places.of, options.runs)), tally):
        sys.stdout.write(f"{plain.line(str(part))}\n")
        sys.stdout.flush()
        told = _left_out(tally, told)
    _left_out(tally, told)
    sys.stdout.write(
        f"{tally.files} files with {tally.cells} cells appended in {tally.parts} parts; {tally.before} were there before, "
        f"{tally.others} hold no run, {len(tally.bad)} left out\n"
    )
    return 1 if tally.bad else 0


def _left_out(tally: appending.Tally, told: int) -> int:
    """Name the files that were left out after the first *told*; how many are named now."""
    for file, why in list(tally.bad.items())[told:]:
        sys.stderr.write(f"clip-bench: {plain.line(f'{file}: {why}')}\n")
    return len(tally.bad)
