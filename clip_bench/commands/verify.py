"""clip-bench verify: whether every figure of a report follows from raw values."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_bench import places

HELP = "recompute every summary and every table of reports from raw values, and find what was edited"


def add(parser: argparse.ArgumentParser) -> None:
    """What is verified."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="a folder of reports, or the JSON of a run, here or by URI (default: reports)",
    )


def run(options: argparse.Namespace) -> int:
    """Print a line for each file; exit status 1 if any is not as it was measured."""
    from clip_bench.plain import printable
    from clip_bench.report.verify import verify

    faulty = checks = 0
    for path in list(map(places.of, options.paths)) or [Path("reports")]:
        for checked in verify(path):
            faulty, checks = faulty + bool(checked.faults), checks + 1
            name = printable(str(checked.path))
            if checked.faults:
                sys.stdout.writelines(f"{name}: {printable(fault)}\n" for fault in checked.faults)
            else:
                sys.stdout.write(f"{name}: {checked.told}\n")
            sys.stdout.flush()
    verdict = (
        f"{faulty} of {checks} checks failed: these files are not as they were measured and made"
        if faulty
        else "every figure follows from raw values"
    )
    sys.stdout.write(f"{verdict}\n")
    return 1 if faulty else 0
