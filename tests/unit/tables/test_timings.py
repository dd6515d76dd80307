"""Anybody's timings become a table that says what they are worth; what is no timing is one clear error."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.report.timings import read, table
from clip_bench.timing.percentiles import bound

SECONDS = np.random.default_rng(0).normal(0.01, 0.0003, 700).tolist()


@pytest.fixture
def told(capsys):
    """The cells of the table that the command prints, per row and by heading."""

    def rows(*arguments):
        assert main(["timings", *map(str, arguments)]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]

    return rows


@pytest.fixture
def saved(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_a_list_of_seconds_is_a_row_of_proven_and_of_linear_percentiles(told, saved):
    (row,) = told(saved("mine.json", SECONDS), "--percentiles", "90,99,99.9", "--batch", "8")

    assert (row["Timings"], row["n"], row["Stability"], row["Steady after"]) == ("mine.json", "700", "stable", "0")
    assert row["Mean"] == f"{1e3 * np.mean(SECONDS):.2f}"
    assert row["P90 linear"] == f"{1e3 * np.percentile(SECONDS, 90):.2f}"
    assert row["P99 proven"] == f"{1e3 * bound(SECONDS, 99).value_s:.2f}"
    assert row["P99.9 proven"] == "n/a (n=700, needs 6636)"
    assert row["Throughput /s"] == f"{8 / np.mean(SECONDS):.2f}"


def test_what_is_not_steady_or_not_stable_is_told(told, saved):
    rows = told(saved("cold.json", [0.1, *SECONDS]), saved("ramp.json", np.linspace(1, 2, 200).tolist()))

    assert [row["Steady after"] for row in rows] == ["1", "not in 200"]
    assert rows[0]["Stability"] == "stable"
    assert re.fullmatch(r"spread 19 %; drift \+\d\d % over the run", rows[1]["Stability"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", [10.0, 20, 30.5]),
        ("lines.txt", "10.0\n20\n\n30.5\n"),
        ("table.csv", "latency_ms,frame\n10.0,1\n20,2\n30.5,3\n"),
        ("quoted.csv", '\ufeff"latency";"n"\r\n"10.0";1\r\n"20";2\r\n"30.5";3'),
        ("columns.tsv", "10.0\ta\n20\tb\n30.5\tc"),
    ],
    ids=["list", "lines", "heading", "quoted", "columns"],
)
def test_lists_and_lines_are_read_in_their_unit(saved, name, content):
    assert read(saved(name, content), "ms")[name] == pytest.approx((0.01, 0.02, 0.0305))
    assert read(saved(name, content), "ns")[name] == pytest.approx((1e-8, 2e-8, 3.05e-8))


def test_each_benchmark_of_a_file_is_a_row_in_seconds(told, saved):
    stats = {"fullname": "t.py::t[a|b]", "name": "t[a|b]", "stats": {"data": SECONDS}}
    one = saved("run.json", {"benchmarks": [stats, {"name": "other", "stats": {"data": [0.5]}}]})

    rows = told(one, "--unit", "ns")

    assert [row["Timings"] for row in rows] == ["t.py::t[a&#124;b]", "other"]
    assert [row["n"] for row in rows] == ["700", "1"]
    assert rows[1]["Mean"] == "500.00"
    assert rows[1]["Stability"] == "only 1 round"


@given(st.lists(st.floats(min_value=1e-7, max_value=1e4), min_size=1))
def test_numbers_survive_a_file(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "values.txt"
    path.write_text("\n".join(map(repr, values)), encoding="utf-8")

    assert read(path) == {"values.txt": tuple(values)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rounds to judge"),
        ("latency\n", "no rounds to judge"),
        ("0.1\nfast\n", "could not convert string to float: 'fast'"),
        ("0.1\n-1\n", "round 1 took -1.0 s"),
        ("[0.1, NaN]", "round 1 took nan s"),
        ("[0.1, true]", "True is no number"),
        ("[0.1", "Expecting"),
        ("{}", "an object without benchmarks"),
        ('{"benchmarks": 3}', "not iterable"),
        ('{"benchmarks": [{"name": "t", "stats": {"mean": 1}}]}', "benchmark t has no rounds in it"),
        ('{"benchmarks": ["t"]}', "benchmark 0 has no rounds in it"),
    ],
    ids=["empty", "heading", "words", "negative", "nan", "bool", "cut", "object", "number", "no_data", "name"],
)
def test_a_bad_file_is_one_line_that_says_what_to_give(saved, capsys, content, message):
    path = saved("bad.json", content)

    status = main(["timings", str(path)])

    said = capsys.readouterr()
    assert (status, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert said.err.startswith(f"clip-bench: {path}: ")
    assert message in said.err
    assert "; give a JSON list of numbers, " in said.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--percentiles", "90,p99"), "--percentiles 90,p99: numbers between 0 and 100"),
        (("--percentiles", "100"), "--percentiles 100: numbers between 0 and 100"),
        (("--batch", "0"), "--batch 0: at least 1"),
    ],
    ids=["words", "all", "none"],
)
def test_a_bad_option_is_one_line(saved, capsys, options, message):
    status = main(["timings", str(saved("mine.json", [0.1])), *options])

    said = capsys.readouterr()
    assert (status, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert message in said.err


def test_a_missing_file_and_one_of_bytes_are_told(tmp_path):
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")

    with pytest.raises(UsageError, match=r"nowhere\.json: cannot be read \(No such file"):
        table([tmp_path / "nowhere.json"])
    with pytest.raises(UsageError, match=r"picture\.jpg: cannot be read \(no text\)"):
        table([tmp_path / "picture.jpg"])
