"""What else the machine did while each cell was timed, and what a thousand embeddings cost in energy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clip_bench.record import Conditions
from clip_bench.report.blocks import filled, has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, precision
from clip_bench.report.figures import ABSENT, clean, fixed

LEGEND = (
    "Load is the average of the minute before. Steal is what a hypervisor gave to others; *Others* how many cores other "
    "processes took; *Waits* how often this process was made to wait for a core. J is of all that the counter covers, "
    "idling too."
)


def table(frame: pd.DataFrame) -> str:
    """Every timed cell whose record tells it, a table for each kind of call; empty where none does."""
    rows = [row for row in models(frame) if has(row, "rounds") and (row["conditions"] or row["energy_source"])]
    parts = []
    for group in split(rows):
        parts += [f"### {heading(group)}", describe(group), filled(_columns(group), 3), _sources(group)]
    return join([LEGEND, *parts]) if parts else ""


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    told: list[Conditions] = [row["conditions"] or Conditions(window_s=0.0) for row in rows]
    return {
        "Model": [row["model"] for row in rows],
        "Target": [row["target"] for row in rows],
        "Precision": [precision(row) for row in rows],
        "Load": [fixed(each.load_1m, 1) for each in told],
        "Steal (%)": [ABSENT if each.steal is None else fixed(100 * each.steal, 1) for each in told],
        "Others (cores)": [fixed(each.others, 1) for each in told],
        "MHz": ["-".join(fixed(clock, 0) for clock in each.mhz) if each.mhz else ABSENT for each in told],
        "Throttled": [fixed(each.throttled, 0) for each in told],
        "Waits": [fixed(each.switches, 0) for each in told],
        "Device": [clean(each.device) for each in told],
        "J per 1000 embeddings": [_joules(row) for row in rows],
    }


def _joules(row: Row) -> str:
    text = fixed(row["energy_j"])
    return "n/a" if text == ABSENT and row["energy_source"] else text


def _sources(rows: Sequence[Row]) -> str:
    """What the joules are of, or why there are none, once each."""
    told = dict.fromkeys(row["energy_source"] for row in rows if row["energy_source"])
    return "\n".join(f"- Energy: {clean(source)}" for source in told)
