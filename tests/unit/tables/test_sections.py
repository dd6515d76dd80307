"""What each table of a machine's page claims, on the golden run and on changes of it."""

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench.ceilings import Absent, Ceiling, Ceilings
from clip_bench.errors import UsageError
from clip_bench.graphs import onnx_file, qnn, vitisai
from clip_bench.record import Conditions, Energy, Timing
from clip_bench.report import (
    batches,
    cold,
    frame,
    full,
    hardware,
    inference,
    profiles,
    ratios,
    rooflines,
    roofs,
    savings,
    surroundings,
    terminal,
    vendors,
)
from clip_bench.runfile import read
from clip_bench.specs import Device, Precision
from clip_bench.timing.bandwidth import Bandwidth

GOLDEN = Path(__file__).parent / "golden" / "run.json"
PLAIN = "image-shapes_tiny-onnxruntime-cpu-fp32"
BASE = "image-shapes_tiny-torch-cpu-fp32"
LOADED = f"{PLAIN}-throughput-instances2-queue1"


@pytest.fixture(scope="module")
def run():
    return read(GOLDEN)


def cells(text):
    """The rows of every table in *text*, each by its headings."""
    found, heads = [], []
    for line in text.splitlines():
        words = [word.strip() for word in line.strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = words
        elif not set(line) <= set("|:-"):
            found.append(dict(zip(heads, words, strict=True)))
    return found


def changed(run, case, **parts):
    """*run* with another record of *case*."""
    entries = [
        replace(entry, record=replace(entry.record, **parts)) if entry.case == case else entry for entry in run.entries
    ]
    return replace(run, entries=tuple(entries))


def record(run, case):
    return next(entry.record for entry in run.entries if entry.case == case)


def row(run, case):
    return frame([run]).set_index("case").loc[case]


def rounds(run, case, count):
    """*run*, its *case* timed so many times."""
    timing = record(run, case).timing
    told = (timing.rounds_s * (1 + count // len(timing.rounds_s)))[:count]
    return changed(run, case, timing=replace(timing, rounds_s=told))


def test_throughput_under_load_is_all_samples_over_the_window(run):
    timing = record(run, LOADED).timing

    told = row(run, LOADED)

    assert told["throughput_avg"] == pytest.approx(len(timing.rounds_s) / timing.window_s)
    assert told[["throughput_max", "throughput_min"]].isna().all()


def test_requests_under_way_are_throughput_times_mean_latency(run):
    told = row(run, LOADED)

    assert told["throughput_avg"] * told["mean_ms"] / 1e3 == pytest.approx(4)


@pytest.mark.parametrize("window_s", [0.0, -1.0], ids=["zero", "negative"])
def test_a_window_that_cannot_be_true_names_its_cell(run, window_s):
    timing = replace(record(run, LOADED).timing, window_s=window_s)

    with pytest.raises(UsageError, match=LOADED):
        frame([changed(run, LOADED, timing=timing)])


def test_a_speedup_is_over_the_same_load_and_batch(run):
    table = frame([run]).set_index("case")

    for words in ("batch8", "throughput-instances2-queue1"):
        own, base = table.loc[f"{PLAIN}-{words}"], table.loc[f"{BASE}-{words}"]
        assert own["speedup"] == pytest.approx(own["throughput_avg"] / base["throughput_avg"], rel=0.01)
        assert base["speedup"] == 1


def test_no_baseline_under_a_load_means_no_speedup_under_it(run):
    entries = tuple(entry for entry in run.entries if entry.case != f"{BASE}-throughput-instances2-queue1")

    table = frame([replace(run, entries=entries)]).set_index("case")

    assert table.loc[LOADED].isna()["speedup"]
    assert table.loc[PLAIN, "speedup"] > 1


def test_p99_stands_only_with_its_proof(run):
    few, many = cells(hardware(frame([run]))), cells(hardware(frame([rounds(run, PLAIN, 700)])))

    assert {line.get("Latency P99, proven (ms)") for line in few} == {
        "n/a (n=64, needs 662)",
        "n/a (n=20, needs 662)",
        "-",
        None,
    }
    assert sum(line.get("Latency P99, proven (ms)", "").startswith("≤") for line in many) == 1
    assert "P99" not in terminal(frame([run]))


def test_a_proven_p90_is_never_below_the_linear_one(run):
    lines = [line for line in cells(hardware(frame([run]))) if line.get("Latency P90, proven (ms)", "").startswith("≤")]

    assert len(lines) > 10
    for line in lines:
        assert float(line["Latency P90, proven (ms)"].removeprefix("≤ ")) >= float(line["Latency P90, linear (ms)"])


def test_a_noisy_cell_is_marked_and_its_reasons_stand_below_once(run):
    page = hardware(frame([run]))

    assert [line["Model"] for line in cells(page) if "≈" in line.get("Model", "")] == [
        "Vision Model, vit_b_32_random, fp32 † ≈"
    ]
    assert page.count("- vit_b_32_random, onnxruntime-cpu, fp32: only 20 rounds; ") == 1
    assert "others took 1.6 cores" in page
    assert "others took" not in terminal(frame([run]))
    assert "≈ not stable" in terminal(frame([run]))


def test_an_interval_stands_beside_a_speedup_from_interleaved_blocks(run):
    lines = [line for line in cells(full(frame([run]))) if "Speed-up" in line]
    told = {(line["Target"], line["Precision"]): line["Speed-up"] for line in reversed(lines)}

    assert re.fullmatch(r"1\.5\dx \(1\.\d\d.1\.\d\d\), paired", told["onnxruntime-cpu", "fp32"])
    assert told["onnxruntime-cpu", "int8_dynamic"].endswith("x, two windows")
    assert told["torch-cpu", "fp32"] == "1.00x"


def test_the_known_ratio_is_told_beside_every_other_and_counted(run):
    page = ratios.table(frame([run]))

    (line,) = cells(page)
    assert line["Verdict"] == "faster"
    assert line["Null (truth 1)"].startswith("1.00 (")
    assert "0 of 1 null intervals exclude 1 (0 %; 5 % is what it should be)." in page


def test_a_known_ratio_that_strays_and_a_cache_are_told(run):
    blocks = record(run, PLAIN).paired
    odd = replace(
        blocks,
        again_s=tuple(1.2 * second for second in blocks.reference_s),
        repeated_s=tuple(second / 3 for second in blocks.own_s),
    )

    page = ratios.table(frame([changed(run, PLAIN, paired=odd)]))

    assert cells(page)[0]["Verdict"] == "faster; the null strays, too; caches repeated inputs"
    assert "1 of 1 null intervals exclude 1 (100 %" in page


def test_the_inference_table_has_the_mean_the_deviation_and_the_difference(run):
    slow = Timing(rounds_s=(1.0, 3.0), warmups=0, batch=1)
    rows = cells(inference.table(frame([changed(run, PLAIN, timing=slow)])))

    own = next(row for row in rows if row["Models"] == "shapes_tiny, onnxruntime-cpu, fp32")
    assert own["Time cost"] == "2000.00 ms ± 1414.21 ms"
    assert float(own["Difference"]) == pytest.approx(2 * (1 - float(own["Cosine"])), abs=1e-4)
    assert inference.cost([7.633, 7.887]) == "7.76 ms ± 180 µs"
    assert inference.cost([7.76]) == "7.76 ms"


def test_without_a_difference_there_is_no_inference_table(run):
    entries = [
        replace(entry, record=replace(entry.record, quality=None)) if entry.record.quality else entry
        for entry in run.entries
    ]
    assert inference.table(frame([replace(run, entries=tuple(entries))])) == ""


def test_a_profile_has_the_cells_under_load_and_those_of_one_request_beside(run):
    lines = cells(profiles(frame([run])))

    assert [(line["Target"], line["Instances"], line["Queue size"], line["Batch size"]) for line in lines] == [
        (target, *load)
        for target in ("onnxruntime-cpu", "torch-cpu")
        for load in (("1", "0", "1"), ("1", "0", "8"), ("2", "1", "1"))
    ]


def test_a_profile_counts_whole_microseconds_and_only_proven_percentiles(run):
    page = profiles(frame([rounds(run, LOADED, 150)]), percentiles=(50, 95, 99.9))

    told = next(line for line in cells(page) if line["Queue size"] == "1")
    assert told["Avg (µs)"].isdigit()
    assert told["P50 (µs)"].removeprefix("≤ ").isdigit()
    assert told["P95, linear (µs)"].isdigit()
    assert told["P99.9 (µs)"] == "n/a (n=150, needs 6636)"
    assert "P99.9, linear (µs)" not in told
    assert "P90 (µs)" not in told


def test_without_a_load_there_is_no_profile(run):
    entries = tuple(entry for entry in run.entries if "throughput" not in entry.case)

    assert profiles(frame([replace(run, entries=entries)])) == ""


def test_copies_inside_the_clock_are_a_column_and_other_steps_another_table(run):
    told = record(run, LOADED)
    copied = replace(told.boundary, inputs="fresh", inside_clock=("copy of the inputs", *told.boundary.inside_clock))
    other = replace(told.boundary, inside_clock=("tokenization",))

    pages = [profiles(frame([changed(run, LOADED, boundary=each)])) for each in (copied, other)]

    assert [page.count("### ") for page in pages] == [1, 2]
    assert "fresh" in {line["Inputs"] for line in cells(pages[0])}


def test_batches_stand_side_by_side(run):
    lines = cells(batches.table(frame([run])))

    assert [line["Target"] for line in lines] == ["torch-cpu", "onnxruntime-cpu"]
    for line in lines:
        assert float(line["Batch 8 (samples/s)"]) == pytest.approx(8e3 / float(line["Batch 8 (ms)"]), rel=0.02)


def test_a_batch_of_another_run_stands_with_the_others_and_of_another_machine_does_not(run):
    single = replace(run, entries=tuple(entry for entry in run.entries if "batch8" not in entry.case))
    other = replace(run, name="other", entries=tuple(entry for entry in run.entries if "batch8" in entry.case))

    strange = replace(other, machine={**run.machine, "name": "another"})

    assert len(cells(batches.table(frame([single, other])))) == 2
    assert batches.table(frame([single, strange])) == ""


def test_the_roofline_is_work_over_time_below_the_ceiling_of_the_precision(run):
    page = rooflines.table(frame([run]))

    line = next(line for line in cells(page) if line.get("Target") == "onnxruntime-cpu")
    assert float(line["Reached (GFLOP/s)"]) == pytest.approx(114e6 / row(run, PLAIN)["p50_ms"] / 1e6, rel=0.01)
    assert float(line["Of bound (%)"]) == pytest.approx(100 * float(line["Reached (GFLOP/s)"]) / 250, rel=0.01)
    assert (line["Bound"], line["Verdict"]) == ("compute", "plausible")
    assert page.count("others took 0.4 cores") == 1
    nncf = next(line for line in cells(page) if line.get("Precision") == "int8_nncf")
    assert nncf["Verdict"] == "no ceiling of this device and precision"


def test_without_ceilings_the_roofline_says_how_to_have_them(run):
    bare = replace(run, machine={name: told for name, told in run.machine.items() if name != "ceilings"})

    page = rooflines.table(frame([bare]))

    assert "No ceilings in run: measure them with --roofline." in page
    assert "Verdict" not in page
    assert "Reached (GFLOP/s)" in page


def test_what_is_faster_than_the_roof_is_impossible(run):
    timing = Timing(rounds_s=(1e-6,) * 64, warmups=1, batch=1)

    assert row(changed(run, PLAIN, timing=timing), PLAIN)["verdict"] == "impossible"


def test_the_memory_of_the_host_bounds_its_processor_alone(run):
    found = roofs.read(run.machine)
    cards = tuple(replace(each, device="gpu") for each in found.arithmetic)

    both = replace(found, arithmetic=(*found.arithmetic, *cards))

    assert both.of("cpu", "fp32").bytes_s == 20e9
    assert both.of("gpu", "fp32").bytes_s == float("inf")
    assert both.of("gpu", "bf16") is None


@pytest.mark.parametrize("told", [[], {}, {"arithmetic": 1}, "x"], ids=["list", "empty", "number", "word"])
def test_ceilings_that_do_not_fit_are_told_in_one_line(run, told):
    with pytest.raises(UsageError, match="ceilings") as refused:
        frame([replace(run, machine=run.machine | {"ceilings": told})])

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        *(("program", "Export"), ("onnx", "Export"), ("ir", "Convert"), ("int8_dynamic", "Quantize")),
        *(("qnn_a16w8", "Quantize"), ("load", "Load"), ("first", "First call"), ("something new", "Convert")),
    ],
    ids=list("abcdefgh"),
)
def test_a_step_has_a_word(step, word):
    assert cold.word(step) == word


def test_the_ledger_has_each_step_with_its_memory(run):
    lines = [line for line in cells(cold.table(frame([run]))) if line["Precision"] == "int8_dynamic"]

    line = lines[0]
    assert (line["Export (s)"], line["Quantize (s)"], line["Load (s)"]) == ("2.50 (52)", "1.00 (52)", "0.210 (18)")
    assert line["Steady after"] == "1"


def test_eight_bits_are_told_with_what_they_save_and_what_they_cost(run):
    found = {line["Precision"]: line for line in reversed(cells(savings.table(frame([run]))))}

    line = found["int8_dynamic"]
    assert (line["Size (MB)"], line["Size in fp32 (MB)"], line["Smaller than fp32"]) == ("0.50", "2.00", "4.00x")
    assert (line["Faster than fp32"], line["Mean similarity"]) == ("1.63x", "0.9981")
    assert found["int8_qdq §"]["Smaller than fp32"] == "4.00x"  # it failed its gate: a size, and no time
    assert found["int8_qdq §"].get("Faster than fp32", "-") == "-"
    assert "fp32" not in found


def test_nothing_is_smaller_than_a_float_model_of_another_run_or_call(run):
    several = [entry for entry in run.entries if entry.case == PLAIN.replace("fp32", "int8_dynamic")]
    others = [entry for entry in run.entries if entry.case == PLAIN]
    apart = [replace(run, entries=tuple(several)), replace(run, name="another", entries=tuple(others))]

    assert savings.table(frame([replace(run, entries=(*several, *others))]))
    assert not savings.table(frame(apart))


def test_a_vendors_table_has_its_columns_in_their_order_and_each_platform_its_own(run):
    page = vendors.table(frame([run]))

    found = {line["Model"]: line for line in cells(page)}
    assert list(found["Vision Model, shapes_tiny, int8_dynamic"]) == [
        *("Model", "Activation Type", "Weight Type", "Size", "Latency ms (avg)", "Throughput (samples/sec)"),
        *("Accuracy (%)", "Mean Similarity"),
    ]
    emulated = found["Vision Model, shapes_tiny, a16w8 ‡"]
    assert (emulated["Activation Type"], emulated["Weight Type"]) == ("QUInt16", "QUInt8")
    assert emulated["Latency ms (avg)"] == "-"
    assert "‡ not hardware" in page
    assert "#### Qualcomm NPU, emulated, ONNX Runtime QNN" in page
    assert not any("fp32" in model for model in found)


def test_the_types_of_a_recipe_are_those_that_it_is_built_with():
    recipes = {"onnxruntime-cpu": onnx_file, "onnxruntime-qnn-npu": qnn, "onnxruntime-vitisai-npu": vitisai}

    for target, module in recipes.items():
        for each, recipe in module.STATIC.items():
            assert vendors.types(target, each) == (recipe.activations, recipe.weights), (target, each)
    assert set(vendors.TYPES) == {str(each) for each in Precision} - {Precision.FP32}


def test_calls_that_never_were_steady_are_told(run):
    told = [line["Steady after"] for line in cells(cold.table(frame([run])))]

    assert told.count("not reached") == 1


def test_joules_are_for_a_thousand_embeddings_or_have_a_reason_once(run):
    silent = Energy(joules=None, source="n/a: no counter")
    timing = record(run, PLAIN).timing
    page = surroundings.table(frame([changed(run, PLAIN, timing=replace(timing, energy=silent))]))

    told = {(line["Target"], line["Precision"]): line["J per 1000 embeddings"] for line in reversed(cells(page))}
    assert float(told["torch-cpu", "fp32"]) > 0
    assert "n/a" in {line["J per 1000 embeddings"] for line in cells(page)}
    assert page.count("no counter") == 1


def test_conditions_that_nobody_told_are_no_column(run):
    kept = [
        replace(
            entry,
            record=replace(
                entry.record,
                timing=entry.record.timing
                and replace(entry.record.timing, energy=None, conditions=Conditions(window_s=1.0, others=0.2)),
            ),
        )
        for entry in run.entries
    ]

    (heads, *_) = {tuple(line) for line in cells(surroundings.table(frame([replace(run, entries=tuple(kept))])))}

    assert heads == ("Model", "Target", "Precision", "Others (cores)")


@pytest.mark.parametrize(
    "table",
    [
        profiles,
        ratios.table,
        batches.table,
        rooflines.table,
        cold.table,
        surroundings.table,
        savings.table,
        vendors.table,
    ],
    ids=list("stuvwxyz"),
)
@pytest.mark.parametrize(
    "lacking", ["boundary", "artifact", "executed", "cold", "quality", "timing", "work"], ids=list("abcdefg")
)
def test_a_record_without_a_part_breaks_no_table(run, table, lacking):
    entries = [replace(entry, record=replace(entry.record, **{lacking: None})) for entry in run.entries]

    assert isinstance(table(frame([replace(run, entries=tuple(entries))])), str)


@pytest.mark.parametrize(
    "table", [hardware, full, rooflines.table, cold.table, surroundings.table, ratios.table], ids=list("uvwxyz")
)
@pytest.mark.parametrize(
    "changes",
    [{"load": "throughput"}, {"instances": 3}, {"device_ids": (1,)}, {"queue": 4}, {"inputs": "fresh"}],
    ids=["load", "instances", "devices", "queue", "copies"],
)
def test_unlike_loads_share_no_table(run, table, changes):
    boundary = record(run, PLAIN).boundary
    alone = replace(run, entries=tuple(entry for entry in run.entries if entry.case == PLAIN))
    other = changed(alone, PLAIN, boundary=dataclasses.replace(boundary, **changes))

    both = table(frame([replace(alone, entries=(*alone.entries, *other.entries))]))

    count = len(re.findall(r"^### (?!Ceilings)", both, re.MULTILINE))
    assert count == 2 * len(re.findall(r"^### (?!Ceilings)", table(frame([alone])), re.MULTILINE)) > 0


def test_a_precision_that_no_runtime_has_is_told_with_the_ceilings(run):
    line = next(line for line in cells(rooflines.table(frame([run]))) if line.get("At") == "bf16")

    assert (line["Reached"], line["By"]) == ("-", "no runtime has it")


def test_what_the_machine_stores_is_what_a_page_reads():
    stored = Ceilings(
        arithmetic=(
            Ceiling(device=Device.CPU, precision=Precision.BF16, flops_s=1e12, by="torch-cpu", shape="a square"),
        ),
        absent=(Absent(device=Device.CPU, precision=Precision.FP16, reason="no runtime has it"),),
        memory=Bandwidth(read_bytes_s=1e10, buffer_bytes=2**28, cache_bytes=None, threads=2, note="odd"),
        conditions=Conditions(window_s=1.0, others=0.05, mhz=(1e3, 2e3)),
    )

    found = roofs.read({"ceilings": json.loads(json.dumps(dataclasses.asdict(stored)))})

    assert found.of("cpu", "bf16").flops_s == 1e12
    assert (found.memory.note, found.others) == ("odd", 0.0)
    assert found.absent[0].reason == "no runtime has it"
