"""What the tables promise a reader."""

import dataclasses
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.report import figures, frame, full, hardware, holes, platforms, terminal
from clip_bench.report.holes import merge
from clip_bench.runfile import read

SEED = [
    *("Platform", "Model", "Accuracy (%)", "Degrad (%)", "Mean Similarity"),
    *("Latency Avg (ms)", "Latency P90, linear (ms)", "Latency P90, proven (ms)", "Latency P99, proven (ms)"),
    *("Latency Max (ms)", "Latency Min (ms)"),
    *("Throughput Avg (samples/sec)", "Throughput Max (samples/sec)", "Throughput Min (samples/sec)"),
]
WORDS = st.sampled_from(["a", "b", "c"])


@pytest.fixture(scope="module")
def run():
    return read(Path(__file__).parent / "golden" / "run.json")


def lines(table):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


def boundaries(run, **changes):
    """The run, each measured cell there a second time under a changed boundary."""
    measured = [entry for entry in run.entries if entry.record.boundary]
    twins = [
        dataclasses.replace(entry, record=dataclasses.replace(entry.record, boundary=changed))
        for entry in measured
        for changed in [dataclasses.replace(entry.record.boundary, **changes)]
    ]
    return dataclasses.replace(run, entries=(*run.entries, *twins))


def test_hardware_table_has_the_columns_of_seed_000(run):
    heads = [line for line in lines(hardware(frame([run]))) if line[0] == "Platform"]

    assert heads == [SEED] * 6


@pytest.mark.parametrize(
    "changes",
    [
        *({"batch": 9}, {"threads": 1}, {"inside_clock": ("tokenization",)}, {"texts": 3}, {"load": "throughput"}),
        *({"instances": 3}, {"device_ids": (1,)}, {"queue": 4}, {"inputs": "fresh"}),
    ],
    ids=["batch", "threads", "clock", "captions", "load", "instances", "devices", "queue", "copies"],
)
def test_unlike_boundaries_share_no_column(run, changes):
    plain = tuple(entry for entry in run.entries if not re.search("batch|throughput", entry.case))
    table = hardware(frame([boundaries(dataclasses.replace(run, entries=plain), **changes)]))

    assert sum(line[0] == "Platform" for line in lines(table)) == 8


def test_towers_stand_apart(run):
    tables = re.split(r"^### ", hardware(frame([run])), flags=re.MULTILINE)[1:]

    for words, table in zip((*["Vision"] * 4, "Text", "CLIP"), tables, strict=False):
        assert all(line[1].startswith(words) for line in lines(table)[2:])


def test_what_is_no_hardware_stands_apart_from_what_is(run):
    tables = re.split(r"^### ", hardware(frame([run])), flags=re.MULTILINE)[1:]

    apart = [table for table in tables if ", on emulators: answers, and no times" in table.splitlines()[0]]

    assert ["‡" in table for table in tables] == [table in apart for table in tables]
    assert len(apart) == 1
    assert all(line[5:] == ["-"] * 9 for line in lines(apart[0])[2:])


def test_samples_of_one_model_that_differ_are_all_told(run):
    table = frame([run])
    table.loc[table["case"] == "image-shapes_tiny-torch-cpu-fp32", "samples"] = 7

    assert "Accuracy is over 7 or 400 samples" in hardware(table)


def test_the_harness_is_no_platform(run):
    """The target that computes nothing stands in a table of its own."""
    compared, _, own = hardware(frame([run])).partition("### Harness overhead")

    assert "0.0069" not in compared
    assert "0.0069" in own
    assert "harness" not in full(frame([run]))


def test_marks_are_explained_where_they_stand(run):
    for table in (hardware(frame([run])), terminal(frame([run]))):
        assert "† random weights: speed and similarity only." in table
        assert "‡ not hardware" in table
        assert "§ gate failed" in table
        assert "†" not in table.partition("### Text")[2]


def test_every_cell_without_a_time_has_a_reason(run):
    table = frame([run])
    untimed = table[table["rounds"].isna()]

    told = lines(holes(table))[2:]

    assert sum(int(cells) for _, _, cells, _ in told) == len(untimed)
    assert all(reason not in {"", "-"} for _, reason, _, _ in told)


def test_a_run_without_holes_says_so(run):
    timed = tuple(entry for entry in run.entries if entry.record.timing)

    assert holes(frame([dataclasses.replace(run, entries=timed)])) == "Every planned cell was timed.\n"


def test_nothing_measured_is_said():
    assert "No cell was measured." in hardware(frame([]))
    assert "Nothing was measured." in full(frame([]))


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=30))
def test_merged_boxes_hold_exactly_the_cells(cells):
    boxes = merge([tuple((word,) for word in cell) for cell in cells])

    expanded = [cell for box in boxes for cell in itertools.product(*box)]
    assert sorted(expanded) == sorted(set(cells))


@pytest.mark.parametrize("hostile", ["[a](https://b)", "![a](b)", "\x1b[31mred", "a\x00b", "<b>"], ids=list("abcde"))
def test_a_hostile_word_is_no_markup(hostile):
    told = figures.clean(hostile)

    assert "](" not in told
    assert "<" not in told
    assert told.isprintable()


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_reason_breaks_out_of_its_cell(reason):
    table = figures.markdown(("a", "b"), [["x", figures.clean(reason)]])

    assert len(table.splitlines()) == 3
    assert table.splitlines()[-1].count("|") == 3


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("torch-cpu", "CPU, PyTorch"),
        ("onnxruntime-qnn-npu", "Qualcomm NPU, ONNX Runtime QNN"),
        ("onnxruntime-qnn-emulated", "Qualcomm NPU, emulated, ONNX Runtime QNN"),
        ("onnxruntime-ovep-cpu", "CPU, ONNX Runtime OpenVINO provider"),
        ("openvino-npu", "Intel NPU, OpenVINO"),
        ("torch-cuda-gpu", "NVIDIA GPU, PyTorch CUDA"),
        ("acme-npu", "NPU, acme"),
    ],
    ids=list("abcdefg"),
)
def test_a_target_is_named_in_the_fields_words(target, words):
    assert platforms.title(target) == words


@pytest.mark.parametrize(
    ("told", "figure"),
    [
        (figures.fixed(-1e-9), "0.00"),
        (figures.fixed(None), "-"),
        (figures.fixed(float("nan")), "-"),
        (figures.millis(267.731), "267.73"),
        (figures.millis(0.0069), "0.0069"),
        (figures.points(0.26), "+0.3"),
        (figures.points(-1.24), "-1.2"),
        (figures.points(-0.01), "0.0"),
        (figures.times(2.092), "2.09x"),
        (figures.factor(3.14), "3.1"),
        (figures.factor(9500.0), "9500"),
        (figures.factor(float("nan")), "-"),
    ],
    ids=list("abcdefghijkl"),
)
def test_figures_read_as_published(told, figure):
    assert told == figure
