"""A claim's script tells a bound that holds from one that does not: its arithmetic, on made-up figures."""

import importlib
import io
import json
import re
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from PIL import Image

from clip_bench import runfile
from clip_bench.record import Outcome
from clip_bench.specs import Load, Pattern
from clip_bench.timing.paired import Interval

SCRIPTS = (
    "overhead",
    "benchmark_app",
    "ratios",
    "cost",
    "embed",
    "preprocess",
    "rewrites",
    "pages",
    "archive",
    "scale",
    "rebuilt",
    "kills",
)


@pytest.fixture
def claim(pytestconfig, monkeypatch):
    """A script by its name, as Python finds it where it lies; forgotten after the test, with what it imported."""
    folder = pytestconfig.rootpath / "tests" / "claims"
    monkeypatch.syspath_prepend(str(folder))
    names = {path.stem for path in folder.glob("*.py")}
    for name in names & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]


def verdicts(rows):
    return [row["verdict"] for row in rows]


def test_every_script_is_a_claim_with_a_test_a_page_and_a_place_in_tox(pytestconfig):
    root = pytestconfig.rootpath
    runnable = {
        path.stem for path in (root / "tests" / "claims").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
    }

    assert runnable == set(SCRIPTS)
    for place in ("tox.ini", "docs/claims.md"):
        told = (root / place).read_text(encoding="utf-8")
        assert [name for name in SCRIPTS if f"tests/claims/{name}.py" not in told] == [], place


def test_a_script_ends_well_only_where_a_bound_was_measured_and_all_hold(claim, capsys):
    verdict = claim("verdict")
    good, bad, free = (verdict.row(holds=holds, what="x", bound_ms="1") for holds in (True, False, None))

    assert [verdict.show(rows) for rows in ([good], [good, free], [good, bad], [bad], [free], [])] == [0, 0, 1, 1, 1, 1]
    assert "| what   | bound ms   | verdict       |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bare_s", "extra_s", "expected"),
    [(1e-3, 10e-6, "holds"), (1e-3, 60e-6, "does not hold"), (1.0, 0.005, "holds"), (1.0, 0.02, "does not hold")],
    ids=["few_microseconds", "many_microseconds", "half_a_percent", "two_percent"],
)
def test_overhead_is_bound_by_a_percent_or_thirty_microseconds(claim, bare_s, extra_s, expected):
    overhead = claim("overhead")
    noise = np.random.default_rng(0).normal(0, 1e-3 * bare_s, (200, 2, 2))
    part = bare_s + noise + np.array([extra_s, 0])[None, :, None]

    found = overhead.difference([part])

    assert found.value_s == pytest.approx(extra_s, abs=1e-3 * bare_s)
    assert found.low_s < found.value_s < found.high_s
    assert verdicts([overhead.told("cell", "the call", found)]) == [expected]


def test_overhead_that_noise_could_hide_is_not_said_to_hold(claim):
    overhead = claim("overhead")
    part = 1e-3 + np.random.default_rng(0).normal(0, 1e-3, (20, 2, 2))

    found = overhead.difference([part])

    assert not found.known
    assert verdicts([overhead.told("cell", "the call", found)]) == ["does not hold"]


def test_overhead_of_sessions_does_not_see_which_of_them_was_made_first(claim):
    overhead = claim("overhead")
    base = np.full((50, 2, 2), 1e-3)
    late = np.array([50e-6, 0])[None, :, None]

    found = overhead.difference([base + late, base - late] * 4)

    assert found.value_s == pytest.approx(0, abs=1e-9)
    assert found.holds


def test_overhead_groups_have_both_arms_in_mirrored_order(claim, monkeypatch):
    overhead, called, clock = claim("overhead"), [], count()
    monkeypatch.setattr(overhead.time, "perf_counter", lambda: float(next(clock)))

    found = overhead.group((lambda _: called.append("a"), lambda _: called.append("b")), {}, counted=2, uncounted=1)

    assert "".join(called) == "aaabbbbbbaaa"
    assert found == [[1.0, 1.0], [1.0, 1.0]]


def test_the_lines_of_benchmark_app_are_read_in_each_of_its_units(claim):
    app = claim("benchmark_app")
    text = "[ INFO ] Latency:\n[ INFO ]    Median:        {}\n[ INFO ]    Average: 9 ms\n[ INFO ] Throughput:   1371.42 FPS\n"

    runs = [app.parsed(text.format(told)) for told in ("62.88 ms", "725.31 us")]

    assert [run.median_s for run in runs] == pytest.approx([0.06288, 0.00072531])
    assert {run.samples_s for run in runs} == {1371.42}
    with pytest.raises(ValueError, match="printed no median"):
        app.parsed("[ ERROR ] no such model")


def test_benchmark_app_is_told_the_pattern_of_the_cell(claim, tmp_path):
    app = claim("benchmark_app")

    alone, busy = (
        " ".join(app.command(tmp_path, tmp_path, load))
        for load in (Load(), Load(pattern=Pattern.THROUGHPUT, instances=2, queue=1))
    )

    assert "-api sync" in alone
    assert re.search(r"-api async -nireq 4", busy)


@pytest.mark.parametrize(
    ("share", "expected"), [(1.04, "holds"), (0.96, "holds"), (1.06, "does not hold"), (0.94, "does not hold")]
)
def test_benchmark_app_and_we_differ_by_five_percent_at_most_in_both_directions(claim, share, expected):
    app = claim("benchmark_app")
    their = [1e-3, 2e-3, 1.5e-3, 1e-3, 3e-3]

    rows = [
        app.told("cell", figure, [share * each for each in their], their) for figure in ("median latency", "throughput")
    ]

    assert verdicts(rows) == [expected] * 2


@pytest.mark.parametrize(("last", "expected"), [(2.19, "holds"), (1.79, "does not hold"), (2.21, "does not hold")])
def test_ratios_hold_where_the_farthest_is_within_ten_percent_of_their_median(claim, last, expected):
    ratios = claim("ratios")
    values = [2.0] * 9 + [last]
    found = [
        ratios.Repetition(
            paired=Interval(value=value, low=value - 0.1, high=value + 0.1), plain=5 * value**3, blocks_s=1
        )
        for value in values
    ]

    rows = ratios.told("cell", found)

    assert verdicts(rows) == [expected, ""]
    assert rows[0]["intervals"].startswith("9 of 10")
    assert rows[0]["spread"] == f"{abs(last - 2) / 2:.1%}"


def test_benchmark_app_bounds_quick_calls_by_the_clock_of_the_runtime_alone(claim):
    app = claim("benchmark_app")

    rows = [app.told("cell", "throughput", [1.0], [2.0], bound=bound) for bound in (True, False)]

    assert verdicts(rows) == ["does not hold", ""]


def a_run(cost, cells, wall_s, own_cell_s):
    """A run whose cells take 2 s of their runtime, and so much of their own; two of them import one."""
    parts = {"building": 0.01, "loading": 0.5, "calling": 1.0, "timing": 0.5, "gating": 0.1, "importing": 0.0}
    spent = {f"cell{i}": parts | {"importing": 3.0 * (i < 2)} for i in range(cells)}
    durations = {name: 2.0 + each["importing"] + own_cell_s for name, each in spent.items()}
    return cost.Run(wall_s=wall_s, durations_s=durations, spent_s=spent)


@pytest.mark.parametrize(("own_s", "expected"), [(1.4, "holds"), (1.6, "does not hold")])
def test_cost_per_cell_is_what_the_runtimes_did_not_take(claim, own_s, expected):
    cost = claim("cost")

    found = a_run(cost, 10, wall_s=10 * (2.0 + own_s) + 6.0, own_cell_s=0.3)
    row = cost.spending(found)

    assert found.own_s == pytest.approx(10 * own_s)
    assert found.outside_s == pytest.approx(10 * (own_s - 0.3))
    assert (row["own per cell s"], row["importing s"], row["verdict"]) == (f"{own_s:.2f}", "6.0", expected)


@pytest.mark.parametrize(("own_cell_s", "expected"), [(0.35, "holds"), (0.37, "does not hold")])
def test_cost_is_a_line_start_apart(claim, own_cell_s, expected):
    cost = claim("cost")
    few = a_run(cost, 10, wall_s=26.0 + 5.0 + 10 * 0.3, own_cell_s=0.3)
    many = a_run(cost, 60, wall_s=126.0 + 5.0 + 60 * 0.3, own_cell_s=own_cell_s)

    row = cost.growing(few, many)

    assert (row["start s"], row["slope s per cell"], row["verdict"]) == ("5.0", "0.300", expected)


def test_cost_reads_the_durations_of_cells_from_what_pytest_writes(claim):
    xml = '<testsuites><testsuite><testcase name="test_latency[a-b-c]" time="1.25"/></testsuite></testsuites>'

    assert claim("cost").durations_of(xml) == {"a-b-c": 1.25}


@pytest.mark.parametrize(
    ("ratio", "apart", "expected"),
    [(0.55, 1e-6, "holds"), (0.65, 1e-6, "does not hold"), (0.55, 2e-4, "does not hold")],
    ids=["fast", "slow", "other_pixels"],
)
def test_preprocessing_is_bound_by_time_and_by_pixels(claim, ratio, apart, expected):
    noise = np.random.default_rng(0).normal(1, 0.02, (60, 2))

    row = claim("preprocess").told("a.png", "PNG", 0.02 * noise * [1, ratio], apart)

    assert (row["bound"], row["verdict"]) == ("0.60", expected)
    assert float(row["ratio"].split()[0]) == pytest.approx(ratio, rel=0.02)


def test_preprocessing_that_noise_could_hide_is_not_said_to_hold(claim):
    noise = np.random.default_rng(0).normal(1, 0.2, (30, 2))

    assert verdicts([claim("preprocess").told("a.png", "PNG", 0.02 * noise * [1, 0.59], 0.0)]) == ["does not hold"]


def test_preprocessing_takes_turns_and_leaves_the_first_rounds_out(claim):
    preprocess, calls = claim("preprocess"), []

    seconds = preprocess.rounds(lambda _: calls.append("A"), lambda _: calls.append("B"), b"", 0)

    assert seconds.shape == (preprocess.LEAST, 2)
    assert "".join(calls[:8]) == "BAABABBA"


def test_the_pictures_of_the_preprocessing_claim_are_of_the_sizes_that_it_tells(claim):
    preprocess = claim("preprocess")
    found = {name: Image.open(io.BytesIO(stored)) for name, (_, stored) in preprocess.pictures().items()}

    assert {(each.format, each.size) for each in found.values()} == {("PNG", (2162, 762)), ("JPEG", (640, 425))}
    assert found["scenery, PNG"].mode == "RGBA"


def test_embedding_is_calibrated_on_other_files_than_it_embeds(claim, monkeypatch, tmp_path):
    embed = claim("embed")
    monkeypatch.setattr(embed, "SHARED", tmp_path / "nowhere")
    monkeypatch.setattr(embed, "SIZE", (96, 64))
    folder, own = tmp_path / "folder", tmp_path / "own"
    folder.mkdir()
    own.mkdir()

    assert embed.fill(folder, own) == "25 generated pictures, in turn"

    one, other = ({path.read_bytes() for path in each.glob("*.jpg")} for each in (folder, own))
    assert len(list(folder.iterdir())) == embed.FILES
    assert len(one) == len(other) == 25
    assert not one & other


@pytest.mark.parametrize(("times", "expected"), [(2.4, "holds"), (2.1, "does not hold")])
def test_a_gain_is_bound_from_below_by_its_interval(claim, small, times, expected):
    script = claim("rewrites")
    noise = np.random.default_rng(0).normal(1, 0.01, (10, 2, 2))
    (pair, *_) = script.planned(replace(small, models=("shapes_tiny",)), whole=False)

    found = script.gain(noise * np.array([times, 1.0])[None, :, None])

    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(times, rel=0.02)
    assert verdicts([script.told(pair[1], found, 2.2), script.told(pair[1], found, None)]) == [expected, ""]


def test_gains_are_of_a_cell_and_its_plain_twin(claim, small):
    script = claim("rewrites")

    planned = script.planned(replace(small, models=("shapes_tiny",)), whole=True)

    assert {(str(other.target), other.variant.batch) for _, other in planned} == {
        (target, batch) for target in script.TARGETS for batch in script.LEAST
    }
    for plain, other in planned:
        assert other == replace(plain, variant=replace(plain.variant, rewrites=other.variant.rewrites))


@pytest.mark.parametrize(
    ("seconds", "mib", "expected"),
    [
        (19.9, 1000.0, ["holds", "holds"]),
        (20.1, 1000.0, ["does not hold", "holds"]),
        (1.0, 1025.0, ["holds", "does not hold"]),
    ],
    ids=list("abc"),
)
def test_what_many_runs_cost_is_held_to_both_bounds(claim, seconds, mib, expected):
    assert verdicts(claim("pages").told(seconds, mib)) == expected


def test_a_fleet_is_synthetic_and_says_so(claim, tmp_path):
    script = claim("archive")
    cells = script.templates()

    paths = list(script.written(tmp_path, cells, 6, 12))

    found = [runfile.read(path) for path in paths]
    assert [len({entry.case for entry in run.entries}) for run in found] == [script.CELLS] * 12
    assert len({run.machine["name"] for run in found}) == 6
    assert all("synthetic" in run.machine["name"] and "SYNTHETIC" in run.machine["cpu"] for run in found)
    assert {run.entries[0].record.boundary.threads for run in found} == {run.machine["cores_physical"] for run in found}
    assert len({run.entries[0].record.timing.rounds_s for run in found}) == 12


@pytest.mark.parametrize(("found", "expected"), [(60.0, "holds"), (60.1, "does not hold")])
def test_a_fleet_is_bound_by_seconds_and_memory(claim, found, expected):
    assert verdicts([claim("archive").told("seconds", found, 60.0, 1)]) == [expected]


def test_the_page_on_a_billion_pictures_is_what_the_runs_make(claim, pytestconfig):
    page = (pytestconfig.rootpath / "docs" / "scale.md").read_text(encoding="utf-8")

    assert claim("scale").table() in page
    assert claim("scale").stages() in page


def test_a_picture_of_the_page_is_one_that_was_read(claim, pytestconfig):
    photographs = pytestconfig.rootpath.parent / "shared" / "data" / "coco50"
    if not photographs.is_dir():
        pytest.skip("needs ../shared/data/coco50 beside the repository: photographs")

    sizes = [path.stat().st_size for path in photographs.glob("*.jpg")]

    assert len(sizes) == 50
    assert round(sum(sizes) / len(sizes)) == claim("scale").PICTURE_BYTES


def test_nodes_hours_and_pictures_follow_from_a_rate(claim):
    rate = claim("scale").Rate(case="x", encode=100.0, node=50.0)

    assert rate.node_hours(180_000) == 1.0
    assert [rate.nodes(180_000, hours) for hours in (1, 0.5, 0.4)] == [1, 2, 3]


def test_a_head_is_measured_on_what_it_does(claim, tmp_path):
    script = claim("scale")
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()

    rate, size = script.gathered(tmp_path / "one", 1)
    seconds, held = script.manifest(tmp_path / "two", 10 * script.SHARD)
    cell_s, journal = script.scheduled(tmp_path / "three", 5, 12)

    assert rate > 0
    assert 4 * script.WIDTH < size < 5 * script.WIDTH
    assert seconds > 0
    assert 10 * 64 < held < 10 * 300
    assert cell_s > 0
    assert journal > 1000
    assert len(list((tmp_path / "one").glob("*.parquet"))) == 1


A, B = ("a", Outcome.OK), ("b", Outcome.SKIPPED)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([A, B], []),
        ([A, ("b", Outcome.CRASHED)], []),
        ([A], ["b is lost", "the order is another"]),
        ([A, A, B], ["a is there 2 times", "the order is another"]),
        ([B, A], ["the order is another"]),
        ([A, B, ("c", Outcome.CRASHED)], ["c was never planned", "the order is another"]),
        ([("a", Outcome.LOST), B], ["a ended as lost"]),
    ],
    ids=list("abcdefg"),
)
def test_a_killed_run_is_held_to_the_one_that_was_left_alone(claim, found, expected):
    assert list(claim("kills").faults([A, B], found)) == expected


@pytest.mark.parametrize(
    ("own_s", "wrong", "expected"),
    [
        (0.09, [], ["holds", "holds"]),
        (0.11, [], ["holds", "does not hold"]),
        (0.0, ["a is lost"], ["does not hold", "holds"]),
    ],
    ids=list("abc"),
)
def test_kills_are_bound_by_faults_and_by_the_supervisors_seconds(claim, own_s, wrong, expected):
    script = claim("kills")
    alone = script.Alone(seconds=12.0, asleep_s=10.0, start_s=0.3, own_s=own_s)

    assert verdicts(script.told(script.Tally(runs=1, wrong=wrong), alone)) == expected


def test_many_runs_are_whole_and_unlike(claim, pytestconfig, tmp_path, monkeypatch):
    script = claim("pages")
    monkeypatch.setattr(script, "RUNS", 3)
    monkeypatch.setattr(script, "CELLS", 7)
    golden = pytestconfig.rootpath / "tests" / "unit" / "tables" / "golden" / "run.json"

    script.copies(json.loads(golden.read_text(encoding="utf-8")), tmp_path)

    found = [runfile.read(path) for path in sorted(tmp_path.rglob("*.json"))]
    assert [len({entry.case for entry in run.entries}) for run in found] == [7] * 3
    assert len({run.datetime for run in found}) == 3
    assert {run.machine["name"] for run in found} == {"machine_0", "machine_1"}
