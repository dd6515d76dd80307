"""Benchmarks of others are compared by their times alone; what is none ends in one line."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.report import comparisons, reading
from clip_bench.report.compare import compare

RUN = json.loads((Path(__file__).parent / "golden" / "run.json").read_text(encoding="utf-8"))
RUN |= {"outcomes": RUN["outcomes"][1:6], "benchmarks": RUN["benchmarks"][:2]}  # an example takes milliseconds
PLAIN = {name: value for name, value in RUN.items() if name != "outcomes"}
OTHER = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    [],
    {},
    [None],
    {"x": None},
    1e300,
    1e-300,
    10**400,
    float("nan"),
    float("inf"),
]

ROUNDS = np.random.default_rng(0).normal(0.01, 0.0001, 64).tolist()
HOSTILE = "t.py::t[a|b\n<script>alert(1)</script>]"


def places(data, path=()):
    """The path of every value in JSON data, leaves of long lists aside."""
    items = data.items() if isinstance(data, dict) else enumerate(data[:8]) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.fixture
def saved(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def compared(capsys):
    """The exit status, the rows of the table, and all that was printed."""

    def run(*arguments):
        status = main(["compare", *map(str, arguments)])
        said = capsys.readouterr()
        table = said.out.partition("### Not")[0]
        lines = [line for line in table.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        rows = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]] if cells else []
        return status, rows, said

    return run


def benchmarks(**stats):
    listed = [{"fullname": name, "name": "t", "stats": told} for name, told in stats.items()]
    return {"benchmarks": listed, "machine_info": {"node": "my-host", "python_version": "3.12.1"}, "version": "5"}


def scaled(factor):
    return [factor * each for each in ROUNDS]


def test_benchmarks_are_matched_by_their_full_names(saved, compared):
    a = saved("a.json", benchmarks(one={"data": ROUNDS}, two={"data": ROUNDS}, gone={"data": ROUNDS}))
    b = saved("b.json", benchmarks(one={"data": scaled(1.5)}, two={"data": ROUNDS}, new={"data": ROUNDS}))

    status, rows, said = compared(a, b, "--fail-slower", "5%")

    assert status == 1
    assert [(row["Cell"], row["Verdict"], row["B / A"]) for row in rows[:2]] == [
        ("one", "slower", "1.50x"),
        ("two", "no difference seen", "1.00x"),
    ]
    assert "| gone | only in A |" in " ".join(said.out.split())
    assert "| new" in said.out
    assert "my-host" not in said.out


def test_without_raw_times_there_is_a_ratio_and_no_interval(saved, compared):
    a = saved("a.json", benchmarks(one={"median": 0.01}, two={"data": ROUNDS}))
    b = saved("b.json", benchmarks(one={"median": 0.02}, two={"data": None, "median": 0.02}))

    status, rows, said = compared(a, b, "--fail-slower", "5%")

    assert [(row["Verdict"], row["B / A"]) for row in rows] == [("no interval", "2.00x"), ("no interval", "2.00x")]
    assert status == 0
    assert "2 of 2 pairs would not have shown that they are 5 % slower" in said.err


def test_a_hostile_name_is_words_in_a_cell(saved, compared):
    data = benchmarks(**{HOSTILE: {"data": ROUNDS}})
    path = saved("a.json", data | {"commit_info": {"id": "<img src=x>|\n# x"}})

    status, rows, said = compared(path, saved("b.json", data))

    assert status == 0
    assert rows[0]["Cell"] == "t.py::t[a&#124;b &lt;script>alert(1)&lt;/script>]"
    assert "<script" not in said.out
    assert "<img" not in said.out
    assert "\n# x" not in said.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"benchmarks": [', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "neither 'outcomes' nor 'benchmarks' in it"),
        ('{"benchmarks": 3}', "no benchmarks in it"),
        ('{"benchmarks": []}', "no benchmarks in it"),
        ('{"benchmarks": ["x"]}', "benchmark 0: it has no name or no stats"),
        ('{"benchmarks": [{"name": "t", "stats": {}}]}', "benchmark 0: its times are no list of numbers"),
        ('{"benchmarks": [{"name": "t", "stats": {"data": [1, "x"]}}]}', "benchmark 0: its times are no list"),
        ('{"benchmarks": [{"name": "t", "stats": {"data": [1, NaN]}}]}', "benchmark 0: round 1 took nan s"),
        ('{"benchmarks": [{"name": "t", "stats": {"data": [1, -2]}}]}', "benchmark 0: round 1 took -2.0 s"),
        (
            '{"benchmarks": [{"name": "t", "stats": {"data": [1, 1e-300]}}]}',
            "benchmark 0: rounds from 1e-300 to 1 s are",
        ),
        (f'{{"benchmarks": [{{"name": "t", "stats": {{"data": [1{"0" * 400}]}}}}]}}', "benchmark 0: "),
        ('{"outcomes": 3}', "outcomes.: "),
    ],
    ids=[
        "empty",
        "cut",
        "deep",
        "list",
        "number",
        "no_rows",
        "word",
        "no_stats",
        "words",
        "nan",
        "minus",
        "tiny",
        "huge",
        "run",
    ],
)
def test_what_is_no_run_ends_in_one_line(saved, capsys, content, message):
    bad, good = saved("bad.json", content), saved("good.json", benchmarks(one={"data": ROUNDS}))

    for paths in ((bad, bad), (good, bad)) if "outcomes" not in content else ((bad, bad),):
        status = main(["compare", *map(str, paths)])

        said = capsys.readouterr()
        assert (status, said.out, len(said.err.splitlines())) == (2, "", 1)
        assert said.err.startswith(f"clip-bench: {bad}: ")
        assert message in said.err


def test_two_benchmarks_of_one_name_and_strangers_are_refused(saved, capsys):
    good = benchmarks(one={"data": ROUNDS})
    twice = saved("twice.json", {"benchmarks": good["benchmarks"] * 2})
    other = saved("other.json", benchmarks(two={"data": ROUNDS}))

    for path, message in ((twice, "one is there twice; remove one"), (other, "have no cell in common")):
        assert main(["compare", str(saved("good.json", good)), str(path)]) == 2

        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1
        assert message in said.err


def test_a_folder_beside_another_tools_file_is_refused(saved, tmp_path, capsys):
    path = saved("good.json", benchmarks(one={"data": ROUNDS}))

    assert main(["compare", str(path), str(tmp_path)]) == 2
    assert f"{tmp_path}: a folder beside a file that is no run of clip-bench; give one" in capsys.readouterr().err


@settings(max_examples=150)
@given(data=st.data(), whole=st.sampled_from([RUN, PLAIN]), value=st.sampled_from(OTHER))
def test_a_damaged_file_is_compared_or_refused_in_one_line(tmp_path_factory, data, whole, value):
    folder = tmp_path_factory.getbasetemp()
    good, bad = folder / "good.json", folder / "bad.json"
    damaged = copy.deepcopy(whole)
    *inner, last = data.draw(st.sampled_from(list(places(whole))))
    at = damaged
    for key in inner:
        at = at[key]
    at[last] = value
    good.write_text(json.dumps(whole), encoding="utf-8")
    bad.write_text(json.dumps(damaged), encoding="utf-8")

    message = ""
    try:
        found = compare(*reading.read([good, bad]))
        comparisons.dumps([found])
        comparisons.text(found)
    except UsageError as exc:
        message = str(exc)

    assert "\n" not in message
