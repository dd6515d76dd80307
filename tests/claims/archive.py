"""What many machines cost: 10,000 run files as an archive, and the overview of its 1,000 machines, each as a process.

``python tests/claims/archive.py [MACHINES [FILES]]``. The files are synthetic, and say so in the names of their machines and
processors: cells of the runs under reports/ that were measured, with other rounds, and for two of three machines on a
device that was not there. They lie in a temporary folder. Bounds: the seconds of a report on the archive, its start among
them, and the most memory that it held, and an append; that no file is in the archive twice when all are appended
again; and that no machine and no cell is missing.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pages
import verdict

MACHINES, FILES, CELLS = 1000, 10_000, 5
MOST_S, MOST_MIB = 60.0, 1024.0
SPREAD = (0.3, 4.0)  # of a machine's times over those that were measured
ROUNDS, CASE, TARGET, THREADS = "@rounds@", "@case@", "@target@", 987_654
ELSEWHERE = ({}, {"openvino-cpu": "openvino-npu"}, {"torch-cpu": "torch-cuda-gpu"})  # by turns of the machines
PROCESSOR = "SYNTHETIC processor: copied figures, nothing was measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A cell that was measured, as JSON with places for what differs; its rounds, in seconds."""

    case: str
    target: str
    words: str
    rounds_s: Sequence[float]

    def at(self, target: str, factor: float, threads: int) -> str:
        """It on another *target*, with rounds of *factor* times the seconds."""
        rounds = ",".join(f"{factor * each:.6e}" for each in self.rounds_s)
        case = self.case.replace(self.target, target)
        told = self.words.replace(f'"{ROUNDS}"', f"[{rounds}]").replace(CASE, case).replace(TARGET, target)
        return told.replace(str(THREADS), str(threads))


def templates() -> list[Template]:
    """The cells with a time under reports/, without their values per sample and their paired blocks."""
    found = {}
    for path in sorted(pages.REPORTS.glob("*/2*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8"))["outcomes"]:
            record = entry["record"]
            if entry["outcome"] == "ok" and record["timing"] and not record["target"].startswith("null"):
                found[entry["case"]] = _template(entry)
    return [found[case] for case in sorted(found)]


def _template(entry: dict[str, Any]) -> Template:
    record, case, target = entry["record"], entry["case"], entry["record"]["target"]
    rounds = record["timing"]["rounds_s"]
    record |= {"case": CASE, "target": TARGET, "paired": None}
    record["quality"] |= {"compared": [], "answered": []}
    record["timing"] |= {"rounds_s": ROUNDS}
    record["boundary"] |= {"threads": THREADS}
    words = json.dumps(entry | {"case": CASE}, separators=(",", ":"))
    return Template(case=case, target=target, words=words, rounds_s=rounds)


def written(folder: Path, cells: Sequence[Template], machines: int, files: int) -> Iterator[Path]:
    """*files* run files of so many *machines*, each on another day."""
    chance = random.Random(0)  # noqa: S311  no secret
    for number in range(files):
        machine = number % machines
        of_machine = random.Random(machine)  # noqa: S311  no secret
        cores, factor = of_machine.choice((4, 8, 16, 32)), of_machine.uniform(*SPREAD)
        places = ELSEWHERE[machine % len(ELSEWHERE)]
        first = CELLS * (number // machines) % len(cells)
        some = (cells[(first + place) % len(cells)] for place in range(CELLS))
        entries = ",".join(
            each.at(places.get(each.target, each.target), factor * chance.uniform(0.95, 1.05), cores) for each in some
        )
        name = f"synthetic_{machine:04}_{cores}c"
        facts = {"name": name, "cpu": PROCESSOR, "cores_physical": cores, "ram_bytes": cores * 2**31}
        facts |= {"accelerators": ["SYNTHETIC GPU"] if machine % len(ELSEWHERE) == len(ELSEWHERE) - 1 else []}
        day = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)).isoformat()
        path = folder / name / f"run{number:05}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"machine_info": {"clip_bench": facts}, "datetime": day, "benchmarks": []})
        path.write_text(f'{about[:-1]}, "outcomes": [{entries}]}}', encoding="utf-8")
        yield path


def told(claim: str, found: float, most: float, digits: int = 0) -> verdict.Row:
    """A line for what may be so much at most."""
    return verdict.row(claim=claim, measured=f"{found:.{digits}f}", bound=f"{most:g}", holds=found <= most)


def main(words: Sequence[str]) -> int:
    """Make the files, archive them twice, report on the archive, and say whether the bounds hold."""
    machines, files = (int(word) for word in [*words, *map(str, (MACHINES, FILES)[len(words) :])])
    with TemporaryDirectory() as kept:
        folder, archive, out = (Path(kept, name) for name in ("runs", "archive", "out"))
        began = time.perf_counter()
        stored = sum(path.stat().st_size for path in written(folder, templates(), machines, files))
        sys.stdout.write(
            f"{files} synthetic run files of {CELLS} cells each, of {machines} machines: {stored / 1e6:.0f} MB, made in "
            f"{time.perf_counter() - began:.0f} s\n\n"
        )
        append_s, append_mib = pages.measured("archive", folder, "-o", archive)
        parts = {path.name: path.read_bytes() for path in archive.glob("*.parquet")}
        again_s, _ = pages.measured("archive", folder, "-o", archive)
        unlike = sum(parts.get(path.name) != path.read_bytes() for path in archive.glob("*.parquet"))
        report_s, report_mib = pages.measured("report", archive, "-o", out)
        page, index = ((out / name).read_text(encoding="utf-8") for name in ("README.md", "index.html"))
    missing = machines - len({name for name in index.split("<td>") if name.startswith("synthetic_")})
    size = sum(map(len, parts.values())) / 1e6
    return verdict.show(
        [
            verdict.row(claim="append: seconds", measured=f"{append_s:.0f}", bound="", holds=None),
            verdict.row(claim="append: MB of Parquet", measured=f"{size:.1f}", bound="", holds=None),
            told("append: MiB held at most", append_mib, MOST_MIB),
            verdict.row(claim="append again: seconds", measured=f"{again_s:.0f}", bound="", holds=None),
            told("append again: parts that are new or changed", unlike, 0),
            told("overview: seconds", report_s, MOST_S, 1),
            told("overview: MiB held at most", report_mib, MOST_MIB),
            told("overview: machines that are missing", missing, 0),
            verdict.row(claim="overview: lines of README.md", measured=f"{page.count(chr(10))}", bound="", holds=None),
            verdict.row(claim="overview: MB of index.html", measured=f"{len(index) / 1e6:.1f}", bound="", holds=None),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
