"""What was chosen, as markdown and as JSON data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from clip_bench.plain import plural
from clip_bench.report import noise
from clip_bench.report.best import DEPLOY, OBJECTIVES, TIMED, Answer, Choice, Told, change
from clip_bench.report.blocks import filled, has, join
from clip_bench.report.calls import brief, describe, heading
from clip_bench.report.columns import NOTES, Row
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis, points
from clip_bench.report.fronts import COSINE, TOP1

RANDOM, UNSTABLE = "†", noise.MARK
WORDS = 2  # columns that hold words
PERCENT = 100
SPREAD = (
    "*tie*: the interquartile ranges of its calls' times and the first one's overlap, so that no difference was seen"
)
ONCE = "*tie*: the same figure; it is measured once and has no spread"
NOTHING = "No cell holds the bounds."
FIGURES: dict[str, Callable[[object], str]] = {"latency": millis, "energy": lambda value: fixed(value, 3)}


def page(answer: Answer) -> str:
    """The legend, and for each machine a table for each kind of call and what was left out, with why."""
    parts = [f"# {OBJECTIVES[answer.objective].sought}", _legend(answer)]
    for machine in dict.fromkeys(row["machine"] for row in _rows(answer)):
        parts.append(f"## {clean(machine)}")
        for choice in answer.choices:
            if choice.rows[0]["machine"] == machine:
                parts += _call(choice, answer.objective)
        counts = Counter(reason for row, reason in answer.left_out if row["machine"] == machine)
        lines = [[clean(reason), str(count)] for reason, count in counts.most_common()]
        parts += ["### Left out", markdown(("Why", "Cells"), lines)] if lines else []
    return join(parts)


def data(answer: Answer) -> dict[str, Any]:
    """The same as JSON data: every call with its cells, and every cell that was left out, with why."""
    best = OBJECTIVES[answer.objective]
    return {
        "objective": answer.objective,
        "figure": best.head,
        "max_top1_drop": answer.bounds.max_top1_drop,
        "min_similarity": answer.bounds.min_similarity,
        "calls": [
            {
                **{word: choice.rows[0][word] for word in ("machine", "model", "tower")},
                "random_weights": choice.rows[0]["weights"] == "random",
                "call": brief(choice.rows[0]),
                "boundary": describe(choice.rows, scores=True),
                "fitting": choice.fitting,
                "considered": len(choice.rows),
                "cells": [_cell(told, choice, answer.objective) for told in choice.told],
            }
            for choice in answer.choices
        ],
        "left_out": [
            {"machine": row["machine"], "case": row["case"], "reason": reason, "told": row["failures"] or row["reason"]}
            for row, reason in answer.left_out
        ],
    }


def _legend(answer: Answer) -> str:
    drop, least = answer.bounds.max_top1_drop, answer.bounds.min_similarity
    least_told = "the floor of its precision's gate" if least is None else f"{least:g}"
    return (
        f"Of the cells that ended ok on hardware: those that lost at most {drop:g} {'point' if drop == 1 else 'points'} of "
        "top-1 against the FP32 reference on the same samples, and whose mean cosine to it is at least "
        f"{least_told}. Random weights ({RANDOM}) have no top-1: similarity alone holds them, and says nothing of accuracy. "
        f"{SPREAD if answer.objective in TIMED else ONCE}. *runner-up*: the first that is no tie. *more accurate*, or "
        "*more similar*: the cheapest that is so good."
    )


def _call(choice: Choice, objective: str) -> list[str]:
    first = choice.rows[0]
    random = first["weights"] == "random"
    title = " ".join((f"### {clean(first['model'])}, {clean(heading(choice.rows))}", *([RANDOM] if random else [])))
    held = f"{choice.fitting} of {plural(len(choice.rows), 'cell')} may be chosen."
    rows = [told.row for told in choice.told]
    notes = [f"{RANDOM} {NOTES[RANDOM]}." if random else "", noise.short(rows)]
    if choice.told and not random and not has(rows[0], TOP1):
        notes.append("No top-1 was measured, and similarity alone held these cells.")
    table = filled(_columns(choice, objective), WORDS) if choice.told else NOTHING
    return [title, f"{clean(describe(choice.rows, scores=True))} {held}", table, "\n".join(filter(None, notes))]


def _columns(choice: Choice, objective: str) -> dict[str, list[str]]:
    best, figure = OBJECTIVES[objective], FIGURES.get(objective, fixed)
    rows = [told.row for told in choice.told]
    several = len({row["run"] for row in rows}) > 1
    return {
        "Part": [f"**{told.part}**" if told.part == DEPLOY else told.part for told in choice.told],
        "Cell": [" ".join((clean(row["case"]), *([UNSTABLE] if row["unstable"] else []))) for row in rows],
        best.head: [figure(row[best.column]) for row in rows],
        "Against the first": [_against(row, rows[0], objective) for row in rows],
        "Top-1 (%)": [fixed(row[TOP1], 1) for row in rows],
        "Change (points)": [points(change(row)) for row in rows],
        "Mean cosine": [fixed(row[COSINE], 4) for row in rows],
        "Run": [clean(row["run"]) if several else ABSENT for row in rows],
    }


def _against(row: Row, first: Row, objective: str) -> str:
    """'38.1 % slower, +0.2 points'."""
    behind = _behind(row, first, objective)
    if row is first or behind is None:
        return ABSENT
    told = f"{fixed(behind, 1)} % {OBJECTIVES[objective].worse}"
    if not has(row, TOP1):
        return f"{told}, cosine {round(row[COSINE] - first[COSINE], 4) + 0.0:+.4f}"
    other = "" if row["data"] == first["data"] else " (other samples)"
    return f"{told}, {points(change(row) - change(first))} points{other}"


def _behind(row: Row, first: Row, objective: str) -> float | None:
    """By how many percent of the first one's figure *row* is worse; None where that is nothing."""
    column = OBJECTIVES[objective].column
    if not first[column] > 0:
        return None
    return float(PERCENT * abs(row[column] / first[column] - 1))


def _cell(told: Told, choice: Choice, objective: str) -> dict[str, Any]:
    row, first = told.row, choice.told[0].row
    return {
        "part": told.part,
        **{word: row[word] for word in ("case", "target", "precision", "variant", "run")},
        objective: _number(row[OBJECTIVES[objective].column]),
        "worse_percent": _number(_behind(row, first, objective)),
        "top1_percent": _number(row[TOP1]),
        "top1_change_points": _number(change(row)),
        "samples": None if pd.isna(row["samples"]) else int(row["samples"]),
        "mean_cosine": _number(row[COSINE]),
        "unstable": row["unstable"],
    }


def _number(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _rows(answer: Answer) -> Sequence[Row]:
    """One row at least of every machine."""
    return [*(choice.rows[0] for choice in answer.choices), *(row for row, _ in answer.left_out)]
