"""clip-bench report: tables from the JSON files of runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from clip_bench.commands import tell
from clip_bench.errors import UsageError

HELP = "make the tables from the JSON files of runs, without any runtime"
FOLDER = Path("reports")


def add(parser: argparse.ArgumentParser) -> None:
    """From where, and to where."""
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="JSON", help="run files, or folders of them (default: reports)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="folder to write (default: reports)")
    parser.add_argument(
        "--format",
        choices=("pages", "github"),
        default="pages",
        help="github: print a CI job's summary, and write nothing",
    )


def run(options: argparse.Namespace) -> int:
    """Write them, and tell their paths; or print the summary."""
    from clip_bench.report import pages

    runs = options.runs or [FOLDER]
    if options.format == "pages":
        return tell(map(str, pages.write(runs, options.out or FOLDER)))
    if options.out is not None:
        msg = f"--format github writes no folder: leave out -o {options.out}, or --format"
        raise UsageError(msg)
    return tell(_summary(runs).splitlines())


def _summary(paths: Sequence[Path]) -> str:
    """The newest measurement of each cell of each machine, as GitHub's markdown.

    Raises:
        UsageError: a path is no run, or there is none.
    """
    from clip_bench.report import calibration, github, pages, platforms

    machines, _ = pages.machines_in(paths)
    whole = {name: [run for run in machines[name] if not calibration.study(run)] for name in sorted(machines)}
    told = {platforms.machine_name(runs[0].machine): pages.current(runs) for runs in whole.values() if runs}
    if not told:
        msg = "no run of cells among the given files; make one with pytest --benchmark-only --reports reports"
        raise UsageError(msg)
    return github.summary(told).rstrip("\n")
