"""What a row says, and what it must never say."""

import dataclasses
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.record import Outcome
from clip_bench.report import collect, frame
from clip_bench.report.rows import COLUMNS
from clip_bench.runfile import read

GOLDEN = Path(__file__).parent / "golden" / "run.json"
TIMES = ["rounds", "mean_ms", "p50_ms", "p90_ms", "min_ms", "max_ms", "throughput_avg", "first_s", "speedup"]


@pytest.fixture(scope="module")
def run():
    return read(GOLDEN)


@pytest.fixture(scope="module")
def rows(run):
    return frame([run]).set_index("case")


def test_every_planned_cell_is_a_row(run, rows):
    assert list(rows.index) == [entry.case for entry in run.entries]


def test_columns_are_the_same_without_any_run(run):
    empty, full = frame([]), frame([run])

    assert list(empty.columns) == list(full.columns) == list(COLUMNS)
    assert list(empty.dtypes) == list(full.dtypes)


@pytest.mark.parametrize("field", ["target", "model", "precision", "variant"])
def test_half_a_character_in_a_file_stays_what_it_is(run, field):
    """JSON can hold it; Arrow, in which pandas keeps columns of strings where it may choose, cannot."""
    half = "a\ud800"
    first, *others = run.entries
    first = dataclasses.replace(first, record=dataclasses.replace(first.record, **{field: half}))

    assert frame([dataclasses.replace(run, entries=(first, *others))])[field][0] == half


def test_latency_is_in_milliseconds_and_agrees_with_the_rounds(run, rows):
    entry = next(entry for entry in run.entries if entry.record.target == "torch-cpu")
    row = rows.loc[entry.case]

    assert row["p90_ms"] == pytest.approx(1e3 * np.percentile(entry.record.timing.rounds_s, 90))
    assert row["throughput_avg"] == pytest.approx(1e3 / row["mean_ms"])


def test_speedup_is_over_the_same_tower_of_the_same_run(rows):
    fast = rows.loc["image-shapes_tiny-onnxruntime-cpu-int8_dynamic"]
    base = rows.loc["image-shapes_tiny-torch-cpu-fp32"]

    assert base["speedup"] == 1
    assert fast["speedup"] == pytest.approx(base["p50_ms"] / fast["p50_ms"])


def test_no_baseline_in_the_run_means_no_speedup(run):
    kept = tuple(entry for entry in run.entries if entry.record.target != "torch-cpu")

    assert frame([run, dataclasses.replace(run, entries=kept)])["speedup"].tail(len(kept)).isna().all()


@pytest.mark.parametrize("outcome", [*Outcome][1:], ids=list("abcdefghi"))  # their words hold words of an axis
def test_only_a_cell_that_ended_ok_has_a_time(run, outcome):
    """Even where its record holds a timing: pytest-benchmark keeps that of a test that failed afterwards."""
    ended = tuple(dataclasses.replace(entry, outcome=outcome) for entry in run.entries)

    assert frame([dataclasses.replace(run, entries=ended)])[TIMES].isna().all(axis=None)


def test_what_is_no_hardware_has_no_time(run):
    timing = next(entry.record.timing for entry in run.entries if entry.record.timing)
    places = ("onnxruntime-qnn-emulated", "onnxruntime-numerics")
    cells = tuple(
        dataclasses.replace(entry, record=dataclasses.replace(entry.record, target=place, timing=timing))
        for entry in run.entries
        for place in places
    )

    table = frame([dataclasses.replace(run, entries=cells)])

    assert table[[*TIMES, "load_s", "peak_mb"]].isna().all(axis=None)


def test_random_weights_have_no_accuracy(run):
    """Even where a record holds one."""
    cells = tuple(
        dataclasses.replace(entry, record=dataclasses.replace(entry.record, weights="random")) for entry in run.entries
    )

    assert frame([dataclasses.replace(run, entries=cells)])["top1_percent"].isna().all()


def test_the_worst_of_several_outputs_counts(run):
    entry = next(entry for entry in run.entries if entry.record.quality)
    good = entry.record.quality.similarity[0]
    bad = dataclasses.replace(good, output="other", mean=0.5, minimum=-0.5, drift_ratio=1e6)
    quality = dataclasses.replace(entry.record.quality, similarity=(good, bad))
    cell = dataclasses.replace(entry, record=dataclasses.replace(entry.record, quality=quality))

    row = frame([dataclasses.replace(run, entries=(cell,))]).iloc[0]

    assert (row["similarity_mean"], row["similarity_min"], row["drift_ratio"]) == (0.5, -0.5, 1e6)
    assert row["degrad_percent"] == pytest.approx(50)


def test_a_timing_that_cannot_be_true_names_its_cell(run):
    entry = next(entry for entry in run.entries if entry.record.timing)
    timing = dataclasses.replace(entry.record.timing, rounds_s=(0.0,))
    cell = dataclasses.replace(entry, record=dataclasses.replace(entry.record, timing=timing))

    with pytest.raises(UsageError, match=entry.case):
        frame([dataclasses.replace(run, entries=(cell,))])


def test_executed_types_stand_by_frequency(rows):
    assert rows.loc["image-shapes_tiny-onnxruntime-cpu-int8_dynamic", "executed_dtypes"] == "f32 220, u8 49"
    assert rows.loc["image-shapes_tiny-torch-cuda-gpu-fp16", "executed_dtypes"] == ""
    assert math.isnan(rows.loc["image-shapes_tiny-torch-cuda-gpu-fp16", "size_mb"])


def test_a_folder_is_searched_and_strangers_are_counted(tmp_path, caplog):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "run.json").write_bytes(GOLDEN.read_bytes())
    (tmp_path / "stranger.json").write_text("[1]", encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        runs, _ = collect([tmp_path, tmp_path / "deep" / "er" / "run.json"])

    assert [run.name for run in runs] == ["run"]
    assert "1 JSON files" in caplog.text


def test_a_stranger_that_is_named_is_an_error(tmp_path):
    path = tmp_path / "stranger.json"
    path.write_text("{}", encoding="utf-8")

    with pytest.raises(UsageError, match="no clip-bench run"):
        collect([path])


def test_a_run_cut_off_in_a_folder_is_an_error(tmp_path):
    (tmp_path / "run.json").write_bytes(GOLDEN.read_bytes()[:-100])

    with pytest.raises(UsageError, match="not JSON"):
        collect([tmp_path])


def test_a_run_of_another_schema_in_a_folder_is_an_error(tmp_path):
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    data["outcomes"][0]["record"]["schema"] = 99
    (tmp_path / "run.json").write_text(json.dumps(data), encoding="utf-8")

    with pytest.raises(UsageError, match="schema"):
        collect([tmp_path])
