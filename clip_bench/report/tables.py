"""Markdown tables of a frame: the hardware table as published, and the full one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from clip_bench.record import Outcome
from clip_bench.report import platforms
from clip_bench.report.columns import (
    FULL,
    FULL_WORDS,
    HARDWARE,
    NOTES,
    TOWERS,
    UNTIMED,
    Cell,
    Row,
    marks,
    model,
    platform,
    precision,
)
from clip_bench.report.figures import ABSENT, clean, markdown
from clip_bench.report.holes import holes
from clip_bench.report.rows import CALL

__all__ = ["full", "hardware", "holes", "overhead", "terminal"]

HEADINGS = {
    "image": "Vision Model: the image tower alone",
    "text": "Text Model: the text tower alone",
    "pair": "CLIP Model: both towers fused in one graph",
}
KINDS = {"emulated": "on emulators: answers, and no times", "numerics": "the graph's numerics alone"}
SETTING = ("batch", "texts", "inside_clock", "threads")  # of a call; image size and tokens belong to the model
MEASURED = frozenset({Outcome.OK, Outcome.GATE_FAILED})
LEGEND = (
    "Accuracy is zero-shot top-1; Degrad is 100 · (1 - mean cosine to the FP32 PyTorch embeddings). Every latency and "
    "throughput of a row comes from the same rounds. Each table has a boundary of its own: a time in one says nothing "
    "about a time in another."
)
FULL_LEGEND = (
    "Placed and Executed count nodes by where and in which type they ran, by the runtime's own evidence. "
    "Speed-up is over PyTorch FP32 on the CPU in the same run, by median. Similarity is the cosine to the FP32 "
    "reference of the same input; *Other inputs* is the reference's mean cosine to different inputs, what no skill at "
    "all would score. Drift is 1 - similarity, as a multiple of what the reference itself drifts when it is computed "
    "another way: in another batch, with other threads, or again; that is its noise floor. Change is against the "
    "reference's top-1 on the same samples. Peak is how far the process's resident set rose above its level before the "
    "load: the runtime, weights, activations and inputs, less what an earlier cell freed and the allocator kept. A column without a figure is left out."
)


def hardware(frame: pd.DataFrame) -> str:
    """The *Hardware Test Results* table of the Olive CLIP examples, one for each unlike call.

    A platform stands once over its rows. Cells that failed their gate, or ran on no hardware, show their similarity
    and no time; the null target stands apart, as what the harness adds to every row.
    """
    return _hardware(frame, ("Platform", "Model", *HARDWARE), platform, LEGEND)


def terminal(frame: pd.DataFrame) -> str:
    """The hardware table for a terminal: the same figures, short headings, one line per row."""
    short = ("Platform", "Model", *(short for short, _ in HARDWARE.values()))
    return _hardware(frame, short, lambda row: platforms.title(row["target"]), "")


def full(frame: pd.DataFrame) -> str:
    """Everything measured, one table per model, tower and call; cells without any measurement are in the holes."""
    parts = []
    for rows in _groups(_measured(frame), ("model", "tower", "run", "machine", *CALL)):
        first = rows[0]
        random = first["weights"] == "random"
        noted = [row for row in rows if row["executed_note"]]
        cells = {head: [cell(row) for row in rows] for head, cell in FULL.items()}
        kept = {head: column for head, column in cells.items() if any(text != ABSENT for text in column)}
        left = sum(head in kept for head in list(FULL)[:FULL_WORDS])
        parts += [
            f"### {first['model']}, {TOWERS.get(first['tower'], first['tower'])} Model",
            " ".join(
                filter(
                    None, (_call(rows), _floor(rows), f"Random{NOTES['†'].removeprefix('random')}." if random else "")
                )
            ),
            markdown(list(kept), list(zip(*kept.values(), strict=True)), left),
            "\n".join(f"{mark} {NOTES[mark]}." for mark in UNTIMED if any(mark in t for t in cells["Precision"])),
            "\n".join(f"- {row['target']} {precision(row)}: {clean(row['executed_note'])}" for row in noted),
        ]
    return _join([FULL_LEGEND, *parts]) if parts else "Nothing was measured.\n"


def overhead(frame: pd.DataFrame) -> str:
    """What the harness itself takes: the null target, which runs nothing; empty where it was not timed."""
    rows = [row for row in frame.to_dict("records") if row["backend"] == platforms.NULL and _has(row, "rounds")]
    if not rows:
        return ""
    heads = ["Call", "Latency Avg (ms)", "Latency P90 (ms)", "Latency Max (ms)", "Latency Min (ms)"]
    cells = [[model(row), *(HARDWARE[head][1](row) for head in heads[1:])] for row in rows]
    text = "The null target computes nothing: its time is what the harness adds to every row above."
    return _join(["### Harness overhead", text, markdown(heads, cells)])


def _hardware(frame: pd.DataFrame, heads: Sequence[str], head: Cell, legend: str) -> str:
    parts = []
    rows = [row for row in _measured(frame) if row["outcome"] in MEASURED and _has(row, "rounds", "similarity_mean")]
    for row in rows:
        row["kind"] = row["device"] if row["device"] in platforms.NOT_HARDWARE else ""
    groups = _groups(rows, ("tower", *SETTING, "kind"))
    for group in sorted(groups, key=lambda group: (_rank(group[0]["tower"]), group[0]["kind"])):
        tower, kind = group[0]["tower"], group[0]["kind"]
        notes = [f"{mark} {note}." for mark, note in NOTES.items() if any(mark in marks(row) for row in group)]
        table = markdown(heads, list(_block_rows(group, head)), left=2)
        heading = ", ".join(filter(None, (HEADINGS.get(tower, tower), KINDS.get(kind, ""))))
        parts += [f"### {heading}", _call(group), table, "\n".join(notes)]
    return _join([legend, *parts, overhead(frame)] if parts else ["No cell was measured.", overhead(frame)])


def _block_rows(rows: Sequence[Row], head: Cell) -> Iterable[list[str]]:
    for block in _groups(rows, ("machine", "run", "target")):
        for index, row in enumerate(block):
            what = " ".join(filter(None, (model(row), marks(row))))
            yield ["" if index else head(row), what, *(cell(row) for _, cell in HARDWARE.values())]


def _call(rows: Sequence[Row]) -> str:
    """What one call is, what its time contains, and how many samples the accuracies are over, in words."""
    first = rows[0]
    if pd.isna(first["batch"]):
        return "What one call was is not recorded."
    pixels, tokens = _told(rows, "image_size", "px"), _told(rows, "sequence", "tokens")
    batch, texts = int(first["batch"]), int(first["texts"])
    images = f"{_plural(batch, 'image')} ({pixels})"
    contents = {"image": images, "text": f"{_plural(batch, 'text')} ({tokens})"}
    what = contents.get(first["tower"], f"{images} and {_plural(texts, 'text')} ({tokens})")
    threads = _plural(int(first["threads"]), "thread") if first["threads"] else "the runtime's own choice of threads"
    inside = first["inside_clock"] or "not recorded"
    return " ".join(filter(None, (f"One call is {what}, on {threads}. Inside the clock: {inside}.", _scored(rows))))


def _floor(rows: Sequence[Row]) -> str:
    """The reference's own noise, from the rows that were held against it."""
    floors = [row["drift_floor"] for row in rows if not pd.isna(row["drift_floor"])]
    return f"The reference's noise floor is a drift of {max(floors):.1e}." if floors else ""


def _scored(rows: Sequence[Row]) -> str:
    """What the accuracies are over; empty where there are none."""
    scored = [row for row in rows if _has(row, "samples")]
    if not scored:
        return ""
    unlike = "" if len({row["data"] for row in scored}) == 1 else ", unlike data for each model: do not compare models"
    return f"Accuracy is over {_told(scored, 'samples', 'samples')}{unlike}."


def _told(rows: Sequence[Row], name: str, unit: str) -> str:
    """A size that belongs to the model: once where all agree, else for each model; empty where none has it."""
    sizes: dict[str, dict[str, None]] = {}
    for row in rows:
        if not pd.isna(row[name]):
            sizes.setdefault(row["model"], {})[str(row[name])] = None
    by_model = {model: " or ".join(several) for model, several in sizes.items()}
    if len(set(by_model.values())) <= 1:
        return "".join(f"{size} {unit}" for size in set(by_model.values()))
    return ", ".join(f"{model} {size} {unit}" for model, size in by_model.items())


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _measured(frame: pd.DataFrame) -> list[Row]:
    kept = ("rounds", "similarity_mean", "load_s", "size_mb")
    return [row for row in frame.to_dict("records") if row["backend"] != platforms.NULL and _has(row, *kept)]


def _has(row: Row, *names: str) -> bool:
    return any(not pd.isna(row[name]) for name in names)


def _groups(rows: Iterable[Row], keys: Sequence[str]) -> list[list[Row]]:
    """Rows alike in *keys*, in the order in which each kind first appears."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    return list(groups.values())


def _rank(tower: str) -> int:
    return [*TOWERS, tower].index(tower)


def _join(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
