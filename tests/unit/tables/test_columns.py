"""Every column of every table is told once, and nothing is told of a column that no table has."""

import contextlib
import importlib
import io
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from clip_bench.__main__ import main
from clip_bench.quality import metrics
from clip_bench.report import audit, frame, holes, meanings, site
from clip_bench.report.published import page as published
from clip_bench.runfile import read
from clip_bench.specs import Precision
from clip_bench.timing.percentiles import SHOWN, needed

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden" / "run.json"
REPORTS = sorted((ROOT / "reports").rglob("*.md"))
MACHINE = {"Machine", ""}  # the facts of a machine, each with its own word beside it


def heads(text):
    """Of each table in *text* the headings, after the title of the part that it stands in."""
    title, before = "", ""
    for line in text.splitlines():
        if found := re.match(r"##? (.*)", line):
            title = found[1]
        if line.startswith("|") and not before.startswith("|"):
            yield title, [word.strip() for word in line.strip().strip("|").split("|")]
        before = line


def part(name):
    """A module of the tables; its package gives some functions the same name."""
    return importlib.import_module(f"clip_bench.report.{name}")


def named(path, title):
    """The table that stands below *title* on the page *path*."""
    if path.name == published.FILE:
        return "Published figures"
    if title in {table.name for table in meanings.TABLES}:
        return title
    return "Calibration" if path.name == "calibration.md" else "Hardware Test Results"


def printed(text, name):
    return {(name, head) for _, found in heads(text) for head in found}


@pytest.fixture(scope="module")
def run():
    return read(GOLDEN)


@pytest.fixture(scope="module")
def on_pages():
    """What stands over the columns of the pages that are in the repository, and of the golden ones."""
    paths = [*REPORTS, GOLDEN.parent / "machine.md", GOLDEN.parent / "overview.md"]
    tables = [(path, *table) for path in paths for table in heads(path.read_text(encoding="utf-8"))]
    return {(named(path, title), head) for path, title, found in tables if set(found) != MACHINE for head in found}


@pytest.fixture(scope="module")
def in_code(run):
    """What may stand over a column, figures or none."""
    several = frame([run, replace(run, name="another", machine=run.machine | {"name": "another"})])
    columns = {
        "Hardware Test Results": [*part("columns").HARDWARE, *meanings.SHORT],
        "Inference": part("inference").HEADS,
        "Profiles": part("profiles")._columns([], SHOWN),
        "Paired speed-ups": part("ratios").HEADS,
        "Roofline": part("rooflines")._columns([]),
        "Evaluation result": [],
        "Compare file size and inference time": part("savings")._columns([], {}),
        "Cold path": part("cold")._columns([]),
        "Conditions and energy": part("surroundings")._columns([]),
        "Reproducible": [*part("reproducible").HEADS, *part("reproducible").CELLS],
        "In full": part("columns").FULL,
        "Cells without a time": [head for _, found in heads(holes(several)) for head in found],
        "Calibration": [*part("calibration").FIGURES, "Outcome"],
        "Gates": [*part("kills").HEADS, *map(str, Precision), *part("kills").FIGURES, *part("kills").WHAT],
        "Zero-shot": [*part("zero_shot").HEADS, *part("zero_shot").RATES],
        "Which label fits": part("zero_shot").LABELS,
        "Embedding a folder": [*part("embedding").HEADS, *part("embedding").TOTALS],
        "Preprocessing": [
            *part("preprocessing").HEADS,
            *(getattr(part("preprocessing"), n) for n in ("RECALL", "SAME", "LAST")),
        ],
        "Indexing": part("indexing").HEADS,
        "Performance": ["Model Name", *part("retrieval").COLUMNS],
        "The page": [*site.WORDS, *site.FIGURES, "Notes", "Outcome"],
        "Best of each kind of device": part("overview").HEADS,
        "clip-bench compare": part("comparisons")._columns([]),
        "clip-bench history": part("history").HEADS,
        "clip-bench audit": [*audit.HEADS, *audit.FIGURES],
    }
    return {(name, head) for name, found in columns.items() for head in found}


@pytest.fixture(scope="module")
def at_the_terminal(tmp_path_factory):
    """What commands print over columns, of the golden run and of a later one with the half of its cells."""
    folder = tmp_path_factory.mktemp("runs")
    one, two = folder / "one.json", folder / "two.json"
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    one.write_text(json.dumps(golden), encoding="utf-8")
    half = {"datetime": "2025-02-02T03:04:05+00:00", "outcomes": golden["outcomes"][::2]}
    two.write_text(json.dumps(golden | half), encoding="utf-8")
    told = {
        "clip-bench compare": [["compare", one, two]],
        "clip-bench history": [["history", one, two]],
        "clip-bench best": [["best", one, two, "--objective", each] for each in part("best").OBJECTIVES],
        "clip-bench timings": [["timings", one]],
    }
    pairs = printed(audit.page([]), "clip-bench audit") | printed(published.page({}), "Published figures")
    for name, commands in told.items():
        for arguments in commands:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                main([str(each) for each in arguments])
            pairs |= printed(out.getvalue(), name)
    return pairs


@pytest.fixture(scope="module")
def every(on_pages, in_code, at_the_terminal):
    html = (ROOT / "reports" / "index.html").read_text(encoding="utf-8")
    own = re.findall(
        r'<th scope="col" class="\w*" title=[^>]*>(.*?)</th>', html
    )  # those of findings are on their pages
    shown = [re.sub("<[^>]*>", "", head) for head in own]
    return on_pages | in_code | at_the_terminal | {("The page", unescape(head)) for head in shown}


def test_every_column_of_every_table_is_told(every):
    silent = {(name, head) for name, head in every if head and not _told(name, head)}

    assert not silent, "tell what these are in clip_bench/report/glossary.py, then run regenerate.py"


def test_nothing_is_told_of_a_column_that_no_table_has(every):
    own = {(table.name, head) for table in meanings.TABLES for head in table.columns}
    used = {(name, meanings.key(name, head)) for name, head in every if head and _told(name, head)}

    assert not own - used
    assert not set(meanings.SHARED) - {head for _, head in used - own}


def test_docs_tell_every_column_as_the_code_does():
    text = (ROOT / "docs" / "columns.md").read_text(encoding="utf-8")

    assert text == meanings.page(), "run: python tests/unit/tables/regenerate.py"


def test_the_numbers_that_are_told_are_those_of_the_code():
    text = meanings.page()

    assert f"P90 takes {needed(90)} calls, P99 {needed(99)}" in text
    assert f"({needed(90)})" in meanings.meaning("In full", "P90, proven (ms)")
    assert f"({needed(99)})" in meanings.meaning("The page", "P99, proven (ms)")
    assert f"{metrics.LEAST_FLOOR:.0e} at least" in meanings.meaning("In full", "Drift (x floor)")
    assert f"There are {needed(90)} unless" in text


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("Hardware Test Results", "P90 linear ms", "interpolated"),
        ("Profiles", "P99.9 (µs)", "MLPerf"),
        ("Batches", "Batch 32 (samples/s)", "N / the mean"),
        ("Conditions and energy", "Load", "load average"),
        ("Profiles", "Load", "one request at a time"),
    ],
    ids=["brief", "fraction", "number", "average", "pattern"],
)
def test_a_column_is_found_by_its_own_table_and_with_any_number(name, head, words):
    assert words in meanings.meaning(name, head)


def test_a_column_of_which_nothing_is_told_is_named():
    with pytest.raises(KeyError, match=r"Batches: Batch size \(ms\): nothing tells"):
        meanings.meaning("Batches", "Batch size (ms)")


def _told(name, head):
    try:
        meanings.meaning(name, head)
    except KeyError:
        return False
    return True
