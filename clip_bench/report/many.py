"""Pages over many machines: the best cells, with filters and search, in a browser; the best of each device in markdown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from urllib.parse import quote

from clip_bench.report import markup, shown, site
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row
from clip_bench.report.overview import ALIKE, TITLE, Overview, devices

AXES = ("model", "tower", "device", "target", "precision", "variant", "weights", "machine")
BELOW = "Of all machines; the filters are for the tables of cells below."
CELLS = "The best cell of each machine, model and kind of device."


def markdown(overview: Overview) -> str:
    """What stands below the title of the page in markdown."""
    return "\n\n".join((f"{overview.told()}.", f"## {TITLE}", devices(overview.rows)))


def page(overview: Overview, folder: Callable[[str], str], *, machines: Iterable[str], pages: str) -> str:
    """The page of a browser; *folder* names that of a machine, *machines* are lines of the table of all, *pages* a word on it."""
    rows = [row | {"href": quote(os.fsencode(f"{folder(row['machine'])}/{row['run']}.json"))} for row in overview.rows]
    groups = split(rows, ALIKE)
    sections = [
        site.Section(heading=heading(each), told=f"{CELLS} {describe(each, scores=True)}", rows=each) for each in groups
    ]
    records = [_record(row) for row in site.numbered(sections)]
    first = f"<section>\n<h2>{TITLE}</h2>\n<p>{BELOW}</p>\n{markup.html(devices(rows), '')}\n</section>"
    return site.filled(
        about=markup.words(f"{overview.told()}. {site.UNLIKE}"),
        sections="\n".join((first, *map(site.written, sections))),
        findings="",
        pages=pages,
        machines="\n".join(machines),
        records=shown.block(records),
    )


def _record(row: Row) -> dict[str, shown.Part | None]:
    cell = {"case": row["case"]} | {name: row[name] for name in AXES if row[name]}
    run = {
        "chip": row["chip"],
        "ram": row["ram"],
        "threads": int(row["threads"]),
        "measured": row["datetime"],
        "sha256": row.get("sha256", ""),
    }
    return {"cell": cell | {"outcome": row["outcome"], "run": row["run"]}, "run": {k: v for k, v in run.items() if v}}
