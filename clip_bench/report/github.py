"""A summary in GitHub's markdown, for the page of a CI job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_bench.record import Outcome
from clip_bench.report.figures import clean, markdown, words
from clip_bench.report.tables import hardware, holes

LIMIT = 1 << 20  # bytes of a step's summary: docs.github.com, "Workflow commands", step isolation and limits
OPENED, CLOSED = "<details>", "</details>"
CUT = "The summary ends here: GitHub takes at most {limit:,} bytes. `clip-bench report` makes the whole."


def summary(tables: Mapping[str, pd.DataFrame], notes: Sequence[str] = (), limit: int = LIMIT) -> str:
    """How the cells of each machine ended, its hardware tables, and its cells without a time, folded away.

    *tables* are frames by the machine's name, *notes* what a reader has to see first. It is cut at a line where it
    would take more than *limit* bytes of UTF-8, and says so.
    """
    parts = ["## clip-bench", "\n".join(f"- {clean(note)}" for note in notes)]
    for name, frame in ((name, words(frame)) for name, frame in tables.items()):
        counts = Counter(frame["outcome"])
        cells = [[word.replace("_", " "), str(counts[word])] for word in Outcome if counts[word]]
        untimed = int(frame["rounds"].isna().sum())
        parts += [f"### {clean(name)}", markdown(("Outcome", "Cells"), cells), hardware(frame)]
        folded = f"{OPENED}\n<summary>Cells without a time: {untimed}</summary>\n\n{holes(frame)}\n{CLOSED}"
        parts += [folded] if untimed else []
    return _cut("\n\n".join(part.strip("\n") for part in parts if part) + "\n", limit)


def append(path: Path, tables: Mapping[str, pd.DataFrame], notes: Sequence[str] = ()) -> str:
    """Add the summary to what *path* holds, within :data:`LIMIT`; a line that says so, or why not."""
    try:
        room = LIMIT - (path.stat().st_size if path.exists() else 0)
        text = summary(tables, notes, room)
        if len(text.encode(errors="replace")) > room:
            return f"no summary added: {path} is full, GitHub takes at most {LIMIT:,} bytes"
        with path.open("a", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(text)
    except OSError as exc:
        return f"no summary added: cannot write {path}: {exc.strerror}"
    return f"summary added to {path}"


def _cut(text: str, limit: int) -> str:
    """*text* in at most *limit* bytes: whole lines, with what was open closed, and a last line that says so."""
    if len(text.encode(errors="replace")) <= limit:
        return text
    end = f"\n\n{CUT.format(limit=limit)}\n"
    left, kept = limit - len(f"\n\n{CLOSED}{end}".encode()), []
    for line in text.splitlines():
        left -= len(line.encode(errors="replace")) + 1
        if left < 0:
            break
        kept.append(line)
    open_ = kept.count(OPENED) > kept.count(CLOSED)
    return "\n".join([*kept, *(["", CLOSED] if open_ else [])]) + end
