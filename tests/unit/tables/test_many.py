"""Of many machines the overview names the best cell of each kind of device, whether they come from files or an archive."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from clip_bench import witness
from clip_bench.__main__ import main
from clip_bench.report import appending, frame, overview
from clip_bench.report.best import Bounds, choose
from clip_bench.runfile import read

GOLDEN = Path(__file__).parent / "golden" / "run.json"


def made(folder, name, *, factor=1.0, threads=4, day=2, cpu="", target=""):
    """The golden run on the machine *name*: its rounds longer by *factor*, OpenVINO's cells on *target*."""
    stored = GOLDEN.read_text(encoding="utf-8").replace('"threads": 4', f'"threads": {threads}')
    data = json.loads(stored.replace("openvino-cpu", target) if target else stored)
    data["machine_info"]["clip_bench"] |= {"name": name} | ({"cpu": cpu} if cpu else {})
    for entry in data["outcomes"]:
        if timing := entry["record"]["timing"]:
            timing["rounds_s"] = [factor * each for each in timing["rounds_s"]]
    data |= {"datetime": f"2025-01-0{day}T03:04:05+00:00", "benchmarks": []}
    witness.seal(data)
    path = folder / name / f"day{day}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path):
    """Three machines: one quicker, on an NPU, one measured twice and slower the second time."""
    folder = tmp_path / "runs"
    made(folder, "quick_8c", factor=0.5, threads=8, target="openvino-npu")
    made(folder, "even_4c")
    made(folder, "slow_16c", factor=0.1, threads=16)
    made(folder, "slow_16c", factor=3.0, threads=16, day=3)
    return folder


@pytest.fixture
def archived(runs, tmp_path):
    list(appending.append(tmp_path / "archive", [runs], appending.Tally()))
    return tmp_path / "archive"


def pages(tmp_path, source):
    out = tmp_path / "out"
    assert main(["report", str(source), "-o", str(out)]) == 0
    return [(out / name).read_text(encoding="utf-8") for name in ("README.md", "index.html")]


def lines(page, model, device):
    """The cells of the lines of *model* on *device*, of all tables."""
    told = (line.strip("|").split("|") for line in page.splitlines() if line.startswith("|"))
    return [cells for cells in ([cell.strip() for cell in each] for each in told) if cells[:2] == [model, device]]


def test_the_overview_names_the_best_cell_of_each_device_and_how_machines_lie(archived, tmp_path, capsys):
    page, _ = pages(tmp_path, archived)
    capsys.readouterr()

    first, *_ = lines(page, "shapes_tiny", "NPU")
    assert first[2:4] == ["openvino-npu int8_nncf", "quick_8c"]
    assert (first[5:8], first[9]) == (["0.714"] * 3, "1")
    first, *_ = lines(page, "shapes_tiny", "CPU")
    assert first[2:4] == ["onnxruntime-cpu int8_dynamic", "quick_8c"]
    assert (first[5:8], first[9]) == (["0.905", "1.43", "4.28"], "3")
    assert "3 machines with 77 cells, the newest measurement of each" in page
    assert "An archive of 4 run files." in page


def test_the_best_of_a_machine_is_what_is_named_to_deploy(runs):
    told = overview.Overview()
    table = frame([read(runs / "even_4c" / "day2.json")])

    told.take(table.to_dict("records"))

    chosen = {choice.told[0].row["case"] for choice in choose(table, "latency", Bounds()).choices if choice.told}
    assert {row["case"] for row in told.best.values()} == chosen


def test_only_cells_that_may_be_deployed_are_best(runs):
    table = frame([read(runs / "even_4c" / "day2.json")])
    told = overview.Overview()

    told.take(table.to_dict("records"))

    assert {row["outcome"] for row in told.rows} == {"ok"}
    assert not {row["device"] for row in told.rows} & {"emulated", "numerics"}
    assert not {row["backend"] for row in told.rows} & {"null"}
    assert sum(told.outcomes.values()) == told.machines["even_4c"] == len(table)


def test_machines_of_other_threads_stand_in_one_table(archived, tmp_path, capsys):
    page, _ = pages(tmp_path, archived)
    capsys.readouterr()

    assert page.count("### Vision Model\n") == 1
    assert "on 4 to 16 threads, as each machine ran it" in page


def test_the_page_has_a_row_for_the_best_of_each_machine_and_filters_by_device(archived, tmp_path, capsys):
    _, index = pages(tmp_path, archived)
    capsys.readouterr()
    block = json.loads(re.search(r'id="records">(.*?)</script>', index)[1])
    cells = [block["parts"][record["cell"]] for record in block["records"]]
    origin = [block["parts"][record["run"]] for record in block["records"]]

    assert len(cells) == len(re.findall(r"<tr data-record=", index))
    assert {(cell["machine"], cell["device"]) for cell in cells if cell["tower"] == "image"} == {
        ("quick_8c", "cpu"),
        ("quick_8c", "npu"),
        ("even_4c", "cpu"),
        ("slow_16c", "cpu"),
    }
    assert {cell["run"] for cell in cells if cell["machine"] == "slow_16c"} == {"day3"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", told["sha256"]) for told in origin)
    assert {told["threads"] for told in origin} == {4, 8, 16}
    assert len(re.findall(r"<td>(?:quick_8c|even_4c|slow_16c)</td><td>", index)) == 3


def test_whatever_an_archive_holds_is_shown_and_never_run(tmp_path, capsys):
    words = '<script>alert("|x|")</script>'
    made(tmp_path / "runs", "even_4c", cpu=words)
    path = tmp_path / "runs" / "even_4c" / "day2.json"
    path.write_text(path.read_text(encoding="utf-8").replace("shapes_tiny", "<b>[a](b)|c"), encoding="utf-8")
    list(appending.append(tmp_path / "archive", [tmp_path / "runs"], appending.Tally()))

    page, index = pages(tmp_path, tmp_path / "archive")
    capsys.readouterr()

    assert "<script>alert" not in page + index
    assert "<b>[a]" not in page + index
    assert "<b>[a](b)|c" in unescape(index)


def test_many_machines_have_the_same_overview_from_their_files_and_it_is_verified(
    runs, archived, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(overview, "MANY", 2)
    of_archive, _ = pages(tmp_path, archived)
    assert main(["report", str(runs), "-o", str(runs)]) == 0

    of_runs = (runs / "README.md").read_text(encoding="utf-8")
    table = of_archive[of_archive.index(f"## {overview.TITLE}") :].strip()

    assert table in of_runs
    assert of_runs.count("## Hardware Test Results") == 0
    assert (runs / "quick_8c" / "README.md").exists()
    assert 'href="quick_8c/README.md"' in (runs / "index.html").read_text(encoding="utf-8")
    capsys.readouterr()
    main(["verify", str(runs)])
    told = capsys.readouterr().out
    assert "pages and pictures compared with what its runs make" in told
    assert not re.search(r"(README.md|index.html): ", told)


def test_an_archive_has_pages_of_its_own_alone(archived, runs, tmp_path, capsys):
    assert main(["report", str(archived), str(runs), "-o", str(tmp_path / "out")]) == 2
    assert "an archive is reported on alone" in capsys.readouterr().err


def test_the_same_archive_makes_the_same_bytes(archived, tmp_path, capsys):
    assert pages(tmp_path, archived) == pages(tmp_path, archived)
    capsys.readouterr()
