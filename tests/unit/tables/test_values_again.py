"""Values per sample are read again for the cells that are shown, and a file that changed meanwhile is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench.errors import UsageError
from clip_bench.report import pages, samples
from clip_bench.report.rows import collect

GOLDEN = Path(__file__).parent / "golden" / "run.json"


@pytest.fixture
def runs(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(GOLDEN.read_text(encoding="utf-8"), encoding="utf-8")
    (run,), _ = collect([path])
    return [run]


def held(table):
    return {row["case"] for row in table.to_dict("records") if row["record"].quality and row["record"].quality.compared}


def test_each_shown_cell_has_its_own_values_again(runs):
    table = pages.current(runs)

    again = samples.added(table, runs)

    entries = json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"]
    told = {each["case"] for each in entries if each["record"]["quality"] and each["record"]["quality"]["compared"]}
    assert (held(table), held(again)) == (set(), told)
    assert len(told) > 1
    assert all(row["record"].case == row["case"] for row in again.to_dict("records"))
    assert list(again.index) == list(table.index)


def test_entries_are_counted_through_all_runs(runs):
    newest = replace(runs[0], entries=runs[0].entries[:0])

    again = samples.added(pages.current([newest, *runs]), [newest, *runs])

    assert all(row["record"].case == row["case"] for row in again.to_dict("records"))
    assert held(again)


def test_a_run_without_a_file_keeps_what_it_has(runs):
    table = pages.current(runs)

    again = samples.added(table, [replace(runs[0], path=None)])

    assert list(again["record"]) == list(table["record"])


def test_a_file_that_changed_is_told(runs):
    data = json.loads(runs[0].path.read_text(encoding="utf-8"))
    runs[0].path.write_text(json.dumps(data | {"outcomes": data["outcomes"][1:]}), encoding="utf-8")

    with pytest.raises(UsageError, match="changed while it was read"):
        samples.added(pages.current(runs), runs)
