"""Reports as markdown pages: one per machine, one over all of them, and one on calibration."""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from clip_bench.errors import UsageError
from clip_bench.finding import Finding
from clip_bench.places import Place
from clip_bench.report import (
    batches,
    beside,
    calibration,
    cold,
    drawings,
    inference,
    many,
    overview,
    platforms,
    ratios,
    reproducible,
    rooflines,
    samples,
    savings,
    site,
    surroundings,
    vendors,
)
from clip_bench.report.current import current
from clip_bench.report.figures import clean, linked, markdown, witnessed, words
from clip_bench.report.missed import tally
from clip_bench.report.profiles import profiles
from clip_bench.report.published import page as published
from clip_bench.report.rows import collect
from clip_bench.report.tables import full, hardware, holes
from clip_bench.runfile import Run

LONGEST = 80  # characters of a folder's name
FOLDER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{,{LONGEST}}}")
PARTS = re.compile(r"[A-Za-z0-9]+")
DISTRIBUTED = "### How the latencies are distributed"
FRONTS = (
    "Nothing of the same call is both faster and better than a cell on the Pareto front. It is drawn through medians: where "
    "the spreads of two cells overlap, no difference was seen. `clip-bench best` names the cell to deploy, and its ties."
)
PROVENANCE = (
    "The tables show the newest measurement of each cell. `clip-bench verify` recomputes them from the raw values of these "
    "files, and finds what was edited; who edits a file and seals it anew changes its witness."
)
MADE = "<!-- Made from the run files by clip_bench.report"
DRAWN_WITH = ("matplotlib", "pandas", "tabulate")
DRIFTS = (
    "The cosine of each sample to the FP32 reference of the same sample, below the reference's own when it is computed "
    "another way: what is no farther than the dashed line is noise. Each strip is as high as its fullest bin; of several "
    "outputs the farthest is shown. A cell may be timed where its mean lies left of the full line and all its samples left of the dotted one."
)
PLACED = (
    "By the runtime's own evidence: nodes of the graph by the place that the runtime gave them, and kernels by the type of "
    "their first input. The time of the nodes is that of the first call, which is cold and not among the timed ones; only "
    "ONNX Runtime tells it without a price."
)
QUEUES = (
    "Each instance executes one request, and its queue holds those that wait. The median of a request's time, from when it "
    "was handed over, and the samples of all in a second, by the newest run with it. One request at a time stands first."
)
SIZES = "A bar for each file, with all that load it. A runtime that narrows weights when it loads them keeps the file of FP32."


def write(paths_in: Iterable[Place], out_dir: Path) -> list[Path]:
    """Write what :func:`made` makes, and remove plots of the machines that are no longer made.

    Returns the pages, and then the plots.

    Raises:
        UsageError: a path is no run and no finding, there is none, or *out_dir* cannot be written.
    """
    return put(made(paths_in, out_dir), out_dir)


def put(files: Mapping[Path, str], out_dir: Path) -> list[Path]:
    """Write the text of each of *files*, which lie in *out_dir*, and remove plots that an earlier report left beside them.

    Raises:
        UsageError: *out_dir* cannot be written.
    """
    for path in stale(files):
        path.unlink()
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(text))
    except OSError as exc:
        msg = f"{out_dir}: {exc.strerror or exc}; name a folder that can be written"
        raise UsageError(msg) from exc
    return list(files)


def made(paths_in: Iterable[Place], out_dir: Path) -> dict[Path, str]:
    """The text of ``<out_dir>/<machine>/README.md`` for each machine in the runs, and of ``<out_dir>/README.md`` over them.

    A page shows its machine's newest measurement of each cell: every runtime has an environment, and runs, of its own;
    its plots lie beside it. Runs with calibrated cells make ``<out_dir>/calibration.md``, too; one of these alone is a
    study, which is on no other page. ``<out_dir>/index.html`` shows and sorts the cells of all machines in a browser.
    The same runs always make the same bytes. The pages are first, and then the plots.

    Raises:
        UsageError: a path is no run and no finding, or there is none.
    """
    with _uncollected():
        return _made(paths_in, out_dir)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: records are millions of objects that stay, and it took a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def machines_in(paths_in: Iterable[Place]) -> tuple[dict[str, list[Run]], dict[str, list[Finding]]]:
    """Runs, newest first, and findings by the folder of their machine.

    Raises:
        UsageError: a path is no run and no finding, or there is none.
    """
    machines: dict[str, list[Run]] = {}
    found: dict[str, list[Finding]] = {}
    runs, findings = collect(paths_in)
    for run in sorted(runs, key=lambda run: (run.datetime, run.name), reverse=True):
        machines.setdefault(_folder(run), []).append(run)
    for each in findings:
        found.setdefault(_folder(each), []).append(each)
    if not machines and not found:
        msg = "no clip-bench run among the given files; make one with pytest --benchmark-only --reports reports"
        raise UsageError(msg)
    return machines, found


def _made(paths_in: Iterable[Place], out_dir: Path) -> dict[Path, str]:
    machines, found = machines_in(paths_in)
    whole = {name: [run for run in several if not calibration.study(run)] for name, several in machines.items()}
    for name, several in found.items():
        if not whole.get(name):  # a machine that ran no cell has a page all the same
            latest = max(several, key=lambda each: (each.datetime, each.name))
            whole[name] = [Run(name="", datetime=latest.datetime, machine=latest.machine, entries=())]
    whole = {name: whole[name] for name in sorted(whole) if whole[name]}
    tables = {name: samples.added(current(runs), runs) for name, runs in whole.items()}
    drawn = {name: drawings.draw(table) for name, table in tables.items()}
    pages = {
        out_dir / name / "README.md": machine_page(whole[name], tables[name], drawn[name], found.get(name, ()))
        for name in whole
    }
    studied = calibration_page({name: machines[name] for name in sorted(machines)})
    best = _best(tables) if len(tables) > overview.MANY else None
    shown = many.markdown(best) if best else ""
    pages[out_dir / "README.md"] = front(list(whole.values()), list(tables.values()), studied=bool(studied), best=shown)
    if studied:
        pages[out_dir / "calibration.md"] = studied
    pages[out_dir / published.FILE] = whole_page([published.page(tables)])
    listed = site.machines(tables, whole)
    pages[out_dir / "index.html"] = (
        many.page(best, folder, machines=listed, pages=site.PAGES) if best else site.page(tables, whole, found)
    )
    plots = {
        out_dir / name / file: svg for name in whole for kind in drawn[name].values() for file, svg in kind.items()
    }
    return pages | plots


def _best(tables: Mapping[str, pd.DataFrame]) -> overview.Overview:
    whole = overview.Overview()
    for table in tables.values():
        whole.take(table.to_dict("records"))
    return whole


def stale(files: Iterable[Path]) -> list[Path]:
    """Plots beside *files* that an earlier report made, and these are not."""
    kept = set(files)
    there = [path for folder in {path.parent for path in kept} for path in folder.glob("*.svg")]
    return sorted(path for path in there if drawings.NAMED.fullmatch(path.name) and path not in kept)


def encoded(text: str) -> bytes:
    """The bytes of a page or a plot, the same on every system."""
    return text.encode("utf-8", "replace")


def machine_page(
    runs: Sequence[Run],
    table: pd.DataFrame,
    drawn: Mapping[str, Mapping[str, str]],
    findings: Sequence[Finding] = (),
) -> str:
    """The page of one machine, its *runs* newest first: *table* is what is shown of them, *drawn* its plots by kind.

    *findings* are what commands measured beside the matrix; where there is nothing else, the one run is without cells.
    """
    latest, sources = runs[0], _sources(runs, table)
    table = words(table)
    facts = [[label, clean(text)] for label, text in platforms.facts(latest.machine).items()]
    sections = {
        "Hardware Test Results": [hardware(table), DISTRIBUTED if drawn["latency"] else "", _linked(drawn["latency"])],
        "Accuracy against latency": [FRONTS if drawn["front"] else "", _linked(drawn["front"])],
        "Evaluation result": [vendors.table(table)],
        "Distance from the reference": [DRIFTS if drawn["drift"] else "", _linked(drawn["drift"])],
        "Inference": [inference.table(table)],
        "Profiles": [profiles(table)],
        "Paired speed-ups": [ratios.table(table)],
        "Batches": [batches.table(table), _linked(drawn["batches"])],
        "Requests at once": [QUEUES if drawn["queue"] else "", _linked(drawn["queue"])],
        "Roofline": [rooflines.table(table), _linked(drawn["roofline"])],
        "Placement": [PLACED if drawn["placement"] else "", _linked(drawn["placement"])],
        "Cold path": [cold.table(table), _linked(drawn["start"])],
        "Compare file size and inference time": [
            savings.table(table),
            SIZES if drawn["size"] else "",
            _linked(drawn["size"]),
        ],
        **beside.sections(findings),
        "Conditions and energy": [surroundings.table(table)],
        "Reproducible": [reproducible.tables(runs)],
        "In full": [full(table)],
        "Cells without a time": [holes(table)],
        "Provenance": [sources],
    }
    parts = [f"# {clean(platforms.machine_name(latest.machine))}", markdown(("Machine", ""), facts, left=2)]
    for heading, texts in sections.items():
        parts += [f"## {heading}", *texts] if any(texts) else []
    return whole_page(parts)


def front(
    machines: Sequence[Sequence[Run]], tables: Sequence[pd.DataFrame], *, studied: bool = False, best: str = ""
) -> str:
    """The page over all *machines*, each with its runs, newest first, and what is shown of them, in *tables*.

    *studied*: there is a page on calibration. *best*, the best cells of many machines, stands in the place of their tables.
    """
    heads = ("Machine", "Chip", "RAM", "Newest run", "Cells")
    tables = [words(table) for table in tables]
    lines = []
    for (latest, *_), table in zip(machines, tables, strict=True):
        told, cells = platforms.facts(latest.machine), tally(list(table["outcome"]))
        lines.append([_page_of(latest), clean(told["CPU"]), told["RAM"], _day(latest), cells])
    parts = ["# Reports", markdown(heads, lines, left=len(heads))]
    parts += ["What the calibration of quantized graphs changes: [calibration.md](calibration.md)."] if studied else []
    parts += [f"What others published, with the roofline's verdict on it: [{published.FILE}]({published.FILE})."]
    if best:
        return whole_page([parts[0], best, "## Machines", *parts[1:]])
    for (latest, *_), table in zip(machines, tables, strict=True):
        parts += [f"## {_page_of(latest)}", hardware(table)]
    return whole_page(parts)


def _linked(files: Iterable[str]) -> str:
    """The plots, each below the other."""
    return "\n\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in files)


def _page_of(run: Run) -> str:
    """A link to the page of the machine of *run*."""
    return f"[{clean(platforms.machine_name(run.machine))}]({_folder(run)}/README.md)"


def _sources(runs: Sequence[Run], table: pd.DataFrame) -> str:
    """Each of *runs* with how its cells ended, how many of them *table* shows, and the head of its witness."""
    lines = [
        [
            linked(run.name),
            _day(run),
            tally([entry.outcome for entry in run.entries]),
            str(int((table["run"] == run.name).sum())),
            witnessed(run.head),
        ]
        for run in runs
        if run.entries
    ]
    heads = ("Run", "Measured", "Cells", "Shown", "Witness")
    return f"{PROVENANCE}\n\n{markdown(heads, lines, left=len(heads))}" if lines else ""


def calibration_page(machines: Mapping[str, Sequence[Run]]) -> str:
    """The page on calibration: of each machine, its *runs* newest first; empty where no cell is about it."""
    parts = []
    for name, runs in machines.items():
        if chosen := [run for run in runs if calibration.concerned(run)]:
            sources = ", ".join(
                f"{linked(run.name, name)} ({_day(run)}, witness {witnessed(run.head)})" for run in chosen
            )
            parts += [f"## {name}", f"From {sources}; the newest result of each cell.", calibration.tables(chosen)]
    return whole_page(["# Calibration", calibration.legend(), *parts]) if parts else ""


def _folder(run: Run | Finding) -> str:
    return folder(platforms.machine_name(run.machine))


def folder(name: str) -> str:
    """A machine's *name* where it can name a folder; else what of it can, and a hash, so that no two share one."""
    if FOLDER.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{'_'.join(PARTS.findall(name))[:LONGEST] or 'machine'}-{digest}"


def _day(run: Run) -> str:
    return clean(run.datetime[:10]) if run.datetime.strip() else "on an unknown day"


def whole_page(parts: Sequence[str]) -> str:
    """*parts* below each other, with the note of what made them."""
    packages = ", ".join(f"{name} {version(name)}" for name in DRAWN_WITH)
    note = f"{MADE} with {packages}; edits are lost, and clip-bench verify finds them. -->"
    return f"{note}\n\n" + "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
