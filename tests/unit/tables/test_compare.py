"""Two runs are put side by side cell by cell, and only what controls do not explain is called a difference."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from clip_bench import record, runfile
from clip_bench.__main__ import main
from clip_bench.record import Boundary, Outcome
from clip_bench.report import reading, sides
from clip_bench.report.compare import Verdict, compare
from clip_bench.report.pages import current

GOLDEN = Path(__file__).parent / "golden" / "run.json"
CELL = "image-shapes_tiny-onnxruntime-cpu-int8_dynamic"
OTHER = {  # of a field, a value that the golden run does not have
    "tower": "whole",
    "inside_clock": ("everything",),
    "load": "throughput",
    "device_ids": (0, 1),
    "inputs": "fresh",
    "rewrites": ("pooled",),
    "lengths": (7, 9),
    "pixels": "uint8",
    "data_sha256": "0" * 64,
    "weights_sha256": "0" * 64,
    "recipe": "0" * 64,
    "reference_sha256": "0" * 64,
    "runtimes": {"onnxruntime": "9.9"},
    "options": {"threads": "9"},
}


@pytest.fixture
def saved(tmp_path):
    """Write the golden run with each of its entries changed by a function; its path."""

    def write(name, change=lambda entry: entry, day="2025-01-02", machine="example"):
        data = json.loads(GOLDEN.read_text(encoding="utf-8"))
        data["outcomes"] = record.to_json([change(entry) for entry in record.from_json(data["outcomes"])])
        data["datetime"] = f"{day}T00:00:00+00:00"
        data["machine_info"]["clip_bench"]["name"] = machine
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write


@pytest.fixture
def told(saved):
    """The comparison of the golden run with itself changed."""

    def compared(change):
        return compare(*reading.read([saved("a.json"), saved("b.json", change)]))

    return compared


@pytest.fixture
def command(capsys):
    """The exit status of the command, what it printed, and what it said beside."""

    def run(*arguments):
        status = main(["compare", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def timed(factor, concerned):
    """Times *factor* for the cells that *concerned* knows."""

    def change(entry):
        timing = entry.record.timing
        if timing is None or not concerned(entry.case):
            return entry
        rounds = tuple(factor * each for each in timing.rounds_s)
        return replace(entry, record=replace(entry.record, timing=replace(timing, rounds_s=rounds)))

    return change


def bounded(**told):
    """Another boundary for :data:`CELL`."""

    def change(entry):
        if entry.case != CELL:
            return entry
        return replace(entry, record=replace(entry.record, boundary=replace(entry.record.boundary, **told)))

    return change


def drifted(by):
    """A mean cosine less by *by* for :data:`CELL`, and a top-1 less by 0.02."""

    def change(entry):
        if entry.case != CELL:
            return entry
        quality = entry.record.quality
        alike = tuple(replace(each, mean=each.mean - by) for each in quality.similarity)
        scores = tuple(replace(each, value=each.value - 0.02) for each in quality.scores)
        return replace(entry, record=replace(entry.record, quality=replace(quality, similarity=alike, scores=scores)))

    return change


def crashed(entry):
    """:data:`CELL` has nothing but the way it ended."""
    if entry.case != CELL:
        return entry
    empty = replace(entry.record, boundary=None, quality=None, timing=None, artifact=None, executed=None, cold=None)
    return replace(entry, outcome=Outcome.CRASHED, reason="signal | 11", record=empty)


def verdicts(comparison):
    return {pair.before.name: pair.verdict for pair in comparison.pairs}


def test_a_run_beside_itself_shows_no_difference(told):
    found = told(lambda entry: entry)

    assert set(verdicts(found).values()) == {Verdict.SAME, Verdict.UNTIMED}
    assert {pair.value for pair in found.pairs if pair.change} == {1}
    assert all(
        "skipped" in why or "crashed" in why or "unsupported" in why or "lost" in why for why in found.unpaired.values()
    )


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, Verdict.SLOWER), (0.6, Verdict.FASTER)], ids=["up", "down"])
def test_only_the_cell_that_changed_is_called_so(told, factor, verdict):
    found = told(timed(factor, lambda case: case == CELL))

    assert [name for name, word in verdicts(found).items() if word is verdict] == [CELL]
    assert {word for name, word in verdicts(found).items() if name != CELL} == {Verdict.SAME, Verdict.UNTIMED}


def test_a_machine_that_slowed_down_explains_every_cell(told):
    found = told(timed(1.3, bool))

    assert set(verdicts(found).values()) == {Verdict.SAME, Verdict.UNTIMED}
    (pair,) = [pair for pair in found.pairs if pair.before.name == CELL]
    assert pair.controls.strays == pytest.approx(0.3)
    assert pair.least > 0.3


def test_a_runtime_is_no_control_of_itself(told):
    found = told(timed(1.5, lambda case: "onnxruntime" in case))

    slower = {name for name, word in verdicts(found).items() if word is Verdict.SLOWER}
    assert slower == {
        name for name, word in verdicts(found).items() if "onnxruntime" in name and word is not Verdict.UNTIMED
    }
    assert len(slower) > 3


def test_a_newer_version_of_one_runtime_leaves_the_others_as_controls(told):
    def newer(entry):
        boundary = entry.record.boundary
        if boundary is None:
            return entry
        runtimes = boundary.runtimes | {"onnxruntime": "99.0"}
        return replace(entry, record=replace(entry.record, boundary=replace(boundary, runtimes=runtimes)))

    counts = {pair.before.backend: pair.controls.count for pair in told(newer).pairs}

    assert counts["onnxruntime"] > 3
    assert counts["torch"] == 1  # of OpenVINO's one cell
    assert counts["openvino"] == counts["onnxruntime"] - 1


def test_every_field_of_a_boundary_has_to_be_equal_or_may_differ():
    assert sorted(sides.EQUAL + sides.FREE) == sorted(each.name for each in fields(Boundary))


@pytest.mark.parametrize("place", range(len(sides.EQUAL)))
def test_cells_of_another_call_are_listed_with_the_field(told, place):
    name = sides.EQUAL[place]

    found = told(bounded(**{name: OTHER.get(name, 99)}))

    assert found.unpaired[CELL].startswith(f"{name}: ")
    assert CELL not in verdicts(found)


@pytest.mark.parametrize("place", range(len(sides.FREE)))
def test_what_people_compare_may_differ(told, place):
    name = sides.FREE[place]

    assert CELL in verdicts(told(bounded(**{name: OTHER[name]})))


def test_the_newest_measurement_of_a_cell_is_that_of_the_pages(saved):
    def skipped(entry):
        return replace(crashed(entry), outcome=Outcome.SKIPPED) if entry.case == CELL else entry

    paths = [
        saved("one.json", day="2025-01-01"),
        saved("two.json", crashed),
        saved("three.json", skipped, "2025-01-03"),
    ]
    runs = [runfile.read(path) for path in paths]

    found = sides.cells(paths[0].parent)

    table = current(sorted(runs, key=lambda run: run.datetime, reverse=True))
    shown = dict(zip(table["case"], table["run"], strict=True))
    assert set(found) == set(shown)
    assert shown[CELL] == "two"  # neither the older one that ended well, nor the newer skip
    assert found[CELL].ended
    assert not found[CELL].skipped


def test_the_limits_decide_the_exit_status(saved, command):
    a, b = saved("a.json"), saved("b.json", timed(1.2, lambda case: case == CELL))

    assert command(a, b)[0] == 0
    assert command(a, b, "--fail-slower", "30%")[0] == 0
    status, _, err = command(a, b, "--fail-slower", "5%")
    assert status == 1
    assert f"clip-bench: {CELL}: 20.0 % slower; 5 % is allowed" in err.splitlines()


def test_a_cell_that_crashes_now_fails_what_must_not_be_slower(saved, command):
    a, b = saved("a.json"), saved("b.json", crashed)

    status, out, err = command(a, b, "--fail-slower", "5%")

    assert status == 1
    assert f"{CELL}: no time any more (crashed: signal | 11)" in err
    assert f"- {CELL} in B: crashed: signal &#124; 11" in out
    assert command(a, b)[0] == 0


def test_a_drift_fails_beyond_its_limit_and_stands_beside_the_accuracy(saved, command):
    a, b = saved("a.json"), saved("b.json", drifted(0.002))

    status, out, err = command(a, b, "--fail-drift", "0.001")

    assert status == 1
    assert f"{CELL}: drift up by 0.002; 0.001 is allowed" in err
    assert command(a, b, "--fail-drift", "0.003")[0] == 0
    (line,) = [line for line in out.splitlines() if CELL in line]
    assert [cell.strip() for cell in line.split("|")][-4:-1] == ["-2.0", "1.9e-03", "3.9e-03"]


def test_without_any_time_or_answer_the_limits_fail(saved, command):
    def bare(entry):
        return replace(entry, record=replace(entry.record, timing=None, quality=None))

    a, b = saved("a.json", bare), saved("b.json", bare)

    assert command(a, b)[0] == 0
    assert command(a, b, "--fail-slower", "5%")[0] == 1
    assert command(a, b, "--fail-drift", "1")[0] == 1


def test_each_further_run_is_held_against_the_first(saved, command):
    a, b, c = saved("a.json"), saved("b.json", timed(1.5, lambda case: case == CELL)), saved("c.json")

    data = json.loads(command(a, b, c, "--format", "json")[1])

    words = [{each["cell"]: each["verdict"] for each in one["pairs"]}[CELL] for one in data]
    assert words == ["slower", "no difference seen"]
    assert [one["before"] for one in data] == [str(a), str(a)]


def test_folders_are_compared_by_the_newest_of_each_cell(saved, tmp_path, command):
    saved("old/one.json", day="2025-01-01")
    saved("new/one.json", day="2025-01-01")
    saved("new/two.json", timed(1.5, lambda case: case == CELL), "2025-01-02")

    status, out, _ = command(tmp_path / "old", tmp_path / "new")

    assert status == 0
    assert [line.split("|")[2].strip() for line in out.splitlines() if line.startswith(f"| {CELL} ")] == ["slower"]


def test_a_folder_of_two_machines_or_of_none_is_told_in_one_line(saved, tmp_path, command):
    path = saved("both/one.json")
    saved("both/two.json", machine="another")
    (tmp_path / "empty").mkdir()

    status, _, err = command(path, tmp_path / "both")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "runs of 2 machines (another, example); give the folder of one" in err
    status, _, err = command(path, tmp_path / "empty")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "no run in this folder" in err


@pytest.mark.parametrize(
    "options",
    [("--fail-slower", "5"), ("--fail-slower", "x%"), ("--fail-slower=-1%",), ("--fail-drift", "nan")],
    ids=["bare", "words", "negative", "nan"],
)
def test_a_bad_limit_is_one_line_that_says_what_to_give(saved, command, options):
    status, out, err = command(saved("a.json"), saved("b.json"), *options)

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "such as" in err
