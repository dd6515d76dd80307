"""Pages: one per machine, the newest run on it, the same bytes each time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clip_bench.errors import UsageError
from clip_bench.report import write

GOLDEN = Path(__file__).parent / "golden" / "run.json"
RUNTIMES = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "open_clip")


@pytest.fixture
def place(tmp_path):
    """Put the golden run in the reports folder under another machine's name and day."""

    def put(name="example", day="2025-01-02", stem="run", **facts):
        data = json.loads(GOLDEN.read_text(encoding="utf-8"))
        data["machine_info"]["clip_bench"] |= {"name": name} | facts
        data["datetime"] = f"{day}T00:00:00+00:00"
        path = tmp_path / re.sub(r"\W", "_", name)[:40] / f"{stem}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return put


def test_each_machine_has_a_page_and_the_overview_links_it(place, tmp_path):
    place("one")
    place("two")

    pages = [path for path in write([tmp_path], tmp_path) if path.suffix == ".md"]

    names = ("one/README.md", "two/README.md", "README.md", "published.md")
    assert pages == [tmp_path / name for name in names]
    overview = pages[2].read_text(encoding="utf-8")
    assert "[one](one/README.md)" in overview
    assert "[two](two/README.md)" in overview


def only(path, *words):
    """Keep of a run the cells with all of *words*, in its record and among its times."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["outcomes"] = [entry for entry in data["outcomes"] if all(word in entry["case"] for word in words)]
    data["benchmarks"] = [row for row in data["benchmarks"] if all(word in row["param"] for word in words)]
    path.write_text(json.dumps(data), encoding="utf-8")


def provenance(page):
    """The rows of the table of runs."""
    lines = page.partition("## Provenance")[2].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| [")]


def test_a_run_of_some_cells_does_not_hide_an_older_one_of_others(place, tmp_path):
    place(day="2025-02-01", stem="whole")
    only(place(day="2025-03-01", stem="part"), "vit_b_32_random", "torch")

    page, overview = (path.read_text(encoding="utf-8") for path in write([tmp_path], tmp_path)[:2])

    shown = {row[0]: row[1:4] for row in provenance(page)}
    assert shown["[part.json](part.json)"] == ["2025-03-01", "1 ok, 1 skipped of 2 planned", "2"]
    assert shown["[whole.json](whole.json)"][2] == "24"
    assert page.count("| Vision Model, vit_b_32_random, fp32 † ") == 2
    assert "16 ok, 6 skipped, 1 unsupported, 1 gate failed, 1 crashed, 1 lost of 26 planned" in overview


def test_a_cell_that_was_only_skipped_does_not_hide_its_older_time(place, tmp_path):
    place(day="2025-02-01", stem="timed")
    later = place(day="2025-03-01", stem="skips")
    data = json.loads(later.read_text(encoding="utf-8"))
    for entry in data["outcomes"]:
        entry["outcome"], entry["record"]["timing"] = "skipped", None
    later.write_text(json.dumps(data | {"benchmarks": []}), encoding="utf-8")

    page = write([tmp_path], tmp_path)[0].read_text(encoding="utf-8")

    assert "| Vision Model, shapes_tiny, fp32 " in page


def test_the_newest_run_is_shown_and_older_ones_linked(place, tmp_path):
    place(day="2025-03-01", stem="a_new")
    place(day="2025-02-01", stem="b_old")

    page = write([tmp_path], tmp_path)[0].read_text(encoding="utf-8")

    (new, old) = provenance(page)
    assert (new[0], new[1], new[3]) == ("[a_new.json](a_new.json)", "2025-03-01", "26")
    assert (old[0], old[1], old[3]) == ("[b_old.json](b_old.json)", "2025-02-01", "0")
    head = json.loads(GOLDEN.read_text(encoding="utf-8"))["witness"]["head"]
    assert new[4] == old[4] == f"`{head[:16]}`"


def test_pages_are_the_same_bytes_in_any_order_and_again(place, tmp_path):
    paths = [place("one"), place("two"), place("one", day="2025-05-05", stem="later")]

    first = [page.read_bytes() for page in write(paths, tmp_path)]
    again = [page.read_bytes() for page in write([*reversed(paths), *paths], tmp_path)]

    assert first == again


def test_a_machine_that_tells_nothing_still_has_a_page(place, tmp_path):
    nothing = dict.fromkeys(("cpu", "isa", "ram_bytes", "os", "python", "runtimes", "threads", "accelerators"))
    place("bare", **nothing)

    page = write([tmp_path], tmp_path)[0].read_text(encoding="utf-8")

    assert "unknown chip" in page


def test_accelerators_are_told_by_name(place, tmp_path):
    place("fast", accelerators=[{"name": "Example Accelerator 1"}, "Example Accelerator 2"])

    page = write([tmp_path], tmp_path)[0].read_text(encoding="utf-8")

    assert "Example Accelerator 1, Example Accelerator 2" in page


@pytest.mark.parametrize(
    "name",
    ["../elsewhere", "a/b", "<script>alert(1)</script>", "[a](https://b)", "a" * 300, "\ud800", "|\n# b"],
    ids=list("abcdefg"),
)
def test_a_hostile_machine_name_is_words_and_no_folder_elsewhere(place, tmp_path, name):
    path, out = place(name), tmp_path / "out"

    made = write([path], out)

    assert all(each.resolve().is_relative_to(out.resolve()) for each in made)
    assert len({each.parent for each in made}) == 2
    for page in (each for each in made if each.suffix == ".md"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "](https://b" not in text
        assert not [line for line in text.splitlines() if line.startswith("# b")]


def test_machines_whose_names_fold_alike_have_folders_of_their_own(place, tmp_path):
    write([place("a b", stem="one"), place("a/b", stem="two")], tmp_path / "out")

    assert len([path for path in (tmp_path / "out").iterdir() if path.is_dir()]) == 2


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no clip-bench run"):
        write([tmp_path], tmp_path)


def test_a_folder_that_cannot_be_written_is_told(place, tmp_path):
    run = place("one")

    with pytest.raises(UsageError, match=r"run\.json[/\\]out: .*; name a folder that can be written"):
        write([tmp_path], run / "out")


def test_a_table_is_rebuilt_without_any_runtime():
    code = "import sys, clip_bench.report; print(*sys.modules)"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)  # noqa: S603  our own code

    assert not set(RUNTIMES) & set(told.stdout.split())
