"""A machine's page: its sections in order, its plots beside it, and older runs that tell less."""

import json
import re
from pathlib import Path

import pytest

from clip_bench.report import write

GOLDEN = Path(__file__).parent / "golden" / "run.json"
SECTIONS = [
    *("Hardware Test Results", "Accuracy against latency", "Evaluation result", "Distance from the reference"),
    *("Inference", "Profiles", "Paired speed-ups", "Batches", "Roofline", "Cold path"),
    "Compare file size and inference time",
    *("Conditions and energy", "In full", "Cells without a time", "Provenance"),
]
NEW = {
    "boundary": {"load", "instances", "device_ids", "queue", "inputs"},
    "cold": {"steps", "calls_s", "steady"},
    "quality": {"compared", "answered"},
    "timing": {"window_s", "conditions", "energy"},
    "executed": {"asked", "device", "first_output", "last_output"},
}


@pytest.fixture
def pages(tmp_path):
    """Write the page of a run, and of no other: its text and the names of the plots beside it."""

    def made(data):
        path = tmp_path / "run.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        written = write([path], tmp_path / "out")
        plots = [each.name for each in written if each.suffix == ".svg"]
        here = sorted(each.name for each in (tmp_path / "out" / "example").glob("*.svg"))
        assert sorted(plots) == here
        return written[0].read_text(encoding="utf-8"), plots

    return made


@pytest.fixture
def run():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def keep(run, *words):
    """*run* with the cells alone that have one of *words*."""
    return run | {"outcomes": [each for each in run["outcomes"] if any(word in each["case"] for word in words)]}


def aged(run, schema):
    """*run* as an older version wrote it: without what came later, and without cells that it did not have."""
    outcomes = [each for each in run["outcomes"] if not re.search("batch|throughput", each["case"])]
    for each in outcomes:
        record = each["record"]
        for output in (record["quality"] or {}).get("similarity", ()):
            output.pop("difference", None)
        for part, names in NEW.items():
            if record[part]:
                record[part] = {name: told for name, told in record[part].items() if name not in names}
        each["record"] = {name: told for name, told in record.items() if name not in {"paired", "work"}} | {
            "schema": schema
        }
    del run["machine_info"]["clip_bench"]["ceilings"]
    return run | {"outcomes": outcomes}


def test_the_sections_stand_in_their_order(pages, run):
    text, _ = pages(run)

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS


def test_every_plot_is_linked_from_the_page(pages, run):
    text, plots = pages(run)

    assert set(re.findall(r"\]\((.*?\.svg)\)", text)) == set(plots)
    assert {name.split("-")[0] for name in plots} == {
        "front",
        "latency",
        "batches",
        "roofline",
        "start",
        "size",
        "drift",
    }


def test_a_plot_that_a_page_no_longer_has_is_removed_and_a_stranger_stays(pages, run, tmp_path):
    _, before = pages(run)
    stranger = tmp_path / "out" / "example" / "logo.svg"
    stranger.write_text("<svg/>", encoding="utf-8")
    path = tmp_path / "run.json"
    path.write_text(json.dumps(keep(run, "vit_b_32_random")), encoding="utf-8")

    written = write([path], tmp_path / "out")

    plots = {each.name for each in written if each.suffix == ".svg"}
    assert plots < set(before)
    assert {each.name for each in stranger.parent.glob("*.svg")} == plots | {"logo.svg"}


def test_what_was_never_timed_has_no_plot_of_times(pages, run):
    _, plots = pages(keep(run, "emulated", "gate", "crashed"))

    assert {name.split("-")[0] for name in plots} <= {"size", "drift"}


def test_records_that_tell_more_have_more_sections(pages, run):
    """The samples of each cell, where its nodes ran, and what it does under several loads."""
    cells = keep(run, "image-shapes_tiny-torch-cpu-fp32")["outcomes"]
    plain = next(each for each in cells if each["case"] == "image-shapes_tiny-torch-cpu-fp32")
    record = plain["record"]
    record["quality"]["compared"] = [
        {
            "output": "embeds",
            "drift": "1e-9 2e-9",
            "identified": "1 1",
            "difference": "0 0",
            "floor": {"again": "0 1e-14"},
        }
    ]
    record["executed"] |= {"asked": "cpu", "nodes": {"cpu": 3}, "dtypes": {"float32": 3}}
    loaded = json.loads(json.dumps(plain).replace(plain["case"], f"{plain['case']}-throughput-queue1"))
    loaded["record"]["variant"] = "throughput-queue1"
    loaded["record"]["boundary"] |= {"load": "throughput", "queue": 1}
    loaded["record"]["timing"]["window_s"] = 1.0

    written, plots = pages(run | {"outcomes": [plain, loaded]})

    assert {"drift", "placement", "queue"} <= {name.split("-")[0] for name in plots}
    assert "## Distance from the reference\n" in written
    assert "## Requests at once\n" in written
    assert "## Placement\n" in written


def test_more_cells_than_a_plot_can_tell_make_several(pages, run):
    (cell,) = [each for each in run["outcomes"] if each["case"] == "image-shapes_tiny-torch-cpu-fp32"]
    many = [
        cell | {"case": f"{cell['case']}-{word}", "record": cell["record"] | {"case": word, "variant": word}}
        for word in "abcdefghij"
    ]

    _, plots = pages(run | {"outcomes": many})

    assert [name for name in plots if "latency" in name] == [
        "latency-shapes_tiny-image.svg",
        "latency-shapes_tiny-image-2.svg",
    ]


@pytest.mark.parametrize("schema", [1, 2], ids=["first", "second"])
def test_a_record_of_an_older_schema_makes_the_sections_that_it_can(pages, run, schema):
    text, plots = pages(aged(run, schema))

    assert [title for title in SECTIONS if f"\n## {title}\n" in text] == [
        *(
            "Hardware Test Results",
            "Accuracy against latency",
            "Evaluation result",
            "Cold path",
            "Compare file size and inference time",
            "In full",
            "Cells without a time",
            "Provenance",
        )
    ]
    assert not re.search(r"\bnan\b", text.lower())
    assert all(name.startswith(("latency", "front", "size")) for name in plots)


def test_models_that_were_scored_on_the_same_data_share_a_front(pages, run):
    scores = next(each["record"]["quality"]["scores"] for each in run["outcomes"] if each["record"]["quality"])
    twins = [each for each in run["outcomes"] if "vit_b_32" in each["case"] and each["record"]["quality"]]
    for each in twins:
        each["record"]["weights"] = "hub"
        each["record"]["quality"]["scores"] = scores

    _, together = pages(run)
    for each in twins:
        each["record"]["boundary"]["data_sha256"] = "0" * 64
    _, apart = pages(run)

    assert "front-2_models-image.svg" in together
    assert {"front-shapes_tiny-image.svg", "front-vit_b_32_random-image.svg"}.isdisjoint(together)
    assert {"front-shapes_tiny-image.svg", "front-vit_b_32_random-image.svg"} < set(apart)


def test_one_cell_alone_has_no_front(pages, run):
    _, plots = pages(keep(run, "image-shapes_tiny-torch-cpu-fp32-batch8"))

    assert "front" not in {name.split("-")[0] for name in plots}
    assert {"latency", "roofline"} < {name.split("-")[0] for name in plots}


def test_an_impossible_time_is_on_no_front(pages, run, tmp_path):
    def drawn():
        return (tmp_path / "out" / "example" / "front-vit_b_32_random-image.svg").exists()

    pages(run)
    before = drawn()
    (fast,) = [each for each in run["outcomes"] if each["case"] == "image-vit_b_32_random-onnxruntime-cpu-fp32"]
    fast["record"]["timing"]["rounds_s"] = [1e-7] * 64
    pages(run)

    assert (before, drawn()) == (True, False)
