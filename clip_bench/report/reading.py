"""The sides of a comparison from files: runs of clip-bench, or anybody's pytest-benchmark JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_bench import jsonfile
from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.report.sides import GIVE, Cell, Side, believable, cells


def read(paths: Sequence[Place]) -> list[Side]:
    """The sides at *paths*: runs of clip-bench by their cells; all as plain benchmarks if one file is of no such run.

    Raises:
        UsageError: a path that cannot be read or holds nothing to compare; the message names it.
    """
    found = [(path, None if path.is_dir() else _json(path)) for path in paths]
    plain = any(data is not None and "outcomes" not in data for _, data in found)
    return [Side(name=str(path), cells=_benchmarks(path, data) if plain else cells(path)) for path, data in found]


def _json(path: Place) -> dict[str, Any]:
    data = jsonfile.load(path, GIVE)
    if not isinstance(data, dict) or not {"outcomes", "benchmarks"} & data.keys():
        msg = f"{path}: neither 'outcomes' nor 'benchmarks' in it; {GIVE}"
        raise UsageError(msg)
    return data


def _benchmarks(path: Place, data: Mapping[str, Any] | None) -> dict[str, Cell]:
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
    return [float(each) for each in believable(values)]


def _origin(data: Mapping[str, Any]) -> dict[str, str]:
    """What a file of pytest-benchmark tells of its origin, but for names of hosts and people."""
    machine, commit = (data.get(name) for name in ("machine_info", "commit_info"))
    told = {"python": machine.get("python_version")} if isinstance(machine, Mapping) else {}
    told |= {"commit": commit.get("id")} if isinstance(commit, Mapping) else {}
    processor = machine.get("cpu") if isinstance(machine, Mapping) else None
    told |= {"cpu": processor.get("brand_raw")} if isinstance(processor, Mapping) else {}
    return {name: str(value) for name, value in told.items() if value}
