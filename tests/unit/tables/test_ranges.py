"""The page on calibration: every method and number of rows beside what it leaves, and no study on another page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench import finding, record, runfile
from clip_bench.report import calibration, write

GOLDEN = Path(__file__).parent / "golden" / "run.json"
CHOSEN = ("entropy_100", "minmax_100", "minmax_12", "percentile_200")


@pytest.fixture
def place(tmp_path):
    """Put a run of the golden machine into the reports folder: its cells, those that were chosen, or both."""

    def put(stem, day, *, whole, chosen=CHOSEN, mean=0.8):
        data = json.loads(GOLDEN.read_text(encoding="utf-8"))
        entries = record.from_json(data["outcomes"])
        (cell,) = [entry for entry in entries if entry.case == "image-shapes_tiny-onnxruntime-cpu-int8_qdq"]
        (alike,) = cell.record.quality.similarity
        quality = replace(cell.record.quality, similarity=(replace(alike, mean=mean),))
        cells = [
            replace(
                cell,
                case=f"{cell.case}-{word}",
                record=replace(cell.record, case=f"{cell.case}-{word}", variant=word, quality=quality),
            )
            for word in chosen
        ]
        data["outcomes"] = record.to_json([*(entries if whole else ()), *cells])
        data["datetime"] = f"{day}T00:00:00+00:00"
        path = tmp_path / "example" / f"{stem}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return put


def pages(folder):
    return {
        page.relative_to(folder).as_posix(): page.read_text(encoding="utf-8")
        for page in write([folder], folder)
        if page.suffix == ".md"
    }


def test_methods_stand_in_order_and_rows_by_number(place, tmp_path):
    place("study", "2025-03-01", whole=False)

    page = pages(tmp_path)["calibration.md"]

    told = [line.split("|")[1:3] for line in page.splitlines() if "gate failed" in line]
    assert [(method.strip(), int(rows)) for method, rows in told] == [
        ("minmax", 12),
        ("minmax", 100),
        ("percentile", 200),
        ("entropy", 100),
    ]
    assert "From [study.json](example/study.json) (2025-03-01, witness `" in page
    assert "The FP32 reference: top-1 95.5 %" in page


def test_a_study_is_on_no_page_of_a_machine(place, tmp_path):
    place("whole", "2025-02-01", whole=True, chosen=())
    alone = pages(tmp_path)
    place("study", "2025-03-01", whole=False)

    found = pages(tmp_path)

    assert set(found) == {*alone, "calibration.md"}
    assert found["example/README.md"] == alone["example/README.md"]
    assert "[calibration.md](calibration.md)" in found["README.md"]


def test_a_machine_with_a_study_and_a_finding_alone_has_a_page_for_the_finding(place, tmp_path):
    study = place("study", "2025-03-01", whole=False)
    machine = json.loads(study.read_text(encoding="utf-8"))["machine_info"]["clip_bench"]
    told = finding.Retrieval(data="photographs", cases=())
    study.with_name("retrieval.json").write_text(finding.to_json(told, machine), encoding="utf-8")

    found = pages(tmp_path)

    assert "photographs" in found["example/README.md"]
    assert "study.json" not in found["example/README.md"]
    assert "[calibration.md](calibration.md)" in found["README.md"]


def test_the_newest_result_of_a_cell_is_shown_once_and_a_run_of_all_kinds_is_on_both_pages(place, tmp_path):
    place("study", "2025-02-01", whole=False, mean=0.8)
    place("both", "2025-03-01", whole=True, chosen=CHOSEN[:1], mean=0.7)

    found = pages(tmp_path)

    told = [line for line in found["calibration.md"].splitlines() if "gate failed" in line]
    assert len(told) == len(CHOSEN)
    assert [("entropy" in line, "0.70000" in line) for line in told] == [(False, False)] * 3 + [(True, True)]
    assert "int8_qdq entropy_100" in found["example/README.md"]


def test_a_run_is_a_study_if_all_its_cells_are_and_it_has_any(place):
    runs = [
        runfile.read(place("study", "2025-02-01", whole=False)),
        runfile.read(place("both", "2025-03-01", whole=True)),
        runfile.read(place("none", "2025-03-01", whole=False, chosen=())),
    ]

    assert [calibration.study(run) for run in runs] == [True, False, False]
    assert [calibration.concerned(run) for run in runs] == [True, True, False]
