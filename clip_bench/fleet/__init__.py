"""A fleet: a run that is planned here, measured on the nodes of a Ray cluster, each cell where its device is, and written here."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from clip_bench import supervise
from clip_bench.errors import UsageError
from clip_bench.fleet import cluster
from clip_bench.fleet.node import Task
from clip_bench.fleet.schedule import Cell, Schedule
from clip_bench.journal import Journal
from clip_bench.supervise import Limits

TEST = "tests/bench/test_latency.py::test_latency"
HERE = ("--reports", "--require", "--format", "--benchmark-json")  # what is done with a run, by who writes its file


def run(journal: Journal, limits: Limits, address: str, say: Callable[[str], object]) -> int:
    """Measure what *journal* asks on the nodes at *address*, and write the run; pytest's exit status.

    Raises:
        UsageError: there is no cluster.
        ClipBenchError: pytest cannot plan or write the run here.
    """
    status = supervise.plan(journal) if journal.story.planned is None else 0
    planned, asked = journal.story.planned, journal.story.asked
    if status or planned is None or asked is None:  # a wrong option, nothing selected, --help
        journal.remove()
        return status
    arguments = passed_on(asked["arguments"])
    ended = journal.story.ended.keys() | journal.story.died.keys()
    cells = (Cell(case=case, target=target) for case, target in zip(planned["cells"], planned["targets"], strict=True))
    with cluster.connected(address, Path(asked["folder"]), cluster.SUITE) as nodes:
        Schedule(
            cluster=nodes,
            journal=journal,
            task=lambda cell: Task(
                case=cell.case,
                target=cell.target,
                arguments=(f"{TEST}[{cell.case}]", *arguments),
                limits=limits,
            ),
            say=say,
            waiting=deque(cell for cell in cells if cell.case not in ended),
        ).run()
    return supervise.supervise(journal, Limits(), say)  # every cell has ended: pytest tells them, and writes the file


def passed_on(arguments: Sequence[str]) -> list[str]:
    """Of the *arguments* of a run those that a node gets too: the first is the folder of the suite, which it has not.

    Raises:
        UsageError: one that needs a value has none, or one that a fleet cannot do.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in HERE:
        parser.add_argument(flag, action="append")
    parser.add_argument("--no-skips", action="store_true")
    parser.add_argument("-x", "--exitfirst", "--collect-only", "--co", action="append_const", const="", dest="refused")
    parser.add_argument("--maxfail", action="append", dest="refused")
    try:
        known, others = parser.parse_known_args(list(arguments[1:]))
    except argparse.ArgumentError as exc:
        raise UsageError(str(exc)) from exc
    if known.refused:
        msg = "a fleet measures every cell that is selected: leave -x, --maxfail and --collect-only out with --ray"
        raise UsageError(msg)
    return others
