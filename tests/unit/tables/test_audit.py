"""What is claimed of an audit: a wrong time is called wrong, a true one is not, and no row is lost."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.report import audit, peaks
from clip_bench.report.audit import Audited, Published, Unaudited
from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import Sizes

HEAD = ",".join(field.name for field in fields(Published))
ROW = Published(
    id="x1",
    model="ViT-L/14",
    boundary="image",
    batch="1",
    precision_claimed="fp32",
    hardware="Tesla T4",
    runtime="a runtime",
    metric="latency",
    value="60",
    unit="ms",
    source="a test",
    audit_note="",
)
WORDS = st.sampled_from([
    *("", "?", "-", "1", "1+10", "0", "ViT-B/32", "openai/clip-vit-large-patch14", "T4", "CPU (unnamed)", "Snapdragon X"),
    *("float", "fp16", "fp16 / fp32", "fused", "vision | text", "image / text", "5 / 6", "1e9", "nan", "-3", "ms", "qps", "%"),
])  # fmt: skip
ROWS = st.builds(Published, **{field.name: WORDS | st.text(max_size=12) for field in fields(Published)})


def test_a_tower_without_a_closed_form_is_no_verdict():
    """Every model that the names tell has one: the guard is for a name that is added."""
    figure = audit._Figure(
        sizes=Sizes(vision=None, text=None), tower=Tower.IMAGE, batch=1, texts=0, seconds=1.0, notes=()
    )

    with pytest.raises(UsageError, match="a model without a closed form for image: report this row to clip-bench"):
        audit._verdict(figure, Precision.FP32, None)


def only(row):
    (told,) = audit.examine(row)
    return told


@pytest.fixture(scope="module")
def shared(request):
    """The verdicts on the rows that were collected for this project, by their id."""
    path = Path(request.config.rootpath).parent / "shared" / "facts" / "published_clip_numbers.csv"
    if not path.is_file():
        pytest.skip("needs ../shared/facts/published_clip_numbers.csv beside the repository: published CLIP times")
    rows = audit.read(path)
    return {row.id: audit.examine(row) for row in rows}


def test_the_collected_rows_all_have_a_verdict_or_a_reason(shared):
    assert len(shared) == 49
    assert all(told for told in shared.values())
    assert sum(isinstance(each, Audited) for told in shared.values() for each in told) == 29


def test_a_large_model_in_18_6_ms_on_a_t4_cannot_be_in_full_precision(shared):
    """Its row claims fp16 only in passing, beside two rows in fp32 that are plausible."""
    (m1,), (m2,), (m3,) = shared["m1"], shared["m2"], shared["m3"]

    assert [(each.verdict.word, each.fp32) for each in (m1, m2, m3)] == [
        ("plausible", "yes"),
        ("plausible", "no"),
        ("plausible", "no"),
    ]
    assert m1.verdict.flops_s == pytest.approx(8.71e12, rel=1e-3)


def test_six_seconds_on_a_processor_without_a_name_are_suspect(shared):
    (o9,) = shared["o9"]

    assert o9.verdict.word == "fallback suspected"
    assert o9.verdict.flops_s == pytest.approx(15.3e9, rel=0.01)
    assert o9.verdict.flops_s < audit.FLOOR_FLOPS_S
    assert o9.peak is None


def test_a_row_that_was_known_to_miss_its_device_is_suspect(shared):
    """Olive#1790: the model's QDQ nodes are missing."""
    assert [each.verdict.word for each in shared["o8"]] == ["fallback suspected"]


@pytest.mark.parametrize("row", ["v1", "v2", "a1", "o10", "n1", "i1", "q5", "ac1", "f1"])
def test_what_cannot_be_audited_says_why(shared, row):
    (told,) = shared[row]

    assert isinstance(told, Unaudited)
    assert len(told.reason) > 10


def test_a_time_below_the_bound_is_impossible_as_claimed():
    told = only(replace(ROW, value="18.6"))

    assert (told.verdict.word, told.fp32) == ("impossible", "yes")
    assert "**impossible** for the claimed precision" in audit.page([told.row])


def test_a_rate_is_a_time_per_call():
    told = only(replace(ROW, batch="64", precision_claimed="amp fp16", value="320", unit="img/s", metric="throughput"))

    assert told.seconds == pytest.approx(0.2)
    assert told.verdict.flops_s == pytest.approx(320 * 162.03e9, rel=1e-3)
    assert told.notes == ("time per call from its rate",)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1,234.5", 1.2345), ("6e1", 0.06), ("60 ms (was 70)", 0.06), ("71.24 / 72.38", 0.07124), ("340 vs 431", 0.34)],
    ids=["thousands", "exponent", "words", "percentile", "versus"],
)
def test_the_first_number_is_the_figure(value, seconds):
    assert only(replace(ROW, value=value)).seconds == pytest.approx(seconds)


def test_a_rate_without_a_batch_counts_no_bytes():
    first, second = audit.examine(replace(ROW, boundary="image / text", batch="default", value="5 / 50", unit="qps"))

    assert [first.seconds, second.seconds] == [0.2, 0.02]
    assert (first.tower, second.tower) == ("image", "text")
    assert {first.verdict.bound, second.verdict.bound} == {"compute"}
    assert "batch not told, so that no bytes are counted" in first.notes


def test_a_narrower_peak_bounds_a_precision_without_its_own():
    """Twice as lenient for each halving: 45 TOPS in eight bits are at most as many in sixteen."""
    told = only(replace(ROW, hardware="Snapdragon X Elite", runtime="ORT-QNN", precision_claimed="float", value="150"))

    assert (told.peak.precision, told.peak.steps) == ("int8", 1)
    assert 1 / 60 < told.verdict.share < 1 / 30
    assert told.verdict.word == "plausible"
    assert told.fp32 == "no FP32 peak published"
    assert "'float' read as fp16" in told.notes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unit": "%"}, "no time and no rate"),
        ({"model": "MobileCLIP-B (ViT-B/16 class)"}, "no model of known work"),
        ({"boundary": "zero-shot"}, "names no tower"),
        ({"batch": "?"}, "the batch is not told"),
        ({"batch": "0"}, "the batch is not told"),
        ({"boundary": "fused"}, "number of texts is not told"),
        ({"boundary": "image / text"}, "2 towers and 1 numbers"),
        ({"value": "fast"}, "no positive number"),
        ({"value": "0"}, "no positive number"),
        ({"value": "-3"}, "no positive number"),
        ({"value": "1e999"}, "no positive number"),
        ({"precision_claimed": "-"}, "no precision that is known"),
        ({"precision_claimed": "TRT fp32 / fp16"}, "several precisions"),
        ({"hardware": "a telephone"}, "no published peak is known"),
    ],
    ids=[
        "unit",
        "kind",
        "boundary",
        "batch",
        "empty",
        "fused",
        "towers",
        "words",
        "zero",
        "negative",
        "endless",
        "unclaimed",
        "two",
        "device",
    ],
)
def test_each_reason_is_told(changes, reason):
    told = only(replace(ROW, **changes))

    assert isinstance(told, Unaudited)
    assert reason in told.reason


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_no_row_is_dropped_and_none_breaks_the_tables(rows):
    page = audit.page(rows)

    told = [each for row in rows for each in audit.examine(row)]
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(told) >= len(rows)
    assert len(lines) == 4 + len(told)
    assert {line.count("|") for line in lines} <= {len(audit.HEADS) + len(audit.FIGURES) + 1, 4}


@settings(deadline=None)
@given(st.floats(min_value=1.5, max_value=1e6))
def test_a_longer_time_is_never_more_impossible(times):
    order = ["impossible", "plausible", "fallback suspected"]

    words = [only(replace(ROW, value=f"{60 * factor:.6f}")).verdict.word for factor in (1 / times, 1, times)]

    assert words == sorted(words, key=order.index)


@pytest.mark.parametrize("precision", Precision, ids=range(len(Precision)))
def test_every_precision_is_bounded_by_a_published_one(precision):
    assert peaks.find("NVIDIA T4", precision) is not None


@pytest.mark.parametrize(
    ("hardware", "device"),
    [
        ("g4 (T4)", "NVIDIA T4"),
        ("Tesla  t4 ", "NVIDIA T4"),
        ("GeForce RTX 4090", "NVIDIA RTX 4090"),
        ("RTX 4080 SUPER", None),
        ("RTX 3090 Ti", None),
        ("Snapdragon X 12-core ORT-QNN", "Snapdragon X's NPU"),
        ("Snapdragon X2 Elite CRD QNN", "Snapdragon X2 Elite's NPU"),
        ("Snapdragon X ORT-CPU", None),
        ("Ryzen AI 9 HX 370 VitisAI", "Ryzen AI 300's NPU"),
        ("Core Ultra 7 258V NPU", "Core Ultra 7 25xV's NPU"),
        ("Core Ultra 5 228V NPU", "Core Ultra 5 200V's NPU"),
        ("i9-10900X", None),
    ],
    ids=range(12),
)
def test_a_device_is_found_in_free_words(hardware, device):
    found = peaks.find(hardware, Precision.FP32)

    assert (found and found.device) == device


def test_peaks_name_their_source_and_grow_as_numbers_narrow():
    rows = peaks._rows()

    assert all(row["source"] and row["name"] for row in rows)
    for name in {row["name"] for row in rows}:
        mine = {row["precision"]: float(row["tera_per_s"]) for row in rows if row["name"] == name}
        ordered = [mine[word] for word in ("fp32", "bf16", "fp16", "int8") if word in mine]
        assert ordered == sorted(ordered)
        assert len({row["gb_per_s"] for row in rows if row["name"] == name}) == 1


def test_an_untold_bandwidth_bounds_nothing():
    assert peaks.find("Sophgo BM1684X", Precision.FP16).ceiling.bytes_s == math.inf


def test_the_command_prints_both_tables(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    cells = [",".join(getattr(row, field.name) for field in fields(Published)) for row in (ROW, replace(ROW, unit="%"))]
    path.write_text("\n".join([HEAD, *cells]), encoding="utf-8")

    assert main(["audit", str(path)]) == 0

    told = capsys.readouterr().out
    assert told.startswith(
        "2 rows: 1 figures audited (0 impossible, 1 plausible, 0 fallback suspected), 1 rows not audited"
    )
    assert "no time and no rate" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as CSV"),
        (b"", "no column id,"),
        (b"id,model\n1,2\n", "no column boundary"),
        (HEAD.encode(), "no row in it"),
        (f"{HEAD}\na,b\n".encode(), "line 2 has fewer fields"),
        (f"{HEAD}\n{'a,' * 12}a\n".encode(), "line 2 has more fields"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (f'{HEAD}\n"a'.encode(), "cannot be read as CSV"),
    ],
    ids=["missing", "empty", "foreign", "bare", "lacking", "excess", "bytes", "quote"],
)
def test_a_bad_file_is_one_line_and_status_2(tmp_path, capsys, content, message):
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)

    assert main(["audit", str(path)]) == 2

    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_reading_keeps_every_column(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEAD},more\n" + ",".join(f'"{n}, {n}"' for n in range(13)) + "\n", encoding="utf-8")

    (row,) = audit.read(path)

    assert [getattr(row, field.name) for field in fields(row)] == [f"{n}, {n}" for n in range(12)]


def test_a_bad_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="published rows"):
        audit.read(tmp_path)
