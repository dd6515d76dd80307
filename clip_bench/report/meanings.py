"""What stands in each column of each table, in words: the tooltips of the page, and docs/columns.md.

A heading is looked up as it stands, and then with each of its numbers as ``N``: ``Batch N (ms)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clip_bench.report.columns import HARDWARE, NOTES
from clip_bench.report.glossary import MATRIX, SHARED
from clip_bench.report.glossary_commands import BESIDE, COMMANDS, PAGE
from clip_bench.report.glossary_published import PUBLISHED

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NOISY = "the rounds, or what else the machine did meanwhile, were too uneven to trust; why stands with the table"
INTRODUCTION = """\
# What each column means

What a call is, and which steps are inside the clock, stands over each table. `-` is what was not measured, and a column
without any figure is left out. The raw values behind every figure are in the run files (JSON).

A *round* is one timed call, from the inputs on the host until the outputs are on the host, or one request of a load.
There are 64 unless `--rounds` says otherwise, after 10 uncounted ones; they are the `data` of
[pytest-benchmark](https://pytest-benchmark.readthedocs.io), whose `pedantic` mode runs them with one iteration each.
Every time, percentile and throughput of a row is computed from the same rounds. *The reference* is the same model in FP32
PyTorch, on the same inputs.

This page is made from the data in `clip_bench/report/glossary.py` and the modules beside it by `python
tests/unit/tables/regenerate.py`. A test holds that every column of every table is told here, and no other.
"""
SOURCES = """\
## Where the formulae come from

- *Degrad*, *Mean Similarity*, the linear P90 and the columns of the hardware table:
  [Olive's CLIP examples](https://github.com/microsoft/Olive/tree/main/examples/clip). The right answer of a pair is at a random place, so
  that constant logits score what guessing does.
- Proven percentiles: early stopping of MLPerf's LoadGen
  ([early_stopping.cc](https://github.com/mlcommons/inference/blob/master/loadgen/early_stopping.cc)). Of n calls a
  percentile p is the t-th highest, t being the largest with P[Binomial(n, 1 - p) ≤ t] < 1 %. P90 takes 64 calls, P99 662.
- The test of repeated inputs: MLPerf's audit TEST04.
- Intervals of ratios: bootstrap-t over groups or blocks (Efron and Tibshirani 1993, 12.5). The smallest effect: Bloom's
  minimum detectable effect ([1995](https://doi.org/10.1177/0193841X9501900504)).
- What controls stray: split conformal prediction ([Lei et al. 2018](https://doi.org/10.1080/01621459.2017.1307116)).
- Change-points, and calls until the times stay the same: PELT on ranks
  ([Killick et al. 2012](https://doi.org/10.1080/01621459.2012.737745)), the steady state as
  [Barrett et al. 2017](https://doi.org/10.1145/3133876) class it.
- What is not stable: the checks of [pyperf](https://github.com/psf/pyperf), and what else the machine did.
- R@k: [CLIP_benchmark](https://github.com/LAION-AI/CLIP_benchmark).

[timing.md](timing.md) tells how the times are measured, [compare.md](compare.md) and [best.md](best.md) what a verdict asks.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, or several of one kind: where it stands, and what is in each column, by its heading."""

    name: str
    about: str
    columns: Mapping[str, str]


TABLES: tuple[Table, ...] = tuple(
    Table(name=name, about=about, columns=columns)
    for name, (about, columns) in {**MATRIX, **BESIDE, **PUBLISHED, **PAGE, **COMMANDS}.items()
)
SHORT: Mapping[str, str] = {short: head for head, (short, _) in HARDWARE.items() if short}
MARKS: Mapping[str, str] = NOTES | {"≈": NOISY}


def meaning(table: str, heading: str) -> str:
    """What is in the column *heading* of the table called *table*, in plain text.

    Raises:
        KeyError: nothing tells it.
    """
    return columns(table)[key(table, heading)]


def key(table: str, heading: str) -> str:
    """The heading under which the meaning of *heading* stands: the long one of a short one, and numbers as ``N``.

    Raises:
        KeyError: nothing tells it.
    """
    known = columns(table)
    for each in (heading, SHORT.get(heading, heading), NUMBER.sub("N", heading)):
        if each in known:
            return each
    msg = f"{table}: {heading}: nothing tells what this column is; add it to clip_bench/report/glossary.py"
    raise KeyError(msg)


def columns(table: str) -> dict[str, str]:
    """All that may stand over a column of *table*, with its meaning: its own words before those of many tables."""
    own = (each.columns for each in TABLES if each.name == table)
    return {**SHARED, **next(own, {})}


def page() -> str:
    """docs/columns.md: all of it as markdown."""
    return "\n".join([INTRODUCTION, *_shared(), *(line for table in TABLES for line in _table(table)), SOURCES])


def _shared() -> Iterator[str]:
    yield "## In many tables\n"
    yield from _lines(SHARED, "column")
    yield "## Marks\n"
    yield from _lines(MARKS, "mark")


def _table(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n"
    yield f"{table.about}\n"
    yield from _lines(table.columns, "column")


def _lines(told: Mapping[str, str], head: str) -> Iterator[str]:
    yield f"| {head} | meaning |"
    yield "|---|---|"
    briefs = {long: short for short, long in SHORT.items() if short != long}
    for name, what in told.items():
        also = f", at the terminal **{briefs[name]}**" if name in briefs else ""
        yield f"| **{_cell(name)}**{also} | {_cell(what)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
