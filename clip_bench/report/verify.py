"""Whether reports follow from the raw values of their runs: witnesses, summaries, and every byte of pages and pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from clip_bench import finding, jsonfile, places, runfile, witness
from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.plain import printable
from clip_bench.report import drawings, pages, recomputed, refound

GIVE = "give the JSON file of a run, as it was written, or a folder of them"
OVERVIEW = ("README.md", "index.html")
LONGEST = 100  # characters of a line that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file, what it is in a few words, and what is wrong with it, a line each."""

    path: Place
    told: str
    faults: tuple[str, ...] = ()


def verify(path: Place) -> Iterator[Checked]:
    """Each run and finding at *path*, a file or a folder, and then the pages and the pictures of a folder.

    Raises:
        UsageError: there is nothing to verify.
    """
    files = places.inside(path, "*.json") if path.is_dir() else [path]
    if not files:
        msg = f"{path}: no JSON file in it; {GIVE}"
        raise UsageError(msg)
    readable = True
    for file in files:
        checked = _measured(file)
        readable &= bool(checked.told)
        yield checked
    if not path.is_dir():
        return
    if not any((path / name).exists() for name in OVERVIEW):
        yield Checked(path=path, told="no pages in it, so none were compared (clip-bench report makes them)")
    elif readable:
        yield from _pages(path)
    else:
        yield Checked(path=path, told="", faults=("its pages were not compared: not all of its files can be read",))


def _measured(path: Place) -> Checked:
    """A run or a finding; of what cannot be read nothing is told."""
    try:
        data = jsonfile.load(path, GIVE)
        if isinstance(data, dict) and finding.KEY in data:
            beside = finding.from_file(path, data)
            told, lines = str(beside.told.kind), [*witness.faults(data), *refound.faults(beside)]
        else:
            run = runfile.from_file(path, data)
            told, lines = f"{len(run.entries)} cells", [*witness.faults(data), *recomputed.faults(run, data)]
    except UsageError as exc:
        return Checked(path=path, told="", faults=(str(exc).removeprefix(f"{path}: "),))
    head = witness.head(data)[: witness.SHOWN]
    return Checked(path=path, told=f"{told}, witness {head or 'none'}", faults=tuple(lines))


def _pages(folder: Place) -> Iterator[Checked]:
    """Every page and picture of *folder* against what its runs make, byte by byte."""
    try:
        made: dict[Place, str] = {folder / path: text for path, text in pages.made([folder], Path()).items()}
    except UsageError as exc:
        yield Checked(path=folder, told="", faults=(str(exc),))
        return
    for path, text in made.items():
        if fault := _differs(path, pages.encoded(text)):
            yield Checked(path=path, told="", faults=(fault,))
    for path in _strangers(folder, made):
        yield Checked(path=path, told="", faults=("these runs do not make it: remove it",))
    yield Checked(path=folder, told=f"{len(made)} pages and pictures compared with what its runs make")


def _strangers(folder: Place, made: Collection[Place]) -> list[Place]:
    """Pages that say that they are made from runs, and plots of a machine, which the runs of *folder* do not make."""
    noted = [path for path in folder.rglob("*.md") if path not in made and _noted(path)]
    folders = {path.parent for path in made}
    plots = [path for path in folder.rglob("*.svg") if path.parent in folders and path not in made]
    return sorted([*noted, *(path for path in plots if drawings.NAMED.fullmatch(path.name))], key=str)


def _noted(path: Place) -> bool:
    return places.read(path).startswith(pages.MADE.encode())


def _differs(path: Place, made: bytes) -> str:
    """The first line in which the file at *path* is not *made*; empty where it is."""
    try:
        there = places.read(path)
    except OSError as exc:
        return f"its runs make it, and it cannot be read ({exc.strerror}); make it with clip-bench report"
    if there == made:
        return ""
    ours, theirs = made.splitlines(), there.splitlines()
    if path.suffix == ".md" and ours[:1] != theirs[:1]:
        return f"it was made otherwise: {_brief(theirs, 0)}, and here: {_brief(ours, 0)}"
    line = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    line = min(len(ours), len(theirs)) if line is None else line
    return f"line {line + 1} is {_brief(theirs, line)}, and its runs make {_brief(ours, line)}"


def _brief(lines: list[bytes], line: int) -> str:
    if line >= len(lines):
        return "not there"
    return repr(printable(lines[line].decode("utf-8", "replace"))[:LONGEST])
