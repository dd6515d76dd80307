"""One self-contained HTML page over all machines: every planned cell, and the record behind each of its figures."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from urllib.parse import quote

import pandas as pd

from clip_bench.finding import Finding
from clip_bench.record import Entry, Outcome
from clip_bench.report import beside, markup, meanings, platforms, shown
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import NOTES, Cell, Row, marks
from clip_bench.report.figures import ABSENT, fixed, millis
from clip_bench.report.markup import words as _text
from clip_bench.runfile import Run

WORDS: dict[str, Cell] = {
    "Model": lambda row: str(row["model"]),
    "Tower": lambda row: str(row["tower"]),
    "Target": lambda row: str(row["target"]),
    "Precision": lambda row: str(row["precision"]),
    "Variant": lambda row: str(row["bare"]),
    "Machine": lambda row: str(row["machine"]),
}
FIGURES: dict[str, Cell] = {
    "P50 (ms)": lambda row: millis(row["p50_ms"]),
    "P90, linear (ms)": lambda row: millis(row["p90_ms"]),
    "Throughput (samples/s)": lambda row: fixed(row["throughput_avg"]),
    "Speed-up, paired (×)": lambda row: fixed(row["ratio"].speedup.value) if row["ratio"] is not None else ABSENT,
    "Speed-up, two windows (×)": lambda row: fixed(row["speedup"]),
    "Top-1 (%)": lambda row: fixed(row["top1_percent"], 1),
    "Similarity (cosine)": lambda row: fixed(row["similarity_mean"], 4),
    "R@1 text→image (%)": lambda row: fixed(row["t2i_r1_percent"], 1),
    "Size (MB)": lambda row: fixed(row["size_mb"]),
    "First call (ms)": lambda row: millis(1e3 * row["first_s"]),
    "Load (s)": lambda row: fixed(row["load_s"]),
    "Peak (MB)": lambda row: fixed(row["peak_mb"], 0),
    "P99, proven (ms)": lambda row: millis(row["p99_proven_ms"]),
    "Energy (J per 1000)": lambda row: fixed(row["energy_j"]),
}
NAME = "The page"  # among the meanings of columns
SAID_ONCE = ("Tower", "Machine")  # the text over the table tells them where all its rows are of one
BADGES = {"†": "random weights", "‡": "emulated", "¶": "numerics only", "≈": "not stable"}
SAID = "§"  # the outcome says it
HARNESS = "The null target computes nothing: its time is what the harness adds to every cell."
MATRIX = "Which CLIP model, runtime and precision is fastest here, and is it still right? The newest measurement of each cell:"
UNLIKE = (
    "Each table is one kind of call: a time in one says nothing about a time in another, so each is ordered by itself."
)
PAGES = "The page of each has its plots and every other table."
UNREACHED = "Nothing was measured of these cells; each tells why."


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows whose figures may stand in one column."""

    heading: str
    told: str
    rows: Sequence[Row]


def page(
    tables: Mapping[str, pd.DataFrame],
    runs: Mapping[str, Sequence[Run]],
    findings: Mapping[str, Sequence[Finding]] | None = None,
) -> str:
    """The page of *tables*, by the machine's folder: of each, what is shown of its *runs*, as ``rows.frame`` numbers them.

    *findings* are what commands measured beside the matrix, by the machine's folder, too.
    It loads nothing, holds the script and the style, and shows its tables without either. Whatever a run file holds
    appears as text. Files are linked beside the page, as ``<folder>/<run>.json``. The same runs make the same bytes.
    """
    sections = _sections(_rows(tables, runs))
    rows = numbered(sections)
    found = (_findings(folder, runs[folder][0], (findings or {}).get(folder, ())) for folder in tables)
    return filled(
        about=f"{MATRIX} {_summary(rows)}. {UNLIKE}",
        sections="\n".join(written(section) for section in sections) or "<p>No cell was planned.</p>",
        findings="\n".join(found),
        pages=PAGES,
        machines="\n".join(machines(tables, runs)),
        records=shown.block(map(shown.parts, rows)),
    )


def machines(tables: Mapping[str, pd.DataFrame], runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line of the table of machines for each of *tables*."""
    return [_machine(folder, table, runs[folder][0]) for folder, table in tables.items()]


def filled(**parts: str) -> str:
    """The page with its *parts*, HTML each: ``about``, ``sections``, ``findings``, ``pages``, ``machines``, ``records``."""
    style, script = _asset("page.css"), _asset("page.js")
    return Template(_asset("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        legend="".join(f"<li><b>{_text(BADGES[mark])}</b> {_text(_meaning(mark))}</li>" for mark in BADGES),
        **parts,
    )


def numbered(sections: Sequence[Section]) -> list[Row]:
    """The rows of *sections*, each with its number among all, by which its record is found."""
    rows = [row for section in sections for row in section.rows]
    for number, row in enumerate(rows):
        row["number"] = number
    return rows


def _rows(tables: Mapping[str, pd.DataFrame], runs: Mapping[str, Sequence[Run]]) -> list[Row]:
    """Every row with its entry, the path of its run, and its place in the default order: the fastest of a model first."""
    rows: list[Row] = []
    for folder, table in tables.items():
        entries: list[tuple[Run, Entry]] = [(run, entry) for run in runs[folder] for entry in run.entries]
        for index, row in zip(table.index, table.to_dict("records"), strict=True):
            run, entry = entries[index]
            href = quote(os.fsencode(f"{folder}/{run.name}.json"))
            rows.append(row | {"entry": entry, "head": run.head, "href": href})
    return sorted(rows, key=lambda row: (row["model"], pd.isna(row["p50_ms"]), row["p50_ms"], row["case"]))


def _sections(rows: Sequence[Row]) -> list[Section]:
    """Each kind of call by itself, the harness alone, and at last the cells without a figure."""
    by_kind: dict[str, list[Row]] = {"calls": [], "harness": [], "rest": []}
    for row in rows:
        reached = any(cell(row) != ABSENT for cell in FIGURES.values())
        by_kind[("harness" if row["backend"] == platforms.NULL else "calls") if reached else "rest"].append(row)
    sections = [
        Section(heading=heading(group), told=describe(group, scores=True), rows=group)
        for group in split(by_kind["calls"])
    ]
    sections += [Section(heading="Harness overhead", told=HARNESS, rows=by_kind["harness"])]
    sections += [Section(heading="Cells without a figure", told=UNREACHED, rows=by_kind["rest"])]
    return [section for section in sections if section.rows]


def written(section: Section) -> str:
    """Its heading, what one call was, and its table without the columns that say nothing."""
    words = {head: [_text(cell(row)) for row in section.rows] for head, cell in WORDS.items()}
    figures = {head: [_text(cell(row)) for row in section.rows] for head, cell in FIGURES.items()}
    marked = {
        "Model": [f'<a href="{_text(row["href"])}">{_text(WORDS["Model"](row))}</a>' for row in section.rows],
        "Notes": [_badges(row) for row in section.rows],
        "Outcome": [_ended(row) for row in section.rows],
    }
    kinds = {"w": words | marked, "n": figures}
    said = {head: words[head][0] for head in SAID_ONCE if len(set(words[head])) == 1}
    kept = [
        (kind, head, cells)
        for kind, columns in kinds.items()
        for head, cells in columns.items()
        if head not in said and any(cell not in {"", ABSENT} for cell in cells)
    ]
    where = "".join(f" {head}: {cell}." for head, cell in said.items())
    heads = "".join(
        f'<th scope="col" class="{kind}" title="{_text(meanings.meaning(NAME, head))}">{_head(head)}</th>'
        for kind, head, _ in kept
    )
    lines = "\n".join(
        f'<tr data-record="{row["number"]}">'
        + "".join(f'<td class="{kind}">{cells[index]}</td>' for kind, _, cells in kept)
        + "</tr>"
        for index, row in enumerate(section.rows)
    )
    return (
        f"<section>\n<h2>{_text(section.heading)}</h2>\n<p>{_text(section.told)}{where}</p>\n"
        f'<div class="wide" tabindex="0" role="region" aria-label="{_text(section.heading)}">\n<table class="cells">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>\n</section>"
    )


def _findings(folder: str, newest: Run, findings: Sequence[Finding]) -> str:
    """The sections of what was measured beside the matrix on one machine."""
    name = _text(platforms.machine_name(newest.machine))
    return "\n".join(
        f"<section>\n<h2>{_text(heading)}</h2>\n<p>Machine: {name}.</p>\n"
        + "\n".join(markup.html(part, quote(folder)) for part in parts)
        + "\n</section>"
        for heading, parts in beside.sections(findings).items()
        if parts
    )


def _head(text: str) -> str:
    """What stands over a column, its unit below."""
    name, _, unit = text.partition(" (")
    return f"{_text(name)} <small>({_text(unit)}</small>" if unit else _text(name)


def _ended(row: Row) -> str:
    """How the cell ended and, unless it ended well, why."""
    reason, failures = str(row["reason"]), str(row["failures"])
    told = reason if failures in reason else "; ".join(filter(None, (reason, failures)))
    well = row["outcome"] == Outcome.OK
    tone = "good" if well else "idle" if row["outcome"] == Outcome.SKIPPED else "bad"
    why = told or ("" if well else "the run gives no reason")
    below = f' <span class="why">{_text(why)}</span>' if why else ""
    return f'<b class="{tone}">{_text(_spaced(row["outcome"]))}</b>{below}'


def _badges(row: Row) -> str:
    told = [mark for mark in marks(row).split() if mark != SAID]
    meant = {mark: row["unstable"] if mark == "≈" else _meaning(mark) for mark in told}
    return " ".join(
        f'<span class="badge" title="{_text(why)}">{_text(BADGES.get(mark, mark))}</span>'
        for mark, why in meant.items()
    )


def _meaning(mark: str) -> str:
    """What a mark of the tables says."""
    note = NOTES.get(mark, "its rounds, or the machine meanwhile, were too uneven to trust; the record tells why")
    return note.rpartition(": ")[2]


def _summary(rows: Sequence[Row]) -> str:
    """How many cells ended how."""
    ended = [row["outcome"] for row in rows]
    counts = {word: ended.count(word) for word in Outcome}
    told = (f"{count} {_spaced(word)}" for word, count in counts.items() if count)
    return _text(", ".join(told) or "none") + f" of {len(ended)} planned cells"


def _machine(folder: str, table: pd.DataFrame, newest: Run) -> str:
    """A line of the table of machines."""
    facts = platforms.facts(newest.machine)
    cells = (facts["CPU"], facts["RAM"], facts["Accelerators"], newest.datetime[:10] or ABSENT)
    link = f'<a href="{quote(folder)}/README.md">{_text(platforms.machine_name(newest.machine))}</a>'
    return f"<tr><td>{link}</td>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + f"<td>{len(table)}</td></tr>"


def _spaced(word: str) -> str:
    return word.replace("_", " ")


def _asset(name: str) -> str:
    return (files("clip_bench.report") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
