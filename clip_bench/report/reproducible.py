"""Cells that were run twice or more under the same conditions: the same bits or not, beside what each runtime promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from clip_bench.quality import values
from clip_bench.record import Boundary, Entry, Quality
from clip_bench.report import platforms
from clip_bench.report.blocks import join
from clip_bench.report.figures import ABSENT, clean, markdown
from clip_bench.report.promises import promised
from clip_bench.runfile import Run, again

LEGEND = (
    "Of cells that ran in several runs with the same recipe, weights, data, inputs, versions, threads, options, flags and "
    "environment: whether all outputs of the evaluation were the same bits, by the digests in the records. No embedding is "
    "kept, so that of others the change is that of each sample's own 1 - cosine to the reference."
)
VARY = "vary from call to call"  # as the note of a record has it
SAME, OTHER = "same bits", "other bits"
FREE = {"reference_sha256"}  # of a boundary: what the outputs are held against decides none of them
HEADS = ("Target", "Promised", "Cells", "Same bits", "Other bits")
CELLS = ("Cell", "Files", "From call to call", "From run to run", "Runs", "Largest change")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """One cell, measured several times under the same conditions: *seen* holds the runs, newest first, with its entry."""

    case: str
    target: str
    seen: tuple[tuple[Run, Entry], ...]

    @property
    def files(self) -> int:
        """How many unlike artifacts the runs loaded."""
        return len({entry.record.artifact.sha256 for _, entry in self.seen if entry.record.artifact})

    @property
    def outputs(self) -> int:
        """How many unlike outputs the runs gave."""
        return len({entry.record.executed.outputs for _, entry in self.seen if entry.record.executed})

    @property
    def varies(self) -> bool:
        """Whether one input gave several outputs within one run."""
        return any(VARY in entry.record.executed.note for _, entry in self.seen if entry.record.executed)


def tables(runs: Sequence[Run]) -> str:
    """What was repeated in *runs* of one machine, by target and cell by cell; empty where nothing was.

    Raises:
        UsageError: the file of a run is no longer what it was, or values per sample are no numbers.
    """
    several = repeated(runs)
    if not several:
        return ""
    return join([LEGEND, _by_target(several), _by_cell(several)])


def repeated(runs: Iterable[Run]) -> list[Repeated]:
    """Each cell with a digest of its outputs in two runs or more whose conditions are the same, by target and name."""
    found: dict[tuple[str, ...], list[tuple[Run, Entry]]] = {}
    for run in runs:
        machine = tuple(repr(run.machine.get(name)) for name in ("isa", "environment"))
        for entry in run.entries:
            if conditions := _conditions(entry):
                found.setdefault((*conditions, *machine), []).append((run, entry))
    several = [
        Repeated(case=seen[0][1].case, target=seen[0][1].record.target, seen=tuple(seen))
        for seen in found.values()
        if len(seen) > 1
    ]
    return sorted(several, key=lambda each: (each.target, each.case))


def _conditions(entry: Entry) -> tuple[str, ...]:
    """What decides the outputs of a cell, as far as its record tells; empty where it tells no outputs."""
    boundary, executed = entry.record.boundary, entry.record.executed
    if boundary is None or executed is None or not executed.outputs:
        return ()
    if platforms.backend(entry.record.target) == platforms.NULL:
        return ()
    told = {each.name: getattr(boundary, each.name) for each in fields(Boundary) if each.name not in FREE}
    plain = (sorted(value.items()) if isinstance(value, Mapping) else value for value in told.values())
    return (entry.case, *map(repr, plain), executed.inputs, repr(sorted(executed.flags.items())))


def _by_target(several: Sequence[Repeated]) -> str:
    lines = []
    for target in dict.fromkeys(each.target for each in several):
        own = [each for each in several if each.target == target]
        same = sum(each.outputs == 1 and not each.varies for each in own)
        lines.append([clean(target), promised(target), str(len(own)), str(same), str(len(own) - same)])
    return markdown(HEADS, lines, left=2)


def _by_cell(several: Sequence[Repeated]) -> str:
    judged = _judged([each for each in several if each.outputs > 1])
    lines = [
        [
            f"`{clean(each.case)}`",
            SAME if each.files == 1 else OTHER,
            OTHER if each.varies else SAME,
            SAME if each.outputs == 1 else f"{each.outputs} unlike",
            str(len(each.seen)),
            _largest([judged[id(run), each.case] for run, _ in each.seen]) if each.outputs > 1 else ABSENT,
        ]
        for each in several
    ]
    return markdown(CELLS, lines, left=4)


def _judged(several: Sequence[Repeated]) -> dict[tuple[int, str], Entry]:
    """The entries of *several* with their values per sample, by run and cell: the files of the runs are read again."""
    runs = {id(run): run for each in several for run, _ in each.seen}
    wanted = {(id(run), each.case) for each in several for run, _ in each.seen}
    return {
        (key, entry.case): replace(entry, record=replace(entry.record, timing=None))
        for key, run in runs.items()
        for entry in again(run)
        if (key, entry.case) in wanted
    }


def _largest(entries: Sequence[Entry]) -> str:
    """The most that the 1 - cosine of one sample of one output changed between any two of *entries*."""
    references = {each.record.boundary.reference_sha256 for each in entries if each.record.boundary}
    if len(references) > 1:
        return "other references"
    judged = [each.record.quality for each in entries if each.record.quality]
    outputs = {each.output for quality in judged for each in quality.compared}
    spreads = [spread for name in outputs if (spread := _spread(judged, name)) is not None]
    return f"{max(spreads):.1e}" if spreads else ABSENT


def _spread(judged: Sequence[Quality], output: str) -> float | None:
    told = [values.read(each.drift) for quality in judged for each in quality.compared if each.output == output]
    if len(told) < 2 or len({each.size for each in told}) > 1 or not told[0].size:  # noqa: PLR2004  two to differ
        return None
    spread = np.ptp(np.stack(told), axis=0)
    return float(spread.max()) if np.isfinite(spread).all() else None
