"""What pictures of a graph show: its file, where and in which types it ran, and what came before; each from the record."""

from xml.etree import ElementTree as ET

import pytest

from clip_bench.memory import Step
from clip_bench.record import ArtifactFacts, Cold, Executed, Record
from clip_bench.report import placements, queues, sizes, starts

SVG = "{http://www.w3.org/2000/svg}"


def row(target="torch-cpu", precision="bf16", **parts):
    told = {"case": "a case", "tower": "", "model": "m", "variant": "", "weights": ""}
    record = Record(**told, target=target, precision=precision, **parts)
    size = record.artifact.size_bytes / 1e6 if record.artifact else float("nan")
    return {"target": target, "precision": precision, "bare": "", "device": "cpu", "size_mb": size, "record": record}


def file(target, precision, size, digest=""):
    facts = ArtifactFacts(size_bytes=size, sha256=digest or f"{target}{precision}", key="k")
    return row(target, precision, artifact=facts)


def ran(nodes, dtypes=None, asked="NPU"):
    return row(executed=Executed(nodes=nodes, dtypes=dtypes or {}, note="", asked=asked))


def began(*steps, calls_s=(), steady=None):
    told = tuple(Step(name=name, seconds=seconds, peak_bytes=None) for name, seconds in steps)
    return row(
        cold=Cold(build_s=0, load_s=0, first_s=None, peak_bytes=None, steps=told, calls_s=calls_s, steady=steady)
    )


def load(queue, instances=1, kind="throughput", target="torch-cpu", **other):
    call = {"batch": 1, "texts": 0, "inside_clock": "inference", "threads": 2, "device_ids": "0", "inputs": "cached"}
    told = {"model": "m", "tower": "image", "target": target, "precision": "fp32", "bare": "", "fed": "", **call}
    figures = {"p50_ms": 2.0 * (queue + 1), "throughput_avg": 500.0}
    return told | {"load": kind, "instances": instances, "queue": queue} | figures | other


def told(svg):
    return [each.text for each in ET.fromstring(svg).iter(f"{SVG}text") if each.text]  # noqa: S314  our own


def test_the_largest_file_stands_first_with_its_share_of_the_whole_precision():
    rows = [file("torch-cpu", "bf16", 2_000_000), file("torch-cpu", "fp32", 4_000_000)]

    (svg,) = sizes.pictures("A model", rows)

    words = told(svg)
    assert words.index("fp32: torch-cpu") < words.index("bf16: torch-cpu")
    assert {"4.00 MB", "2.00 MB, 50% of fp32"} <= set(words)


def test_one_file_of_several_cells_is_one_bar():
    rows = [file("a-cpu", "fp32", 9, "same"), file("b-cpu", "fp32", 9, "same"), file("a-cpu", "bf16", 5)]

    assert "fp32: a-cpu, b-cpu" in told(sizes.pictures("A model", rows)[0])


def test_a_file_without_its_own_whole_precision_has_no_share():
    rows = [file("a-cpu", "fp32", 9_000_000), file("b-cpu", "bf16", 5_000_000)]

    assert "5.00 MB" in told(sizes.pictures("A model", rows)[0])


@pytest.mark.parametrize("size", [0, -5], ids=["empty", "negative"])
def test_a_file_of_no_size_is_left_out(size):
    assert sizes.pictures("A model", [file("a-cpu", "fp32", 9), file("b-cpu", "fp32", size)]) == []


def test_nodes_elsewhere_are_told_with_their_place():
    (svg,) = placements.pictures("A model", [ran({"NPU": 40, "CPU": 5}, {"f32": 5, "int8": 40})])

    assert {"5 on CPU", placements.MEANT, placements.ELSEWHERE, placements.NARROW, "float32"} <= set(told(svg))


def test_what_no_node_did_is_not_in_the_legend():
    words = told(placements.pictures("A model", [ran({"NPU": 40})])[0])

    assert placements.ELSEWHERE not in words
    assert "40 nodes" in words


def test_what_only_another_cell_tells_is_said_and_what_none_tells_has_no_column():
    untold, typed = ran({"NPU": 40}), ran({"NPU": 40}, {"f32": 40})

    alone, both = (placements.pictures("A model", several)[0] for several in ([untold], [untold, typed]))

    assert placements.UNTOLD not in told(alone)
    assert told(both).count(placements.UNTOLD) == 1
    assert placements.COLUMNS[1] in told(both)
    assert placements.COLUMNS[2] not in told(both)


def test_time_elsewhere_is_told_apart_from_time_by_type():
    timed = {"NPU": {"f32": 1.0, "": 3.0}, "CPU": {"f32": 4.0}}
    executed = Executed(nodes={"NPU": 1}, dtypes={}, note="", asked="NPU", first_call_s=timed)

    seconds = {name: taken for name, taken in placements._time(executed).items() if taken}

    assert seconds == {placements.MEANT: 3.0, "float32": 1.0, placements.ELSEWHERE: 4.0}
    assert placements.COLUMNS[2] in told(placements.pictures("A model", [row(executed=executed)])[0])


def test_each_runtimes_words_for_a_type_are_one_colour():
    several = [ran({"NPU": 1}, {name: 1}) for name in ("float", "f32", "float32")]

    words = told(placements.pictures("A model", several)[0])

    assert words.count("float32") == 1
    assert placements.OTHER not in words


def test_a_record_that_does_not_tell_which_place_was_meant_has_no_bar():
    assert placements.pictures("A model", [ran({"NPU": 40}, asked=""), row()]) == []


def test_shares_of_nodes_are_shares_of_all():
    assert placements._shares({"one": 3, "two": 1, "none": 0}) == {"one": 75.0, "two": 25.0}


def test_steps_stand_apart_by_whether_they_come_again():
    cell = began(("import", 1.0), ("program", 2.0), ("int8_qdq", 3.0), ("load", 0.5), ("first", 0.25))

    words = told(starts.pictures("A model", [cell])[0])

    assert {"5 s", "1.8 s", "Import", "Export", "Quantize", "Load", "First call"} <= set(words)
    assert "Convert" not in words


@pytest.mark.parametrize(
    ("steady", "words"),
    [(2, "2 s, steady after 2"), (0, "1 s, steady after 0"), (None, "1 s, not steady")],
    ids=["after_two", "at_once", "never"],
)
def test_calls_until_steady_are_those_after_the_first(steady, words):
    cell = began(("load", 1.0), calls_s=(5.0, 1.0, 0.1, 0.1), steady=steady)

    assert words in told(starts.pictures("A model", [cell])[0])


def test_a_record_without_steps_has_no_bar():
    assert starts.pictures("A model", [began(), row()]) == []


def test_a_simulator_has_no_start_of_its_own():
    assert starts.pictures("A model", [began(("load", 1.0)) | {"device": "emulated"}]) == []


def test_requests_under_way_are_those_of_all_instances():
    (one, two) = queues.loads([load(0), load(3), load(0, 2), load(1, 2)])

    assert [way for way, *_ in one.points] == [1, 4]
    assert [way for way, *_ in two.points] == [2, 4]
    assert two.label.endswith(", 2 instances")
    assert one.points[1] == (4, pytest.approx(0.008), 500.0)


def test_one_call_at_a_time_is_the_first_point_unless_a_load_is():
    alone = load(0, kind="latency", throughput_avg=1.0)

    (without,) = queues.loads([load(1), alone])
    (with_it,) = queues.loads([load(0), alone, load(1)])

    assert without.points[0][2] == 1.0
    assert with_it.points[0][2] == 500.0


def test_a_cell_at_one_load_alone_is_no_curve():
    assert queues.loads([load(1), load(1, 2)]) == []
    assert queues.families([load(1)]) == []


def test_other_threads_are_another_family():
    assert len(queues.families([load(0), load(1), load(0, threads=4), load(1, threads=4)])) == 2
