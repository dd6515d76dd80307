"""Write clip_bench/quality/known.csv anew: the drift of every cell that ended ok in a committed run, one request at a time.

``python tests/unit/quality/learn.py``: then read the diff. A drift that moved has a cause; find it before it is committed.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from clip_bench import runfile
from clip_bench.quality import known
from clip_bench.record import Outcome
from clip_bench.specs import Precision

REPORTS = Path(__file__).parents[3] / "reports"


def table(reports: Path = REPORTS) -> str:
    """The text of the table: of several runs of a cell the newest counts.

    In FP32 every target of a model has the largest drift of all: how far sums in another order drift differs as much from
    processor to processor as from runtime to runtime.
    """
    runs = sorted((runfile.read(path) for path in reports.glob("*/[0-9]*.json")), key=lambda run: run.datetime)
    found: dict[tuple[str, str, str], float] = {}
    floats: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for run in runs:
        for entry in run.entries:
            told, measured = entry.record.boundary, entry.record
            if entry.outcome is not Outcome.OK or not told or (told.load, told.instances) != ("latency", 1):
                continue
            for each in measured.quality.similarity if measured.quality else ():
                key = entry.case, each.output, told.data_sha256
                found[key] = 1 - each.mean
                if measured.precision == Precision.FP32:
                    floats.setdefault((measured.tower, measured.model, *key[1:]), []).append(key)
    for keys in floats.values():
        found |= dict.fromkeys(keys, max(found[key] for key in keys))
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(known.HEADS)
    rows.writerows((*key, f"{drift:.3e}") for key, drift in sorted(found.items()))
    return written.getvalue()


if __name__ == "__main__":
    sys.stdout.write(f"{known.TABLE.name}: {known.TABLE.write_text(table(), encoding='utf-8'):,} characters\n")
