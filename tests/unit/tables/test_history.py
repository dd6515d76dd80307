"""The times of a cell over many runs, and where they changed for good."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clip_bench import record
from clip_bench.__main__ import main

GOLDEN = Path(__file__).parent / "golden" / "run.json"
CELL = "image-shapes_tiny-onnxruntime-cpu-int8_dynamic"
STEADY = "image-shapes_tiny-torch-cpu-fp32"


@pytest.fixture(scope="module")
def cells():
    outcomes = json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"]
    return [entry for entry in record.from_json(outcomes) if entry.case in {CELL, STEADY}]


@pytest.fixture
def runs(tmp_path, cells):
    """Write a run per day in which every time of :data:`CELL` is so many times its own, beside a *version*."""

    def moved(entry, factor, version, batch):
        if entry.case != CELL:
            return entry
        boundary, timing = entry.record.boundary, entry.record.timing
        boundary = replace(boundary, runtimes=boundary.runtimes | {"onnxruntime": version}, batch=batch)
        timing = replace(timing, rounds_s=tuple(factor * each for each in timing.rounds_s))
        return replace(entry, record=replace(entry.record, boundary=boundary, timing=timing))

    def write(factors, versions, batches, machine="example"):
        for day, told in enumerate(zip(factors, versions, batches, strict=True), 1):
            data = {
                "datetime": f"2025-03-{day:02}T00:00:00",
                "machine_info": {"clip_bench": {"name": machine}},
                "outcomes": record.to_json([moved(entry, *told) for entry in cells]),
            }
            (tmp_path / f"{len(machine)}_{day}.json").write_text(json.dumps(data), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def table(capsys):
    """The rows of the command's tables by their cell, and all that it printed."""

    def rows(*arguments):
        assert main(["history", *map(str, arguments)]) == 0
        out = capsys.readouterr().out
        cells = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")
        ]
        return [dict(zip(cells[0], row, strict=True)) for row in cells if row[0] in {CELL, STEADY}], out

    return rows


def test_a_change_for_good_is_told_with_what_else_changed(runs, table):
    noise = np.random.default_rng(0).normal(1, 0.01, 16)
    folder = runs([*noise[:8], *(1.5 * noise[8:])], ["1"] * 8 + ["2"] * 8, [1] * 16)

    rows, _ = table(folder)

    told = {row["Cell"]: row["Changes"] for row in rows}
    assert told[CELL].startswith(("2025-03-09: 1.49x", "2025-03-09: 1.5"))
    assert told[CELL].endswith("(onnxruntime 1 → 2)")
    assert told[STEADY] == "none seen"


def test_few_runs_have_a_course_and_no_changes(runs, table):
    rows, out = table(runs([1, 2, 1], ["1"] * 3, [1] * 3))

    told = {row["Cell"]: (row["Runs"], row["Course"], row["Changes"]) for row in rows}
    assert told == {CELL: ("3", "▁█▁", "needs 10 runs"), STEADY: ("3", "▁▁▁", "needs 10 runs")}
    assert "3 runs; 2 cells with times of two or more, 0 of one." in out


def test_unlike_calls_are_lines_of_their_own(runs, table):
    rows, _ = table(runs([1] * 4, ["1"] * 4, [1, 1, 8, 8]))

    assert [row["Runs"] for row in rows if row["Cell"] == CELL] == ["2", "2"]


def test_machines_stand_apart_and_a_hostile_name_is_words(runs, table):
    runs([1, 1], ["1"] * 2, [1] * 2)

    rows, out = table(runs([2, 2], ["1"] * 2, [1] * 2, machine="<b>|\n# x"))

    assert len(rows) == 4
    assert "<b>" not in out
    assert "\n# x" not in out
    assert "## example" in out


def test_no_run_is_one_line(tmp_path, capsys):
    assert main(["history", str(tmp_path)]) == 2

    assert len(capsys.readouterr().err.splitlines()) == 1
