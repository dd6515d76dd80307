"""What a machine's page tells of cells that ran twice: the same bits or not, by how much, and what was promised."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench.quality import values
from clip_bench.record import from_json
from clip_bench.report import pages, promises, reproducible
from clip_bench.runfile import read

GOLDEN = Path(__file__).parent / "golden" / "run.json"
CELL = "image-shapes_tiny-onnxruntime-cpu-fp32"
DIGEST = {"inputs": "i" * 16, "outputs": "a" * 16}


def repeat(run, outputs="a" * 16, shift=0.0, boundary=None, **told):
    """*run* with one cell alone, which answered *outputs*; of its samples the first is farther by *shift*."""
    (entry,) = (entry for entry in run.entries if entry.case == CELL)
    record = entry.record
    (compared,) = record.quality.compared
    drifts = values.read(compared.drift)
    drifts[0] += shift
    quality = replace(record.quality, compared=(replace(compared, drift=values.told(drifts)),))
    executed = replace(record.executed, **{**DIGEST, "outputs": outputs, **told})
    changed = replace(record.boundary, **(boundary or {}))
    record = replace(record, quality=quality, executed=executed, boundary=changed)
    return replace(run, entries=(replace(entry, record=record),), path=None)


@pytest.fixture(scope="module")
def run():
    return read(GOLDEN)


def lines(made):
    return [[word.strip() for word in line.strip("|").split("|")] for line in made.splitlines() if line.startswith("|")]


def test_a_cell_that_gave_the_same_bits_twice_is_told_so(run):
    made = lines(reproducible.tables([repeat(run), repeat(run)]))

    assert made[-1] == [f"`{CELL}`", "same bits", "same bits", "same bits", "2", "-"]
    assert made[2][2:] == ["1", "1", "0"]


def test_other_bits_are_told_with_the_largest_change_of_a_sample(run):
    made = lines(reproducible.tables([repeat(run), repeat(run, "b" * 16, shift=0.25), repeat(run, "b" * 16, 0.1)]))

    assert made[-1][3:] == ["2 unlike", "3", "2.5e-01"]
    assert made[2][2:] == ["1", "0", "1"]


def test_a_cell_that_varies_from_call_to_call_does_not_repeat_itself(run):
    varied = repeat(run, note=f"outputs {reproducible.VARY}")

    made = lines(reproducible.tables([varied, repeat(run)]))

    assert made[-1][2:4] == ["other bits", "same bits"]
    assert made[2][3:] == ["0", "1"]


@pytest.mark.parametrize(
    "unlike",
    [
        {"boundary": {"threads": 3}},
        {"boundary": {"weights_sha256": "0" * 64}},
        {"boundary": {"runtimes": {"numpy": "0"}}},
        {"boundary": {"recipe": "other"}},
        {"flags": {"deterministic_algorithms": "True"}},
        {"inputs": "j" * 16},
        {"outputs": ""},
    ],
    ids=["threads", "weights", "versions", "recipe", "flags", "samples", "untold"],
)
def test_runs_under_other_conditions_are_no_repetition(run, unlike):
    assert reproducible.tables([repeat(run), repeat(run, **unlike)]) == ""


def test_runs_with_other_variables_of_the_environment_are_no_repetition(run):
    other = replace(repeat(run), machine=run.machine | {"environment": {"OMP_NUM_THREADS": "1"}})

    assert reproducible.tables([repeat(run), other]) == ""


def test_changes_are_not_told_against_other_references(run):
    other = repeat(run, "b" * 16, shift=0.5, boundary={"reference_sha256": "0" * 64})

    made = lines(reproducible.tables([repeat(run), other]))

    assert made[-1][3:] == ["2 unlike", "2", "other references"]


def test_a_page_reads_the_samples_of_repeated_cells_again_from_their_files(tmp_path):
    for name, outputs, drift in (("one", "a" * 16, "0.5"), ("two", "b" * 16, "0.75")):
        data = json.loads(GOLDEN.read_text(encoding="utf-8"))
        for entry in data["outcomes"]:
            if entry["case"] == CELL:
                entry["record"]["executed"] |= {**DIGEST, "outputs": outputs}
                entry["record"]["quality"]["compared"][0]["drift"] = drift
        (tmp_path / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")

    made = pages.made([tmp_path], tmp_path)[tmp_path / "example" / "README.md"]

    assert "| 2 unlike" in made
    assert "2.5e-01" in made


def test_every_promise_has_its_source():
    assert all(told and link.startswith("https://") for told, link in promises.PROMISES.values())
    assert promises.promised("sophon-npu") == "-"


def test_a_record_of_the_schema_before_is_read_without_flags():
    outcomes = json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"]
    for entry in outcomes:
        entry["record"]["schema"] = 5
        if entry["record"]["executed"]:
            del entry["record"]["executed"]["flags"]

    entries = from_json(outcomes)

    assert {entry.record.schema for entry in entries} == {5}
    assert all(not entry.record.executed.flags for entry in entries if entry.record.executed)
