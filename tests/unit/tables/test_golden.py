"""The golden run makes the golden tables, byte for byte; after a wanted change run regenerate.py and read the diff."""

import json
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
NAMES = ("hardware.md", "terminal.md", "full.md", "holes.md", "machine.md", "overview.md")


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(HERE / "regenerate.py"))["tables"](GOLDEN / "run.json")


@pytest.mark.parametrize("name", NAMES)
def test_golden_run_makes_golden_table(made, name):
    golden = (GOLDEN / name).read_bytes()

    assert unsigned(made[name].encode()) == unsigned(golden)


def unsigned(page):
    """Without the note of which packages made it."""
    return page.partition(b"-->\n")[2] or page


def test_no_golden_table_is_unguarded(made):
    assert {path.name for path in GOLDEN.iterdir()} == {*made, *NAMES, "run.json"}


def test_golden_run_is_a_benchmark_file_of_made_up_figures():
    data = json.loads((GOLDEN / "run.json").read_text(encoding="utf-8"))

    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version", "outcomes"} <= data.keys()
    assert data["machine_info"]["clip_bench"]["name"] == "example"
    assert "made up" in data["machine_info"]["clip_bench"]["note"]
    assert all({"name", "fullname", "stats", "options"} <= benchmark.keys() for benchmark in data["benchmarks"])
