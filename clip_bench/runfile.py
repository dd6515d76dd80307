"""The file of a run, read: pytest-benchmark's JSON with the entry of every planned cell, timed or not, as ``"outcomes"``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from clip_bench import jsonfile, record, witness
from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.record import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run file: its name, when and where it ran, every planned cell, the head of its witness, and where it lies."""

    name: str
    datetime: str
    machine: dict[str, Any]
    entries: tuple[Entry, ...]
    head: str = ""
    path: Place | None = None


def apart(run: Run) -> list[Run]:
    """The run of a fleet as one for each kind of machine, by name; what none of them measured stays with the run's own.

    Of several machines with one name, the facts are those of the first.
    """
    told = run.machine.get("machines")
    if not isinstance(told, dict):
        return [run]
    numbered = {number: facts for number, facts in told.items() if isinstance(facts, dict)}
    own = {name: value for name, value in run.machine.items() if name != "machines"}
    names = {number: str(facts.get("name", number)) for number, facts in numbered.items()}
    facts = {names[number]: numbered[number] for number in reversed(numbered)} | {"": own}
    shares: dict[str, list[Entry]] = {}
    for entry in run.entries:
        shares.setdefault(names.get(entry.machine, ""), []).append(entry)
    return [replace(run, machine=facts[name], entries=tuple(entries)) for name, entries in shares.items()]


def read(path: Place) -> Run:
    """Read a run file.

    Raises:
        UsageError: the file is missing, is not JSON, is not a clip-bench run, or its records do not fit the schema.
    """
    return from_file(path, jsonfile.load(path, "give the JSON file of a run"))


def again(run: Run) -> tuple[Entry, ...]:
    """The entries of *run* with their values per sample: its file is read again, if it has one.

    Raises:
        UsageError: the file is no longer what it was.
    """
    if run.path is None:
        return run.entries
    cases = [entry.case for entry in run.entries]
    for share in apart(read(run.path)):
        if [entry.case for entry in share.entries] == cases:
            return share.entries
    msg = f"{run.path}: it changed while it was read; report again"
    raise UsageError(msg)


def from_file(path: Place, data: object, *, samples: bool = True) -> Run:
    """The run in *data*, what the file at *path* holds; without *samples* its values per sample, most of it, are left out.

    Raises:
        UsageError: it is not a clip-bench run, or its records do not fit the schema.
    """
    if not isinstance(data, dict) or "outcomes" not in data:
        msg = (
            f"{path}: no clip-bench run in it (no 'outcomes'); make one with pytest --benchmark-only --reports reports"
        )
        raise UsageError(msg)
    try:
        entries = record.from_json(data["outcomes"] if samples else _summed(data["outcomes"]))
    except UsageError as exc:
        msg = f"{path}: {exc}"
        raise UsageError(msg) from exc
    info = data.get("machine_info", {})
    machine = info.get("clip_bench", {}) if isinstance(info, dict) else None
    if not isinstance(machine, dict):
        msg = f"{path}: machine_info is not an object; give the JSON file of a run, as it was written"
        raise UsageError(msg)
    return Run(name=path.stem, entries=entries, path=path, **origin(data, machine))


def _summed(outcomes: object) -> object:
    """*outcomes* without the values per sample: memory for hundreds of runs whose tables need none of them."""
    for entry in outcomes if isinstance(outcomes, list) else []:
        told = entry.get("record") if isinstance(entry, dict) else None
        quality = told.get("quality") if isinstance(told, dict) else None
        if isinstance(quality, dict):
            quality.pop("compared", None)
            quality.pop("answered", None)
    return outcomes


def origin(data: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """When and on which *machine* a file was measured, and the head of its witness.

    Half a character, which JSON can hold and UTF-8 cannot, is replaced.
    """
    told = {"datetime": str(data.get("datetime", "")), "machine": machine, "head": witness.head(data)}
    whole: dict[str, Any] = json.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
    return whole
