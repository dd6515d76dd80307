"""The page of published rows: laid out by model and boundary, each with its verdict, and what was measured beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_bench.plain import plural
from clip_bench.report import naming, noise, platforms
from clip_bench.report.blocks import filled, join
from clip_bench.report.calls import rank
from clip_bench.report.columns import NOTES, PUBLISHED, marks, precision
from clip_bench.report.columns import Row as Cell
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis
from clip_bench.report.peaks import GIGA, TERA, Peak
from clip_bench.report.published import measured, verdicts
from clip_bench.report.published.rows import FIGURES, HERE, Row, load
from clip_bench.report.published.verdicts import Kind, Told
from clip_bench.specs import Tower
from clip_bench.timing.roofline import work

FILE = "published.md"
TITLES = {
    "calls": "Times of a call",
    "indexing": "Documents into an index",
    "preprocessing": "Preprocessing",
    "scores": "Scores and sizes",
    "work": "Work of a call",
}
INTRO = (
    f"Figures that others published, as they published them, in tables of one boundary each. {PUBLISHED} is "
    f"{NOTES[PUBLISHED]}; its row links to the source. **Measured** cells of the same model, tower and call stand beside "
    "them."
)
LEGEND = (
    "*Least* is the time that the work of the model takes at the peak that the device's vendor publishes, by closed form: "
    "of arithmetic or of memory, whichever is longer; where no batch is told, of one sample. *Possible* says that the "
    "time is longer, not that it is true. Where only a narrower type has a published peak, that is the bound. "
    "A measured cell is held against what its own machine was measured to do."
)
INTROS = {
    "indexing": "A document's time contains more than the model; the verdict is on the shortest time of the row.",
    "preprocessing": "No work of a model is in these, so that the roofline says nothing of them.",
    "scores": "No time is in these, so that the roofline says nothing of them. Figures of unlike tests stand apart.",
    "work": "Published counts beside the closed form that the verdicts rest on.",
}
UNIT = 0.01  # GFLOP: the last digit that is published


def page(tables: Mapping[str, pd.DataFrame], folder: Path = HERE) -> str:
    """The published rows in *folder*, beside them the cells of *tables*, by the folder of their machine, of the same call.

    Raises:
        UsageError: a row that cannot be true as it stands.
    """
    rows, cells = load(folder), measured.timed(tables)
    told = {row.id: verdict for several in rows.values() for row in several if (verdict := verdicts.of(row))}
    parts = ["# Published figures", INTRO, _summary(rows, told), LEGEND]
    for name, title in TITLES.items():
        if name not in rows:
            continue
        parts += [f"## {title}", INTROS.get(name, "")]
        parts += _calls(rows[name], told, cells) if name == "calls" else _plain(name, rows[name], told)
    peaks = _peaks(told.values())
    return join([*parts, "## Peaks" if peaks else "", peaks])


def _summary(rows: Mapping[str, Sequence[Row]], told: Mapping[str, Told]) -> str:
    """How many verdicts of each kind, and the rows of those that matter."""
    counts = Counter(each.kind for each in told.values())
    timed = [row for several in rows.values() for row in several if row.id in told]
    lines = [f"{sum(map(len, rows.values()))} rows, {len(told)} of them with a time or a rate:", ""]
    for kind in Kind:
        named = [_row(row) for row in timed if told[row.id].kind is kind]
        which = f": {', '.join(named)}" if named and kind in {Kind.IMPOSSIBLE, Kind.SUSPECT} else ""
        facts = _missing(each.words for each in told.values() if each.kind is kind) if kind is Kind.UNTOLD else ""
        lines.append(f"- {counts[kind]} {kind}{which}{facts}")
    return "\n".join(lines)


def _missing(words: Iterable[str]) -> str:
    """Which facts verdicts lack, the commonest first."""
    facts = Counter(each.removeprefix(f"{Kind.UNTOLD}: ").partition(",")[0] for each in words)
    return f": {', '.join(f'{fact} ({count})' for fact, count in facts.most_common())}" if facts else ""


def _calls(rows: Sequence[Row], told: Mapping[str, Told], cells: Sequence[Cell]) -> list[str]:
    """A table for each model and each boundary."""
    parts, heading = [], ""
    ordered = sorted(rows, key=lambda row: (naming.model(row.architecture) is None, row.architecture, _order(row)))
    for group in _alike(ordered, ("architecture", "tower", "batch", "texts", "inside")):
        first = group[0]
        title = f"### {clean(first.architecture)}, {_call(first)}"
        parts += [] if title == heading else [title]
        heading = title
        own, why = measured.beside(first, cells)
        unit = "call" if first.batch else "sample"
        parts += [f"Inside the clock: {clean(first.inside) if first.inside else 'not told'}.", why]
        parts += [_table(group, told, unit, own), _notes(group), _marks(own)]
    return parts


def _marks(own: Sequence[Cell]) -> str:
    """What the marks of measured cells mean."""
    meant = [f"{mark} {note}." for mark, note in NOTES.items() if any(mark in marks(cell) for cell in own)]
    return " ".join(filter(None, (*meant, noise.short(own))))


def _plain(name: str, rows: Sequence[Row], told: Mapping[str, Told]) -> list[str]:
    """A table for each hardware and tower of times, and for each boundary of other figures."""
    parts = []
    for group in _alike(rows, ("hardware", "tower", "inside") if name == "indexing" else ("inside",)):
        first = group[0]
        over = first.inside[:1].upper() + first.inside[1:]
        title = f"{first.hardware}, {first.tower}s" if name == "indexing" else over
        text = f"Inside the clock: {clean(first.inside)}." if name == "indexing" else ""
        parts += [f"### {clean(title)}", text, _table(group, told, "sample"), _notes(group)]
    return parts


def _table(group: Sequence[Row], told: Mapping[str, Told], unit: str, own: Sequence[Cell] = ()) -> str:
    """The published rows of one boundary, and the measured cells of the same."""
    verdict = [told.get(row.id) for row in group]
    words = {
        "Row": [f"{_row(row)} {PUBLISHED}" for row in group] + [_machine(cell) for cell in own],
        "Model": [clean(row.model) for row in group] + [_model(cell) for cell in own],
        "Hardware": [clean(row.hardware) for row in group] + [_chip(cell) for cell in own],
        "Runtime": [clean(row.runtime) for row in group] + [clean(platforms.title(cell["target"])) for cell in own],
        "Precision": [clean(row.precision) for row in group] + [clean(precision(cell)) for cell in own],
        "Verdict": [clean(each.words) if each else ABSENT for each in verdict] + [_own(cell) for cell in own],
    }
    figures = {
        figure.head: [_exact(row.figures.get(name)) for row in group] + [_figure(name, cell) for cell in own]
        for name, figure in FIGURES.items()
        if any(name in row.figures for row in group)
    }
    least = [millis(each.least_ms) if each else ABSENT for each in verdict] + [ABSENT for _ in own]
    words |= _closed(group)
    return filled(words | figures | {f"Least of a {unit} (ms)": least}, len(words))


def _closed(group: Sequence[Row]) -> dict[str, list[str]]:
    """For rows of published work, whether the closed form gives the same."""
    if not any("image_gflop" in row.figures for row in group):
        return {}
    return {"Closed form": [_agrees(row) for row in group]}


def _agrees(row: Row) -> str:
    sizes = naming.model(row.architecture)
    parts = []
    for tower in (Tower.IMAGE, Tower.TEXT):
        published = row.figures.get(f"{tower}_gflop")
        done = work(sizes, tower, measured.FLOAT) if sizes and published is not None else None
        if done is None or published is None:
            continue
        own = done.flops / GIGA
        more = f"{fixed(own)}, {fixed(100 * (own / published - 1), 1)} % more"
        parts.append(f"{tower} {'the same' if abs(own - published) < UNIT else more}")
    return ", ".join(parts) or "none"


def _notes(group: Sequence[Row]) -> str:
    """What a reader must know of rows, each note once."""
    notes: dict[str, list[str]] = {}
    for row in group:
        if row.note:
            notes.setdefault(row.note, []).append(row.id)
    return "\n".join(f"- {', '.join(ids)}: {clean(note)}" for note, ids in notes.items())


def _peaks(told: Iterable[Told]) -> str:
    """The peaks that a verdict rests on, each with its source."""
    used = {(each.peak.device, each.peak.precision): each.peak for each in told if each.peak}
    lines = [
        [clean(device), at, clean(peak.ceiling.source), _exact(peak.ceiling.flops_s / TERA), _bandwidth(peak)]
        for (device, at), peak in sorted(used.items())
    ]
    if not lines:
        return ""
    return markdown(("Device", "At", "Source", "TFLOP/s or TOPS", "GB/s"), lines, left=3)


def _bandwidth(peak: Peak) -> str:
    return _exact(peak.ceiling.bytes_s / GIGA if peak.ceiling.bytes_s < float("inf") else None)


def _alike(rows: Iterable[Row], keys: Sequence[str]) -> list[list[Row]]:
    """Rows alike in *keys*, in the order in which each kind first appears."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    return list(groups.values())


def _order(row: Row) -> tuple[int, int, int]:
    """Towers in their order, one sample first, and last those whose batch is not told."""
    return rank(row.tower), row.batch or 10**6, row.texts or 10**6


def _call(row: Row) -> str:
    """What one call is: '1 image and 10 texts, fused'."""
    if not row.batch:
        return f"{row.tower}s, the batch not told"
    if row.tower != Tower.PAIR:
        return plural(row.batch, row.tower)
    texts = plural(row.texts, "text") if row.texts else "texts, their number not told"
    return f"{plural(row.batch, 'image')} and {texts}, fused"


def _row(row: Row) -> str:
    return f"[{row.id}]({row.link})"


def _machine(cell: Cell) -> str:
    return f"**measured** on [{clean(cell['machine'])}]({cell['folder']}/README.md)"


def _model(cell: Cell) -> str:
    return " ".join(filter(None, (clean(cell["model"]), marks(cell))))


def _chip(cell: Cell) -> str:
    threads = plural(int(cell["threads"]), "thread") if cell["threads"] else ""
    return clean(", ".join(filter(None, (cell["chip"], threads))))


def _own(cell: Cell) -> str:
    """What the ceilings of its own machine say of a measured cell."""
    share = fixed(cell["bound_percent"], 1)
    return f"{cell['verdict']} ({share} % of its machine's {cell['bound']})" if share != ABSENT else ABSENT


def _exact(figure: float | None) -> str:
    """A figure with the digits that were published, but for zeros at its end."""
    return ABSENT if figure is None else f"{figure:.10g}"


def _figure(name: str, cell: Cell) -> str:
    """The figure of a measured cell in a column of published ones."""
    return fixed(cell["throughput_avg"]) if name == "rate_s" else millis(cell.get(name))
