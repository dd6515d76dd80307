"""clip-bench run: pytest on the matrix, supervised."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.journal import Journal
    from clip_bench.supervise import Limits

HELP = "pytest on the matrix, going on after a crash, a hang or a lack of memory; every other option is pytest's"
SUITE = Path("tests/bench")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
WHERE = "reports"


def add(parser: argparse.ArgumentParser) -> None:
    """The limits of a cell, and the journal of a run that did not end; what else is given is pytest's."""
    parser.add_argument(
        "--cell-timeout",
        type=float,
        metavar="S",
        help="seconds that a cell may take from its set-up to its end, all that it builds included (default: no limit)",
    )
    parser.add_argument(
        "--memory-limit",
        metavar="BYTES",
        help="what pytest's process may allocate, such as 8G; Linux alone (default: no limit)",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="JOURNAL",
        help=f"go on with a run that did not end, with its own options: its journal, or a folder (default: the newest in "
        f"{WHERE}/ and here)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="measure each cell on a node of this Ray cluster that offers its target (HOST:PORT, or auto): docs/fleets.md",
    )
    parser.set_defaults(pytest=[])


def run(options: argparse.Namespace) -> int:
    """Supervise; the exit status is pytest's."""
    from clip_bench import locks, supervise

    limits = supervise.Limits(cell_timeout_s=options.cell_timeout, memory_bytes=_bytes(options.memory_limit))
    if limits.cell_timeout_s is not None and not 0 < limits.cell_timeout_s < float("inf"):
        msg = f"--cell-timeout {limits.cell_timeout_s:g}: a number of seconds above 0"
        raise UsageError(msg)
    if options.resume is None:
        journal = _begun(options.pytest, limits, options.ray)
    else:
        journal, limits = _resumed(options, limits)
    try:
        if address := (journal.story.asked or {})["ray"]:
            from clip_bench import fleet

            return fleet.run(journal, limits, address, say)
        with locks.timing("timing cells", say):
            return supervise.supervise(journal, limits, say)
    finally:
        journal.close()


def say(line: str) -> None:
    """A line of the supervisor's own, among pytest's."""
    sys.stdout.flush()
    sys.stderr.write(f"\nclip-bench run: {line}\n")
    sys.stderr.flush()


def _begun(arguments: list[str], limits: Limits, ray: str | None) -> Journal:
    """The journal of a new run, with what was asked in it."""
    from clip_bench import journal, supervise

    if not SUITE.is_dir():
        msg = f"{SUITE}: no such folder here; clip-bench run starts pytest on it, in a checkout of clip-bench"
        raise UsageError(msg)
    if ray:
        from clip_bench import fleet

        fleet.passed_on([str(SUITE), *arguments])  # what it cannot do is told before anything begins
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--reports", type=Path, default=Path())
    parser.add_argument("--journal")
    try:
        named, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError as exc:
        raise UsageError(str(exc)) from exc
    if named.journal is not None:
        msg = f"--journal {named.journal}: clip-bench run names its journal itself; to go on with one, give it to --resume"
        raise UsageError(msg)
    made = journal.Journal.opened(journal.fresh(named.reports), locked=True)
    supervise.ask(made, [str(SUITE), *arguments], Path.cwd(), limits, ray=ray)
    return made


def _resumed(options: argparse.Namespace, limits: Limits) -> tuple[Journal, Limits]:
    """The journal to go on with, and the limits of its run, where none are given now."""
    from clip_bench import journal, supervise

    if options.pytest:
        msg = f"--resume goes on with the options of its run: leave out {' '.join(options.pytest)}"
        raise UsageError(msg)
    folders = [Path(options.resume)] if options.resume else [Path(WHERE), Path()]
    path = journal.newest(folders) if not options.resume or folders[0].is_dir() else folders[0]
    if path is None or not path.exists():
        msg = (
            f"--resume: no journal of a run that did not end in {' or '.join(map(str, folders))}; begin one without it"
        )
        raise UsageError(msg)
    made = journal.Journal.opened(path, locked=True)
    asked = made.story.asked
    if asked is None:
        made.remove()
        made.close()
        msg = f"{path}: nothing had begun; begin the run anew, without --resume"
        raise UsageError(msg)
    if not Path(asked["folder"], SUITE).is_dir():
        made.close()
        msg = f"{path}: its run was started in {asked['folder']}, where there is no {SUITE} now; put it there again"
        raise UsageError(msg)
    kept = supervise.Limits(
        cell_timeout_s=limits.cell_timeout_s or asked["cell_timeout_s"],
        memory_bytes=limits.memory_bytes or asked["memory_bytes"],
    )
    say(f"going on with {path}: {len(made.story.ended)} cells have ended")
    if told := made.settle():
        say(told)
    ray = options.ray or asked.get("ray")
    supervise.ask(made, asked["arguments"], Path(asked["folder"]), kept, ray=ray)
    return made, kept


def _bytes(text: str | None) -> int | None:
    """``8G`` as a number of bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"(?P<number>\d+)(?P<unit>[KMGT]?)(iB|B)?", text)
    number = int(match["number"]) * UNITS[match["unit"]] if match else 0
    if number <= 0:
        msg = f"--memory-limit {text}: a number of bytes, or one with a unit, such as 8G"
        raise UsageError(msg)
    if sys.platform != "linux":
        msg = f"--memory-limit {text}: only Linux holds a process to it; leave it out"
        raise UsageError(msg)
    return number
