"""The time of each cell over all runs of a machine, and where it changed for good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.report import platforms
from clip_bench.report.blocks import join
from clip_bench.report.comparisons import changed
from clip_bench.report.figures import clean, markdown, millis, times
from clip_bench.report.rows import collect
from clip_bench.report.sides import Cell, cell
from clip_bench.runfile import Run
from clip_bench.timing.steady import SHORTEST, shifts
from clip_bench.timing.windows import level

HEADS = ("Cell", "Course", "Changes", "Runs", "First (ms)", "Newest (ms)", "Least (ms)", "Most (ms)")
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 40  # runs at most whose bars are shown
LEGEND = (
    "A time is the median of a run's rounds over blocks of consecutive ones (of a load: the mean); runs of unlike calls are "
    "lines of their own. *Course* is from the least to the most, oldest first. *Changes* are change-points (PELT on ranks) "
    f"between levels of {SHORTEST} runs or more, with what changed between the two runs around them."
)

Moment = tuple[str, Cell, float]


def table(paths: Sequence[Place]) -> str:
    """A table per machine with a line for each cell that has times of two or more runs.

    Raises:
        UsageError: a named file is no run, or there is none.
    """
    machines: dict[str, list[Run]] = {}
    runs, _ = collect(paths)
    for run in sorted(runs, key=lambda run: (run.datetime, run.name)):
        machines.setdefault(platforms.machine_name(run.machine), []).append(run)
    if not machines:
        msg = "no clip-bench run among the given files; make one with pytest --benchmark-only --reports reports"
        raise UsageError(msg)
    parts = [LEGEND]
    for name in sorted(machines):
        parts += [f"## {clean(name)}", *_machine(machines[name])]
    return join(parts)


def _machine(runs: Sequence[Run]) -> list[str]:
    series = _series(runs)
    several = {name: moments for name, moments in series.items() if len(moments) > 1}
    single = len(series) - len(several)
    lines = [_line(moments) for moments in several.values()]
    told = [markdown(HEADS, lines, left=3)] if lines else []
    return [f"{len(runs)} runs; {len(several)} cells with times of two or more, {single} of one.", *told]


def _series(runs: Sequence[Run]) -> dict[tuple[str, ...], list[Moment]]:
    """The times of each cell and call, oldest first."""
    found: dict[tuple[str, ...], list[Moment]] = {}
    for run in runs:
        for entry in run.entries:
            told = cell(run, entry)
            if told.rounds_s:
                time_s = level(told.rounds_s, overlapping=told.overlapping)
                found.setdefault((told.name, *told.call.values()), []).append((run.datetime, told, time_s))
    return found


def _line(moments: Sequence[Moment]) -> list[str]:
    times_s = [time_s for _, _, time_s in moments]
    ends = (times_s[0], times_s[-1], min(times_s), max(times_s))
    return [
        clean(moments[0][1].name),
        _course(times_s),
        _changes(moments),
        str(len(times_s)),
        *(millis(1e3 * s) for s in ends),
    ]


def _course(times_s: Sequence[float]) -> str:
    low, high = min(times_s), max(times_s)
    step = (high - low) / (len(BARS) - 1) or 1
    return "".join(BARS[round((time_s - low) / step)] for time_s in times_s[-SHOWN:])


def _changes(moments: Sequence[Moment]) -> str:
    """Where the level changed, from what to what, and what else did."""
    times_s = [time_s for _, _, time_s in moments]
    if len(times_s) < 2 * SHORTEST:
        return f"needs {2 * SHORTEST} runs"
    edges = shifts(times_s)
    levels = [median(part) for part in _parts(times_s, edges)]
    told = []
    for edge, before, after in zip(edges, levels, levels[1:], strict=False):
        facts = "; ".join(changed(moments[edge - 1][1], moments[edge][1]))
        told.append(f"{moments[edge][0][:10]}: {times(after / before)} ({facts or 'nothing else recorded'})")
    return clean(", ".join(told)) if told else "none seen"


def _parts(times_s: Sequence[float], edges: Sequence[int]) -> list[Sequence[float]]:
    """*times_s* before, between and after *edges*."""
    bounds = (0, *edges, len(times_s))
    return [times_s[first:last] for first, last in pairwise(bounds)]
