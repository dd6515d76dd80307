"""Cost: what the suite itself takes beside the calls that it times, and that it grows no faster than the cells do.

``python tests/claims/cost.py [RUNS]``. It runs the suite in a process, as a user does, on the same ten cells of
shapes_tiny at one batch, and at six: first to fill the store, which does not count, then each size RUNS times in turns,
of which the one with the least own seconds is told.

A cell's record says in ``spent_s`` where its seconds went. ``loading`` (compiling included), ``calling`` (every
evaluation sample) and ``timing`` (warm-ups and rounds) are the runtime's. ``importing`` is what importing each runtime
in a fresh process takes, once in a run, for its step of the cold path: it is told by itself. Everything else is ours.
pytest's durations alone would not be honest: they leave out the start, the collection, the file and the tables. So

    own = wall seconds of the whole process - loading - calling - timing - importing

and own / cells is bound in both sizes. The line own = start + slope * cells goes through both. That it is a line is
bound too, start apart: pytest's duration of a cell without the seconds of its runtime is the cell's own, and the median
of these is, among 60 cells, at most 1.2 times what it is among ten.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

import verdict

from clip_bench import runfile
from clip_bench.record import Outcome

ROOT = Path(__file__).parents[2]
SIZES = ("1", "1,2,3,4,5,6")  # of --batch: as many times ten cells
CHOSEN = "shapes_tiny and image and cpu and not (null or ovep or compiled) and not (torch and int8_dynamic)"
RUNTIMES_OWN = ("loading", "calling", "timing")
NAMED = (*RUNTIMES_OWN, "importing", "building", "gating")
BOUND_S = 1.5  # per cell
GROWTH = 1.2
RUNS = 2
ENDED = (0, 1)  # of pytest: well, or with a cell that its gate stopped, which costs as well
LEAST = 0.9  # of the cells are timed, or it is no run to measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the suite: its wall seconds, and by cell pytest's duration and the record's parts, in seconds."""

    wall_s: float
    durations_s: Mapping[str, float]
    spent_s: Mapping[str, Mapping[str, float]]

    @property
    def cells(self) -> int:
        """Those that were built and loaded."""
        return len(self.spent_s)

    @property
    def parts_s(self) -> Counter[str]:
        """Where the cells' seconds went."""
        total: Counter[str] = Counter()
        for spent in self.spent_s.values():
            total.update(spent)
        return total

    @property
    def own_s(self) -> float:
        """What is the suite's, of the whole run."""
        return self.wall_s - _theirs(self.parts_s)

    @property
    def outside_s(self) -> float:
        """What is in no cell: start, collection, the file, the tables."""
        return self.wall_s - sum(self.durations_s.values())

    @property
    def own_cell_s(self) -> float:
        """What is the suite's, of the median cell."""
        return median(self.durations_s[name] - _theirs(spent) for name, spent in self.spent_s.items())


def _theirs(parts: Mapping[str, float]) -> float:
    return sum(parts.get(name, 0.0) for name in (*RUNTIMES_OWN, "importing"))


def run(batches: str) -> Run:
    """The suite in a process of its own.

    Raises:
        RuntimeError: it failed, or too few of its cells were timed.
    """
    with TemporaryDirectory() as folder:
        told = Path(folder, "durations.xml")
        line = ["tests/bench", "--benchmark-only", "-p", "no:cacheprovider", "--model", "shapes_tiny", "-m", CHOSEN]
        line += ["--batch", batches, "--reports", folder, f"--junitxml={told}"]
        began = time.perf_counter()
        ended = subprocess.run(  # noqa: S603  ourselves
            [sys.executable, "-P", "-m", "pytest", *line], cwd=ROOT, capture_output=True, text=True, check=False
        )
        wall_s = time.perf_counter() - began
        written = list(Path(folder).glob("*/*.json"))
        entries = [entry for path in written for entry in runfile.read(path).entries if entry.record.spent_s]
        timed = sum(entry.outcome is Outcome.OK for entry in entries)
        if ended.returncode not in ENDED or timed < LEAST * len(entries) or not entries:
            msg = f"--batch {batches}: {timed} of {len(entries)} cells were timed:\n{ended.stdout[-3000:]}"
            raise RuntimeError(msg)
        durations = durations_of(told.read_text(encoding="utf-8"))
    return Run(wall_s=wall_s, durations_s=durations, spent_s={each.case: each.record.spent_s for each in entries})


def durations_of(xml: str) -> dict[str, float]:
    """Seconds of each cell from set-up to end, by its id, in pytest's own XML."""
    tests = ET.fromstring(xml).iter("testcase")  # noqa: S314  pytest wrote it
    return {each.attrib["name"].partition("[")[2].rstrip("]"): float(each.attrib["time"]) for each in tests}


def spending(each: Run) -> verdict.Row:
    """Where the seconds of a run went, and whether a cell costs no more than it may."""
    parts = each.parts_s
    inside = sum(each.durations_s.values()) - sum(parts[name] for name in NAMED)
    return verdict.row(
        cells=str(each.cells),
        wall_s=f"{each.wall_s:.1f}",
        **{f"{name}_s": f"{parts[name]:.1f}" for name in NAMED},
        rest_of_cells_s=f"{inside:.1f}",
        outside_cells_s=f"{each.outside_s:.1f}",
        own_s=f"{each.own_s:.1f}",
        own_per_cell_s=f"{each.own_s / each.cells:.2f}",
        bound_s=f"{BOUND_S}",
        holds=each.own_s / each.cells <= BOUND_S,
    )


def growing(few: Run, many: Run) -> verdict.Row:
    """The line through both, and whether the median cell of many costs what that of few does."""
    slope = (many.own_s - few.own_s) / (many.cells - few.cells)
    return verdict.row(
        cells=f"{few.cells} to {many.cells}",
        start_s=f"{few.own_s - slope * few.cells:.1f}",
        slope_s_per_cell=f"{slope:.3f}",
        median_cell_of_few_s=f"{few.own_cell_s:.3f}",
        of_many_s=f"{many.own_cell_s:.3f}",
        growth=f"{many.own_cell_s / few.own_cell_s:.2f}",
        bound=f"{GROWTH}",
        holds=many.own_cell_s <= GROWTH * few.own_cell_s,
    )


def main(runs: int) -> int:
    """Fill the store, then both sizes."""
    run(SIZES[-1])
    found: dict[str, list[Run]] = {size: [] for size in SIZES}
    for _ in range(runs):
        for size in SIZES:
            found[size].append(run(size))
    few, many = (min(found[size], key=lambda each: each.own_s) for size in SIZES)
    spent: Sequence[verdict.Row] = [spending(few), spending(many)]
    return max(verdict.show(spent), verdict.show([growing(few, many)]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else RUNS))
