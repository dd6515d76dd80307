"""clip-bench run, as a user starts it: whatever its process dies of, each planned cell has one outcome in one file."""

import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from clip_bench import runfile, supervise
from clip_bench.__main__ import main
from clip_bench.journal import AGAIN, Journal
from clip_bench.record import Outcome
from clip_bench.report.verify import verify
from clip_bench.supervise import Ended, Limits

FEW = ("--model", "shapes_tiny", "--samples", "24", "--rounds", "4", "--benchmark-only", "-p", "no:cacheprovider")
TIMEOUT_S = 10
LONGEST_S = 240
GAPPED = """
from clip_bench import gaps
from clip_bench.record import Outcome

gaps.KNOWN = (
    gaps.Gap(
        cells="*-fatal-aborts-*", outcome=Outcome.CRASHED, error="SIGABRT", reason="no such layer", link="fatal/rt#7"
    ),
)
"""
LINUX = sys.platform == "linux"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that ended: its exit status, what it printed, and the file that it wrote."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def file(self):
        (found,) = self.folder.glob("*/*.json")
        return found

    @property
    def entries(self):
        entries = runfile.read(self.file).entries
        assert len({entry.case for entry in entries}) == len(entries)
        return {entry.case: entry for entry in entries}


@pytest.fixture(scope="session")
def gapped(site):
    """A plugin that knows a gap of the third party's backend."""
    (site / "gapped.py").write_text(GAPPED, encoding="utf-8")
    return "gapped"


@pytest.fixture(scope="session")
def start(begin, cache, site, scenes, tmp_path_factory):
    """Start ``clip-bench run`` in the checkout, not importing from it (-P): the process, and the folder of its run."""

    def started(chosen, *arguments, folder=None, changes=()):
        folder = folder or tmp_path_factory.mktemp("runs")
        options = ("-k", chosen, *FEW, "--data", str(scenes), "--reports", str(folder)) if chosen else ()
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {"CLIP_BENCH_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(paths), **dict(changes)}
        return begin(variables, "run", *options, *arguments), folder

    return started


@pytest.fixture(scope="session")
def run(start):
    """Start it and wait for its end."""

    def ran(*arguments, **keywords):
        process, folder = start(*arguments, **keywords)
        out, err = process.communicate(timeout=LONGEST_S)
        return Ran(status=process.returncode, out=out, err=err, folder=folder)

    return ran


@pytest.fixture(scope="session")
def undisturbed(run):
    """Two cells that end well: it also fills the store."""
    return run("fatal and good and shapes_tiny and (image or text)")


@pytest.fixture(scope="session")
def deadly(run, undisturbed, gapped):  # noqa: ARG001  which has built what all take
    """Cells that end in every way."""
    limits = ("--cell-timeout", TIMEOUT_S, *(("--memory-limit", "1G") if LINUX else ()))
    chosen = "fatal and image and shapes_tiny and not waits" + ("" if LINUX else " and not eats")
    return run(chosen, *limits, "-p", gapped)


def cell(provider):
    return f"image-shapes_tiny-fatal-{provider}-cpu-fp32"


def journal_of(folder):
    (found,) = folder.glob("*.jsonl")
    return found


def wait_for(folder, kind):
    """Until the journal of *folder* has a line of *kind*."""
    limit = time.monotonic() + LONGEST_S
    while time.monotonic() < limit:
        if any(f'{{"kind": "{kind}"' in path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl")):
            return
        time.sleep(0.01)
    raise AssertionError(kind)


def test_a_run_that_nothing_disturbs_is_as_one_of_pytest(undisturbed):
    assert undisturbed.status == 0, undisturbed.out + undisturbed.err
    assert {entry.outcome for entry in undisturbed.entries.values()} == {Outcome.OK}
    assert "clip-bench run:" not in undisturbed.err
    assert [path.suffix for path in undisturbed.folder.rglob("*.*")] == [".json"]


@pytest.mark.parametrize(
    ("provider", "outcome", "reason"),
    [
        ("aborts", Outcome.CRASHED, r"SIGABRT \(Aborted\)(; it held .*)?; known gap: no such layer \(fatal/rt#7\)"),
        ("segfaults", Outcome.CRASHED, r"SIGSEGV \(Segmentation fault\)(; it held .*)?"),
        ("leaves", Outcome.CRASHED, r"exit status 7(; it held .*)?"),
        ("hangs", Outcome.TIMED_OUT, rf"no end after {TIMEOUT_S} s \(--cell-timeout\)"),
        ("sticks", Outcome.TIMED_OUT, rf"no end after {TIMEOUT_S} s \(--cell-timeout\)"),
        ("good", Outcome.OK, ""),
    ],
    ids=["ends", "segfaults", "leaves", "hangs", "sticks", "good"],
)
def test_each_way_to_die_is_an_outcome_with_its_reason(deadly, provider, outcome, reason):
    entry = deadly.entries[cell(provider)]

    assert entry.outcome is outcome
    assert re.fullmatch(reason, entry.reason)


def test_wrong_answers_fail_the_gate_between_crashes_as_ever(deadly):
    assert deadly.entries[cell("wrong")].outcome is Outcome.GATE_FAILED


def test_what_was_measured_before_a_crash_is_kept_and_is_no_time(deadly):
    data = json.loads(deadly.file.read_text(encoding="utf-8"))

    assert deadly.entries[cell("leaves")].record.quality.similarity
    assert [row["param"] for row in data["benchmarks"]] == [cell("good")]


def test_a_run_of_many_processes_ends_as_one_would(deadly):
    assert deadly.status == 1
    assert re.search(r"=+ \d failed, 1 passed, \d+ deselected, 1 xfailed in ", deadly.out)
    assert deadly.out.count("= clip-bench =") == 1
    assert re.search(r"1 ok, 1 gate failed, 3 crashed, 2 timed out(, 2 out of memory)? of [79] planned\.", deadly.out)


def test_a_run_of_many_processes_follows_from_its_raw_values(deadly):
    assert [each.faults for each in verify(deadly.file)] == [()]


@pytest.mark.skipif(not LINUX, reason="Linux alone holds a process to a limit of memory")
@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        ("eats", r"MemoryError: .*"),
        ("eats_on", r"SIGABRT \(Aborted\); it held 0\.\d\d of 1\.00 GiB \(--memory-limit\)"),
    ],
    ids=["told", "untold"],
)
def test_memory_that_a_limit_ends_is_an_outcome_whoever_notices(deadly, provider, reason):
    entry = deadly.entries[cell(provider)]

    assert entry.outcome is Outcome.OUT_OF_MEMORY
    assert re.fullmatch(reason, entry.reason)


def test_a_killed_run_goes_on_to_the_same_cells(start, run, undisturbed, capsys):
    process, folder = start("fatal and good and shapes_tiny and (image or text)")
    with process:
        wait_for(folder, "begin")
        children = psutil.Process(process.pid).children()
        kept = journal_of(folder)
        at_work = main(["run", "--resume", str(kept)])
        process.kill()
        gone, _ = psutil.wait_procs(children, timeout=LONGEST_S)
        process.communicate(timeout=LONGEST_S)
    before = kept.read_text(encoding="utf-8")
    kept.write_text(before.replace('"rounds": 4', '"rounds": 5'), encoding="utf-8")
    refused = run("", "--resume", kept)
    kept.write_text(before, encoding="utf-8")

    ended = run("", "--resume", folder, folder=folder)

    entries = list(ended.entries.values())
    assert at_work == 2
    assert "a run is at work on it; wait for its end, or end it, and try again" in capsys.readouterr().err
    assert len(gone) == 1
    assert refused.status == 4
    assert "the run in it cannot go on here: settings, rounds was 5 and is 4; begin it anew" in refused.err
    assert "Traceback" not in refused.err
    assert [entry.case for entry in entries] == list(undisturbed.entries)
    assert {entry.outcome for entry in entries} == {Outcome.OK}
    assert sorted(entry.reason for entry in entries) == ["", AGAIN]
    assert ended.status == 0
    assert list(folder.glob("*.jsonl")) == []


def test_a_killed_child_has_its_cells_outcome_and_the_others_go_on(start, undisturbed):
    process, folder = start("fatal and good and shapes_tiny and (image or text)")
    with process:
        wait_for(folder, "begin")
        psutil.Process(process.pid).children()[0].kill()
        out, err = process.communicate(timeout=LONGEST_S)

    ended = Ran(status=process.returncode, out=out, err=err, folder=folder)
    told = [(entry.outcome, entry.reason) for entry in ended.entries.values()]
    assert list(ended.entries) == list(undisturbed.entries)
    assert sorted(told) == [(Outcome.CRASHED, "SIGKILL (Killed)"), (Outcome.OK, "")]
    assert ended.status == 1


def test_an_interrupted_run_ends_in_order_and_goes_on(start, run):
    process, folder = start("fatal and waits and shapes_tiny and (image or text)")
    with process:
        wait_for(folder, "note")  # now the first call waits: an interruption while a module is imported may be lost
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONGEST_S)
    kept = journal_of(folder)

    ended = run("", "--resume", kept, folder=folder, changes=[("FATAL_AT_ONCE", "1")])

    assert process.returncode == 2
    assert f"clip-bench run --resume {kept}" in err
    assert list(ended.entries) == [f"{tower}-shapes_tiny-fatal-waits-cpu-fp32" for tower in ("image", "text")]
    assert [(entry.outcome, entry.reason) for entry in ended.entries.values()] == [(Outcome.OK, "")] * 2
    assert ended.status == 0


def test_pytest_that_cannot_begin_is_one_error_and_no_endless_loop(run, site):
    (site / "unborn.py").write_text("import os\nos.kill(os.getpid(), 11)\n", encoding="utf-8")

    ended = run("fatal and good and image", "-p", "unborn")

    assert ended.status == 2
    assert ended.err.splitlines()[-1].startswith("clip-bench: pytest died twice with no cell under way (SIGSEGV ")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--collect-only", "-q"], 0), (["--samples", "1"], 4)],
    ids=["collect", "samples"],
)
def test_a_run_that_begins_nothing_leaves_nothing_and_ends_as_pytest_does(run, arguments, status):
    ended = run("fatal and good and image", *arguments)

    assert ended.status == status
    assert list(ended.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell-timeout", "0"], "--cell-timeout 0: a number of seconds above 0"),
        (["--memory-limit", "much"], "--memory-limit much: a number of bytes, or one with a unit, such as 8G"),
        (["--resume", "-k", "x"], "--resume goes on with the options of its run: leave out -k x"),
        (["--resume"], "--resume: no journal of a run that did not end in reports or .; begin one without it"),
        (["--resume", "no.jsonl"], "--resume: no journal of a run that did not end in no.jsonl; begin one without it"),
        (["--journal", "x"], "--journal x: clip-bench run names its journal itself; to go on with one, give it to"),
        (["--journal"], "argument --journal: expected one argument"),
    ],
    ids=["seconds", "bytes", "more", "none", "missing", "named", "unnamed"],
)
def test_a_bad_option_of_a_run_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "tests" / "bench").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    status = main(["run", *arguments])

    told = capsys.readouterr()
    assert status == 2
    assert told.err.startswith(f"clip-bench: {message}")
    assert len(told.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tests"]


def test_a_folder_without_the_suite_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["run"]) == 2
    assert "no such folder here; clip-bench run starts pytest on it" in capsys.readouterr().err


def test_memory_is_limited_where_the_system_can(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")

    assert main(["run", "--memory-limit", "8G"]) == 2
    assert "--memory-limit 8G: only Linux holds a process to it; leave it out" in capsys.readouterr().err


def test_a_journal_in_which_nothing_had_begun_is_taken_away(tmp_path, capsys):
    (tmp_path / "torn.jsonl").write_bytes(b'{"kind": "as')

    assert main(["run", "--resume", str(tmp_path / "torn.jsonl")]) == 2
    assert "torn.jsonl: nothing had begun; begin the run anew, without --resume" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_whose_checkout_is_gone_says_where_it_was_and_keeps_its_journal(tmp_path, capsys):
    kept = Journal.opened(tmp_path / "kept.jsonl", locked=True)
    kept.write("asked", arguments=[], folder=str(tmp_path / "gone"), cell_timeout_s=None, memory_bytes=None)
    kept.close()

    assert main(["run", "--resume", str(tmp_path)]) == 2
    assert f"its run was started in {tmp_path / 'gone'}, where there is no tests" in capsys.readouterr().err
    assert (tmp_path / "kept.jsonl").stat().st_size


LIMITED = Limits(memory_bytes=1000)


@pytest.mark.parametrize(
    ("ended", "limits", "expected"),
    [
        (Ended(status=-11), Limits(), ("crashed", "SIGSEGV (Segmentation fault)")),
        (
            Ended(status=-9, killed=True),
            Limits(),
            ("out_of_memory", "the kernel killed the process for want of memory"),
        ),
        (Ended(status=-11, killed=True), Limits(), ("crashed", "SIGSEGV (Segmentation fault)")),
        (Ended(status=-9), Limits(), ("crashed", "SIGKILL (Killed)")),
        (Ended(status=-77), Limits(), ("crashed", "signal 77")),
        (Ended(status=9, peak_bytes=799), LIMITED, ("crashed", "exit status 9; it held ")),
        (Ended(status=9, peak_bytes=801), LIMITED, ("out_of_memory", "exit status 9; it held ")),
        (Ended(status=-9, overdue="x"), Limits(cell_timeout_s=2.5), ("timed_out", "no end after 2.5 s")),
    ],
    ids=["signal", "oom", "signal_beside_oom", "killed", "unnamed", "below", "above", "overdue"],
)
def test_how_a_process_ended_decides_the_outcome_of_its_cell(ended, limits, expected):
    outcome, reason = supervise._ending(ended, limits)

    assert outcome == expected[0]
    assert reason.startswith(expected[1])


def test_a_cell_that_had_just_begun_when_another_was_stopped_is_not_blamed(tmp_path):
    opened = Journal.opened(tmp_path / "run.jsonl", locked=True)
    opened.write("begin", "b")

    told = supervise._blame(opened, Ended(status=-9, overdue="a"), Limits(cell_timeout_s=1))
    opened.close()

    assert told == "b had just begun when its predecessor was stopped: it begins anew"
    assert opened.story.died == {}
    assert not opened.story.again("b")
