"""clip-bench report: tables from the JSON files of runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from clip_bench import places
from clip_bench.commands import tell
from clip_bench.errors import UsageError
from clip_bench.places import Place

HELP = "make the tables from the JSON files of runs, or the overview of an archive, without any runtime"
FOLDER = Path("reports")


def add(parser: argparse.ArgumentParser) -> None:
    """From where, and to where."""
    parser.add_argument(
        "runs", nargs="*", metavar="JSON", help="run files, folders or URIs of them, or one archive (default: reports)"
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
    from clip_bench.report import archived, pages

    runs = list(map(places.of, options.runs)) or [FOLDER]
    if options.format == "pages":
        out = options.out or FOLDER
        written = pages.put(archived.made(whole, out), out) if (whole := _archive(runs)) else pages.write(runs, out)
        return tell(map(str, written))
    if options.out is not None:
        msg = f"--format github writes no folder: leave out -o {options.out}, or --format"
        raise UsageError(msg)
    return tell(_summary(runs).splitlines())


def _archive(paths: Sequence[Place]) -> Place | None:
    """The archive among *paths*, if there is one.

    Raises:
        UsageError: it is not the only path.
    """
    from clip_bench.report import archive

    found = next((path for path in paths if archive.is_archive(path)), None)
    if found is not None and len(paths) > 1:
        msg = f"{found}: an archive is reported on alone; append the other runs to it with clip-bench archive"
        raise UsageError(msg)
    return found


def _summary(paths: Sequence[Place]) -> str:
    """The newest measurement of each cell of each machine, as GitHub's markdown.

    Raises:
        UsageError: a path is no run, or there is none.
    """
    from clip_bench.report import calibration, github, pages, platforms
    from clip_bench.report.current import current

    machines, _ = pages.machines_in(paths)
    whole = {name: [run for run in machines[name] if not calibration.study(run)] for name in sorted(machines)}
    told = {platforms.machine_name(runs[0].machine): current(runs) for runs in whole.values() if runs}
    if not told:
        msg = "no run of cells among the given files; make one with pytest --benchmark-only --reports reports"
        raise UsageError(msg)
    return github.summary(told).rstrip("\n")
