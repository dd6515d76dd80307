"""Write clip_bench/quality/known.csv anew: the drift of every cell that ended ok in a committed run, one request at a time.

``python tests/unit/quality/learn.py``: then read the diff. A drift that moved has a cause; find it before it is committed.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from clip_bench import record
from clip_bench.quality import known
from clip_bench.record import Outcome

REPORTS = Path(__file__).parents[3] / "reports"


def table(reports: Path = REPORTS) -> str:
    """The text of the table: of several runs of a cell the newest counts."""
    runs = sorted((record.read(path) for path in reports.glob("*/[0-9]*.json")), key=lambda run: run.datetime)
    found: dict[tuple[str, str, str], str] = {}
    for run in runs:
        for entry in run.entries:
            told, quality = entry.record.boundary, entry.record.quality
            if entry.outcome is Outcome.OK and told and quality and (told.load, told.instances) == ("latency", 1):
                for each in quality.similarity:
                    found[entry.case, each.output, told.data_sha256] = f"{1 - each.mean:.3e}"
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(known.HEADS)
    rows.writerows((*key, drift) for key, drift in sorted(found.items()))
    return written.getvalue()


if __name__ == "__main__":
    sys.stdout.write(f"{known.TABLE.name}: {known.TABLE.write_text(table(), encoding='utf-8'):,} characters\n")
