"""The cell to deploy for each machine, model, tower and kind of call, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.record import Outcome
from clip_bench.report import platforms
from clip_bench.report.blocks import alike, has
from clip_bench.report.calls import SETTING, rank
from clip_bench.report.columns import Row
from clip_bench.report.current import current
from clip_bench.report.fronts import COSINE, DIGITS, TOP1, pareto
from clip_bench.report.rows import collect
from clip_bench.runfile import Run
from clip_bench.timing.roofline import Word

KIND = ("machine", "model", "weights", "tower", *SETTING, "sequence", "image_size")
FAR = 1e-9  # points: less is a rounding of the difference of two shares
DEPLOY, TIE, RUNNER_UP, BETTER = "deploy", "tie", "runner-up", "more accurate"
SIMILAR = "more similar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is least in the best cell, or most if ``most``: a column, its words, and how another cell is called."""

    column: str
    head: str
    sought: str
    worse: str
    most: bool = False

    def cost(self, row: Row) -> float:
        """What the best cell has least of."""
        value = float(row[self.column])
        return -value if self.most else value


OBJECTIVES: Mapping[str, Objective] = {
    "latency": Objective(
        column="p50_ms", head="Latency P50 (ms)", sought="Least latency: the median of the calls", worse="slower"
    ),
    "throughput": Objective(
        column="throughput_avg",
        head="Throughput (samples/s)",
        sought="Most throughput: samples in a second",
        worse="less",
        most=True,
    ),
    "size": Objective(column="size_mb", head="Size (MB)", sought="Least size: the artifact on disk", worse="larger"),
    "energy": Objective(
        column="energy_j",
        head="Energy (J per 1000)",
        sought="Least energy: joules for 1000 embeddings",
        worse="more",
    ),
}
TIMED = frozenset({"latency", "throughput"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a cell may lose: points of top-1 below the FP32 reference's on the same samples, and cosine to it.

    Without ``min_similarity`` the floor of each precision's gate holds, as it does for every cell that ended ok.
    """

    max_top1_drop: float = 1.0
    min_similarity: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_top1_drop) and self.max_top1_drop >= 0):
            msg = f"--max-top1-drop {self.max_top1_drop:g}: points of top-1, 0 or more"
            raise UsageError(msg)
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            msg = f"--min-similarity {self.min_similarity:g}: a cosine, between -1 and 1"
            raise UsageError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A cell and its part: to deploy, a tie with that, the runner-up, or one that is worse by the objective and better."""

    part: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one kind of call is answered with: the cell to deploy first; empty where no cell holds the bounds.

    ``rows`` are all cells that were to run it on hardware; ``fitting`` of them may be chosen.
    """

    rows: Sequence[Row]
    told: Sequence[Told]
    fitting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The choices in the order of machines, models and towers, and each cell that was left out, with why."""

    objective: str
    bounds: Bounds
    choices: Sequence[Choice]
    left_out: Sequence[tuple[Row, str]]


def measured(paths: Iterable[Place], only: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """The newest measurement of each cell on each machine; of *only* such models, towers and machines as it names.

    Raises:
        UsageError: no run, or nothing of what is asked for.
    """
    machines: dict[str, list[Run]] = {}
    runs, _ = collect(paths)
    for run in sorted(runs, key=lambda run: (run.datetime, run.name), reverse=True):
        machines.setdefault(platforms.machine_name(run.machine), []).append(run)
    if not any(run.entries for run in runs):
        msg = "no measured cell among the given files; make a run with pytest --benchmark-only --reports reports"
        raise UsageError(msg)
    table = pd.concat([current(machines[name]) for name in sorted(machines)], ignore_index=True)
    for column, wanted in only.items():
        there = list(dict.fromkeys(table[column]))
        if lacking := [word for word in wanted if word not in there]:
            msg = f"--{column} {lacking[0]}: not in these runs, only {', '.join(map(str, there))}"
            raise UsageError(msg)
        table = table[table[column].isin(list(wanted))] if wanted else table
    return table


def choose(table: pd.DataFrame, objective: str, bounds: Bounds) -> Answer:
    """Name the best cells of *table* by one of :data:`OBJECTIVES`, within *bounds*.

    Cells are ranked against those of the same machine, model, tower and call alone; those with top-1 against each
    other, and those without.

    Raises:
        UsageError: no cell has what the objective is about.
    """
    rows: list[Row] = table.to_dict("records")
    judged = [(row, unfit(row, objective, bounds)) for row in rows]
    if not any(
        has(row, OBJECTIVES[objective].column) for row in rows if row["outcome"] == Outcome.OK and answerable(row)
    ):
        raise UsageError(_unmeasured(rows, objective))
    calls = [row for row in rows if answerable(row)]
    for row in calls:
        row["scored"] = has(row, TOP1)
    why = {id(row): reason for row, reason in judged}
    groups = alike(sorted(calls, key=_place), (*KIND, "scored"))
    choices = []
    for group in groups:
        fitting = [row for row in group if not why[id(row)]]
        choices.append(Choice(rows=group, told=_parts(fitting, objective), fitting=len(fitting)))
    left_out = [(row, reason) for row, reason in judged if reason]
    return Answer(objective=objective, bounds=bounds, choices=choices, left_out=left_out)


def change(row: Row) -> float:
    """Points of top-1 above the FP32 reference's on the same samples; NaN where none was measured."""
    return float(row["top1_percent"] - row["top1_reference_percent"])


def tied(best: Row, other: Row, objective: str) -> bool:
    """Whether noise may be all that tells *best* and *other* apart.

    Of times: unless three quarters of the best one's calls took less than three quarters of the other's, so where their
    interquartile ranges overlap. Sizes and joules are measured once, have no spread, and tie where they are equal.
    """
    if objective in TIMED:
        return float(np.percentile(best["rounds_s"], 75)) >= float(np.percentile(other["rounds_s"], 25))
    column = OBJECTIVES[objective].column
    return bool(best[column] == other[column])


def _parts(rows: Sequence[Row], objective: str) -> list[Told]:
    """The cell to deploy, its ties, the next one, and what is better than these at a higher cost."""
    cost = OBJECTIVES[objective].cost
    ranked = sorted(rows, key=lambda row: (cost(row), -_good(row)))
    if not ranked:
        return []
    best, others = ranked[0], ranked[1:]
    ties = [row for row in others if tied(best, row, objective)]
    beyond = [row for row in others if not any(row is tie for tie in ties)]
    front = [ranked[place] for place in pareto([(cost(row), _good(row)) for row in ranked])]
    better = [row for row in beyond[1:] if any(row is each for each in front) and _good(row) > _good(best)]
    word = BETTER if has(best, TOP1) else SIMILAR
    return [
        Told(part=DEPLOY, row=best),
        *(Told(part=TIE, row=row) for row in ties),
        *(Told(part=RUNNER_UP, row=row) for row in beyond[:1]),
        *(Told(part=word, row=row) for row in better),
    ]


def _good(row: Row) -> float:
    """The change of top-1, or the cosine where there is none; no finer than tables show it."""
    return round(change(row), DIGITS[TOP1]) if has(row, TOP1) else round(float(row[COSINE]), DIGITS[COSINE])


def _place(row: Row) -> tuple[str, str, int, bool, int]:
    """Plain calls come first."""
    return row["machine"], row["model"], rank(row["tower"]), row["load"] != "latency", int(row["batch"])


def answerable(row: Row) -> bool:
    """Whether *row* could be an answer, and tells what its call was."""
    return (
        row["backend"] != platforms.NULL
        and row["device"] not in platforms.NOT_HARDWARE
        and row["outcome"] != Outcome.SKIPPED
        and has(row, "batch")
    )


def unfit(row: Row, objective: str, bounds: Bounds) -> str:
    """Why *row* may not be chosen; empty where it may."""
    least = bounds.min_similarity
    reasons = {
        "the null target: it computes nothing": row["backend"] == platforms.NULL,
        "emulated: answers, and no times": row["device"] == platforms.EMULATED,
        "numerics: what the graph answers, not the device": row["device"] == platforms.NUMERICS,
        str(row["outcome"]).replace("_", " "): row["outcome"] != Outcome.OK,
        "its call is not recorded": not has(row, "batch"),
        f"no {objective} was recorded": not has(row, OBJECTIVES[objective].column),
        "impossible: faster than its machine's roof allows": row["verdict"] == Word.IMPOSSIBLE,
        "no similarity was recorded": not has(row, COSINE),
        f"more than {bounds.max_top1_drop:g} points of top-1 lost": -change(row) > bounds.max_top1_drop + FAR,
        f"mean cosine below {least if least is not None else math.nan:g}": least is not None and row[COSINE] < least,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _unmeasured(rows: Sequence[Row], objective: str) -> str:
    """That no cell has what the objective is about, with what the records say of it."""
    told = next((row["energy_source"] for row in rows if row["energy_source"]), "") if objective == "energy" else ""
    why = f" ({told.removeprefix('n/a: ')})" if told else ""
    how = "measure where RAPL or NVML tells it" if objective == "energy" else "measure cells that end ok"
    others = ", ".join(name for name in OBJECTIVES if name != objective)
    return (
        f"no {objective} was recorded by any of {len(rows)} cells{why}; {how}, or choose another --objective: {others}"
    )
