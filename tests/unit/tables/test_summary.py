"""The summary of a CI job: its order, its limit, and that words of a file stay words."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from clip_bench.__main__ import main
from clip_bench.record import Outcome
from clip_bench.report import frame, github
from clip_bench.runfile import read

GOLDEN = Path(__file__).parent / "golden" / "run.json"
HOSTILE = "<script>alert(1)</script>|a](javascript:b)\n</details>\n# c\x1b[31m"


@pytest.fixture(scope="module")
def run():
    return read(GOLDEN)


@pytest.fixture
def reported(capsys, monkeypatch, tmp_path):
    """What clip-bench report --format github prints, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def told(*arguments):
        status = main(["report", "--format", "github", *map(str, arguments)])
        return status, *capsys.readouterr()

    return told


def test_counts_come_first_then_times_then_cells_without_a_time(run):
    told = github.summary({"example": frame([run])})

    order = ["### example", "| Outcome", "| ok ", "### Vision Model", "<details>", "Cells without a time", "</details>"]
    places = [told.index(word) for word in order]
    assert places == sorted(places)
    counted = dict(re.findall(r"^\| ([a-z ]+?) +\| +(\d+) \|$", told, re.MULTILINE))
    assert {word.replace("_", " "): str(count) for word, count in _counts(run).items()} == counted


def _counts(run):
    outcomes = [entry.outcome for entry in run.entries]
    return {str(word): outcomes.count(word) for word in Outcome if word in outcomes}


def test_the_command_prints_what_a_run_would_and_writes_nothing(reported, run, tmp_path):
    status, out, _ = reported(GOLDEN)

    assert status == 0
    assert out == github.summary({"example": frame([run])})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_write_is_refused(reported, tmp_path):
    status, out, err = reported(GOLDEN, "-o", tmp_path / "out")

    assert (status, out) == (2, "")
    assert "--format github writes no folder" in err
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_one_line(reported, tmp_path):
    status, out, err = reported(tmp_path)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no clip-bench run" in err


def test_each_machine_has_its_newest_cells_once(reported, tmp_path):
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, day in (("one", "2025-01-01"), ("one", "2025-02-01"), ("two", "2025-01-01")):
        data["machine_info"]["clip_bench"]["name"] = name
        data["datetime"] = f"{day}T00:00:00+00:00"
        (tmp_path / f"{name}-{day}.json").write_text(json.dumps(data), encoding="utf-8")

    _, out, _ = reported(tmp_path)

    assert re.findall(r"^### (one|two)$", out, re.MULTILINE) == ["one", "two"]
    assert len(re.findall(r"^\| ok +\| +16 \|$", out, re.MULTILINE)) == 2


def test_every_word_of_a_file_stays_a_word(reported, tmp_path):
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    data["machine_info"]["clip_bench"] |= {"name": HOSTILE, "chip": HOSTILE}
    for index, entry in enumerate(data["outcomes"]):
        entry["reason"] = HOSTILE
        for word in ("model", "target", "variant"):
            entry["record"][word] = HOSTILE
        entry["case"] = entry["record"]["case"] = f"{HOSTILE}{index}"
    path = tmp_path / "run.json"
    path.write_text(json.dumps(data), encoding="utf-8")

    status, out, _ = reported(path)

    assert status == 0
    assert "alert(1)" in out
    assert "<script" not in out
    assert "](" not in out
    assert "\x1b" not in out
    assert out.count("</details>") == 1
    assert {line.count("|") for line in out.splitlines() if "alert(1)" in line and line.startswith("|")} <= {
        3,
        5,
        6,
        15,
    }


@pytest.mark.parametrize("limit", [2000, 9000, 13500], ids=str)
def test_a_summary_is_cut_at_a_line_and_says_so(run, limit):
    whole = github.summary({"example": frame([run])})

    told = github.summary({"example": frame([run])}, limit=limit)

    body, end = told.rsplit("\n\n", 1)
    kept = body.removesuffix("\n\n</details>").splitlines()
    assert len(whole.encode()) > limit >= len(told.encode())
    assert whole.splitlines()[: len(kept)] == kept
    assert end == github.CUT.format(limit=limit) + "\n"
    assert told.count("<details>") == told.count("</details>")


def test_githubs_own_limit_holds(run):
    entries = [
        dataclasses.replace(entry, outcome=Outcome.FAILED, reason=f"error {index} of {entry.case} " + "x" * 1500)
        for index in range(30)
        for entry in run.entries
    ]

    told = github.summary({"example": frame([dataclasses.replace(run, entries=tuple(entries))])})

    assert 1_000_000 < len(told.encode()) <= github.LIMIT
    assert told.count("<details>") == told.count("</details>") == 1


def test_a_summary_is_added_to_what_a_job_wrote_before(run, tmp_path):
    page = tmp_path / "summary.md"
    page.write_text("before\n", encoding="utf-8")

    told = github.append(page, {"example": frame([run])}, ["--require npu: none"])

    written = page.read_text(encoding="utf-8")
    assert told == f"summary added to {page}"
    assert written == "before\n" + github.summary({"example": frame([run])}, ["--require npu: none"])
    assert "\n- --require npu: none\n" in written


def test_a_page_that_is_full_or_cannot_be_written_is_told_in_a_line(run, tmp_path):
    full, nowhere = tmp_path / "full.md", tmp_path / "none" / "summary.md"
    full.write_text("x" * github.LIMIT, encoding="utf-8")

    lines = [github.append(page, {"example": frame([run])}) for page in (full, nowhere)]

    assert "is full" in lines[0]
    assert "cannot write" in lines[1]
    assert full.stat().st_size == github.LIMIT
