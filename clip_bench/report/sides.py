"""One side of a comparison: the newest measurement of each cell of a run, or of a folder of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.record import Boundary, Entry, Outcome, Record
from clip_bench.report import platforms, timed
from clip_bench.report.rows import collect, newest
from clip_bench.runfile import Run
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
BELIEVABLE_S = (1e-12, 1e9)  # of one call
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


def cells(path: Place) -> dict[str, Cell]:
    """The newest measurement of each cell of the run, or of the folder of runs, at *path*.

    Raises:
        UsageError: no run, one that is damaged, or runs of several machines.
    """
    runs, _ = collect([path])
    machines = sorted({platforms.machine_name(run.machine) for run in runs})
    if len(machines) != 1:
        msg = f"{path}: runs of {len(machines)} machines ({', '.join(machines)}); give the folder of one"
        raise UsageError(msg if machines else f"{path}: no run in this folder; {GIVE}")
    ordered = sorted(runs, key=lambda run: (run.datetime, run.name), reverse=True)
    told = [(run, entry) for run in ordered for entry in run.entries]
    return {entry.case: cell(run, entry) for run, entry in map(told.__getitem__, newest(ordered))}


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
    """The rounds where the cell may have a time."""
    timing = timed.due(entry)
    if timing is None:
        return ()
    try:
        believable(timing.rounds_s)
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


def believable(rounds_s: Sequence[float]) -> Sequence[float]:
    """*rounds_s*, if these can be times.

    Raises:
        UsageError: there are none, or one is longer or shorter than any call.
    """
    low, high = BELIEVABLE_S
    times = checked(rounds_s)
    if times.min() < low or times.max() > high:
        msg = f"rounds from {times.min():g} to {times.max():g} s are no times: measure again"
        raise UsageError(msg)
    return rounds_s
