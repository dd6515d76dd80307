"""What reports cost: clip-bench report as a process, on many runs of many cells.

``python tests/claims/pages.py [RUN.json]``. The runs are copies of one that was measured, the newest under reports/ with
most cells: so many cells each, on another day each, of two machines. Bounds: seconds of the whole
process, its start among them, and the most memory that it held.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import verdict

REPORTS = Path(__file__).parents[2] / "reports"
RUNS, CELLS, MACHINES = 200, 100, 2
MOST_S, MOST_MIB = 20.0, 1024.0
# A process of its own: the memory of its children is what the system tells of all of them together.
CHILD = """
import resource, runpy, sys
sys.argv = ["clip-bench", *sys.argv[1:]]
try:
    runpy.run_module("clip_bench", run_name="__main__")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def copies(data: dict[str, Any], folder: Path) -> None:
    """:data:`RUNS` runs of :data:`CELLS` cells each, made of the run *data*, in *folder*."""
    cells = []
    for number, each in enumerate(islice(cycle(data["outcomes"]), CELLS)):
        made = deepcopy(each)
        if number >= len(data["outcomes"]):
            made["case"] = made["record"]["case"] = f"{each['case']}-copy{number}"
        cells.append(made)
    whole = data | {"outcomes": cells, "benchmarks": []}
    for number in range(RUNS):
        machine = f"machine_{number % MACHINES}"
        (folder / machine).mkdir(parents=True, exist_ok=True)
        whole["machine_info"]["clip_bench"]["name"] = machine
        whole["datetime"] = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat()
        (folder / machine / f"run{number:03}.json").write_text(json.dumps(whole), encoding="utf-8")


def largest() -> Path:
    """The newest of the measured runs with the most cells."""
    return max(
        REPORTS.glob("*/2*.json"),
        key=lambda path: (len(json.loads(path.read_text(encoding="utf-8"))["outcomes"]), path.name),
    )


def measured(*words: str | Path) -> tuple[float, float]:
    """Seconds of clip-bench with *words*, and MiB that its process held at most."""
    began = time.perf_counter()
    command = [sys.executable, "-c", CHILD, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  ourselves
    kib = float(done.stderr.split()[-1])
    return time.perf_counter() - began, kib / 1024


def told(seconds: float, mib: float) -> list[verdict.Row]:
    """A line for each bound."""
    return [
        verdict.row(claim="seconds", measured=f"{seconds:.1f}", bound=f"{MOST_S:g}", holds=seconds <= MOST_S),
        verdict.row(claim="MiB held at most", measured=f"{mib:.0f}", bound=f"{MOST_MIB:g}", holds=mib <= MOST_MIB),
    ]


def main(paths: list[str]) -> int:
    """Make the runs, report on them, and say whether the bounds hold."""
    source = Path(paths[0]) if paths else largest()
    with TemporaryDirectory() as kept:
        copies(json.loads(source.read_text(encoding="utf-8")), Path(kept))
        seconds, mib = measured("report", kept, "-o", Path(kept, "out"))
    sys.stdout.write(f"{RUNS} runs of {CELLS} cells, copies of {source.name}\n\n")
    return verdict.show(told(seconds, mib))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
