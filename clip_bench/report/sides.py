"""One side of a comparison: the newest measurement of each cell of a run file, a folder of them, or others' benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip_bench.errors import UsageError
from clip_bench.record import Boundary, Entry, Outcome, Record, Run
from clip_bench.report import platforms
from clip_bench.report.rows import collect
from clip_bench.timing.rounds import checked

# Of a boundary: what has to be equal, and what may differ, because it is what people compare.
EQUAL = (
    *(
        "tower",
        "batch",
        "texts",
        "sequence",
        "image_size",
        "inside_clock",
        "threads",
        "load",
        "instances",
        "device_ids",
    ),
    *("queue", "inputs", "rewrites", "lengths", "pixels", "data_sha256", "weights_sha256"),
)
FREE = ("recipe", "reference_sha256", "runtimes", "options")
GIVE = "give a run of clip-bench, a folder of them, or the JSON of pytest-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a comparison knows of one cell.

    ``call`` has to be equal on both sides; ``facts`` may differ. ``rounds_s`` is empty where none are told, and
    ``median_s`` then all there is. ``ended`` tells how the cell ended where that was not well. ``drift`` is 1 - mean
    cosine to the reference, by output; ``top1`` a share.
    """

    name: str
    call: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    backend: str = ""
    rounds_s: tuple[float, ...] = ()
    median_s: float | None = None
    overlapping: bool = False
    ended: str = ""
    skipped: bool = False
    drift: Mapping[str, float] = field(default_factory=dict)
    top1: float | None = None

    @property
    def timed(self) -> bool:
        """Whether there is a time."""
        return bool(self.rounds_s) or self.median_s is not None

    @property
    def measured(self) -> bool:
        """Whether there is anything to compare."""
        return self.timed or bool(self.drift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A name for people, and the cells by theirs."""

    name: str
    cells: Mapping[str, Cell]


def read(paths: Sequence[Path]) -> list[Side]:
    """The sides at *paths*: runs of clip-bench by their cells; all as plain benchmarks if one file is of no such run.

    Raises:
        UsageError: a path that cannot be read or holds nothing to compare; the message names it.
    """
    found = [(path, None if path.is_dir() else _json(path)) for path in paths]
    plain = any(data is not None and "outcomes" not in data for _, data in found)
    return [Side(name=str(path), cells=_benchmarks(path, data) if plain else _cells(path)) for path, data in found]


def newest(runs: Iterable[Run]) -> list[tuple[Run, Entry]]:
    """The newest measurement of each cell; of one never run its newest skip: what the pages show, too."""
    found: dict[str, tuple[Run, Entry]] = {}
    ordered = sorted(runs, key=lambda run: (run.datetime, run.name), reverse=True)
    told = [(run, entry) for run in ordered for entry in run.entries]
    for run, entry in sorted(told, key=lambda each: each[1].outcome is Outcome.SKIPPED):
        found.setdefault(entry.case, (run, entry))
    return list(found.values())


def _cells(path: Path) -> dict[str, Cell]:
    runs = collect([path])
    machines = sorted({platforms.machine_name(run.machine) for run in runs})
    if len(machines) != 1:
        msg = f"{path}: runs of {len(machines)} machines ({', '.join(machines)}); give the folder of one"
        raise UsageError(msg if machines else f"{path}: no run in this folder; {GIVE}")
    return {entry.case: cell(run, entry) for run, entry in newest(runs)}


def cell(run: Run, entry: Entry) -> Cell:
    """What a comparison knows of an entry.

    Raises:
        UsageError: its rounds cannot be true.
    """
    record = entry.record
    overlapping = record.timing is not None and record.timing.window_s is not None
    return Cell(
        name=entry.case,
        call=_call(record.boundary),
        facts=_facts(run, record),
        backend=platforms.backend(record.target),
        rounds_s=_rounds(run, entry),
        overlapping=overlapping,
        ended="" if entry.outcome is Outcome.OK else _ended(entry),
        skipped=entry.outcome is Outcome.SKIPPED,
        drift={each.output: 1 - each.mean for each in record.quality.similarity} if record.quality else {},
        top1=_top1(record),
    )


def _call(boundary: Boundary | None) -> dict[str, str]:
    return {} if boundary is None else {name: _words(getattr(boundary, name)) for name in EQUAL}


def _words(value: object) -> str:
    several = isinstance(value, tuple)
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text or ("none" if several else "")


def _facts(run: Run, record: Record) -> dict[str, str]:
    """What the machine, the software and the graph were."""
    machine = {"machine": platforms.machine_name(run.machine)}
    machine |= {name: str(run.machine[name]) for name in ("cpu", "os", "python") if name in run.machine}
    machine["accelerators"] = ", ".join(platforms.accelerators(run.machine))
    made = {"graph": record.artifact.sha256} if record.artifact else {}
    made |= {"executed in": ", ".join(sorted(record.executed.dtypes))} if record.executed else {}
    if (boundary := record.boundary) is None:
        return machine | made
    made |= {"recipe": boundary.recipe, "reference": boundary.reference_sha256}
    options = {f"option {name}": value for name, value in boundary.options.items()}
    return machine | boundary.runtimes | options | made


def _rounds(run: Run, entry: Entry) -> tuple[float, ...]:
    """The rounds where the cell may have a time: it ended ok, on hardware."""
    timing = entry.record.timing
    if timing is None or entry.outcome is not Outcome.OK:
        return ()
    if platforms.device(entry.record.target) in platforms.NOT_HARDWARE:
        return ()
    try:
        checked(timing.rounds_s)
    except UsageError as exc:
        msg = f"{run.name}: {entry.case}: {exc}"
        raise UsageError(msg) from exc
    return timing.rounds_s


def _ended(entry: Entry) -> str:
    failures = entry.record.quality.failures if entry.record.quality else ()
    why = "; ".join(failures) or entry.reason
    return ": ".join(filter(None, (entry.outcome.replace("_", " "), why)))


def _top1(record: Record) -> float | None:
    """The share of right answers; of random weights it would mean nothing."""
    scores = record.quality.scores if record.quality and record.weights != "random" else ()
    return next((score.value for score in scores if score.name == "top1"), None)


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror}); {GIVE}"
        raise UsageError(msg) from exc
    except RecursionError as exc:
        msg = f"{path}: nested too deeply; {GIVE}"
        raise UsageError(msg) from exc
    except ValueError as exc:
        msg = f"{path}: not JSON ({exc}); {GIVE}"
        raise UsageError(msg) from exc
    if not isinstance(data, dict) or not {"outcomes", "benchmarks"} & data.keys():
        msg = f"{path}: neither 'outcomes' nor 'benchmarks' in it; {GIVE}"
        raise UsageError(msg)
    return data


def _benchmarks(path: Path, data: Mapping[str, Any] | None) -> dict[str, Cell]:
    """The benchmarks of a file by their full names."""
    if data is None:
        msg = f"{path}: a folder beside a file that is no run of clip-bench; give one file each"
        raise UsageError(msg)
    listed = data.get("benchmarks")
    if not isinstance(listed, list) or not listed:
        msg = f"{path}: no benchmarks in it; {GIVE}"
        raise UsageError(msg)
    facts = _origin(data)
    found: dict[str, Cell] = {}
    for index, each in enumerate(listed):
        try:
            told = _benchmark(each, facts)
        except (UsageError, OverflowError) as exc:
            msg = f"{path}: benchmark {index}: {exc}"
            raise UsageError(msg) from exc
        if found.setdefault(told.name, told) is not told:
            msg = f"{path}: benchmark {index}: {' '.join(told.name.split())} is there twice; remove one"
            raise UsageError(msg)
    return found


def _benchmark(data: object, facts: Mapping[str, str]) -> Cell:
    stats = data.get("stats") if isinstance(data, Mapping) else None
    name = (data.get("fullname") or data.get("name")) if isinstance(data, Mapping) else None
    if not name or not isinstance(stats, Mapping):
        msg = f"it has no name or no stats; {GIVE}"
        raise UsageError(msg)
    raw = stats.get("data")
    rounds_s = tuple(_seconds(raw)) if raw else ()
    (median_s,) = (None,) if rounds_s else _seconds([stats.get("median")])
    return Cell(name=str(name), facts=facts, rounds_s=rounds_s, median_s=median_s)


def _seconds(values: object) -> list[float]:
    if not isinstance(values, list) or any(
        isinstance(each, bool) or not isinstance(each, int | float) for each in values
    ):
        msg = f"its times are no list of numbers; {GIVE}"
        raise UsageError(msg)
    return [float(each) for each in checked(values)]


def _origin(data: Mapping[str, Any]) -> dict[str, str]:
    """What a file of pytest-benchmark tells of its origin, but for names of hosts and people."""
    machine, commit = (data.get(name) for name in ("machine_info", "commit_info"))
    told = {"python": machine.get("python_version")} if isinstance(machine, Mapping) else {}
    told |= {"commit": commit.get("id")} if isinstance(commit, Mapping) else {}
    processor = machine.get("cpu") if isinstance(machine, Mapping) else None
    told |= {"cpu": processor.get("brand_raw")} if isinstance(processor, Mapping) else {}
    return {name: str(value) for name, value in told.items() if value}
