"""What became of the cells of a run: how one that raised an error ended, and which promises none kept."""

from dataclasses import replace

import pytest

from clip_bench.errors import ClipBenchError, PlacementError, StoreError, UnsupportedError
from clip_bench.journal import Journal
from clip_bench.ledger import Ledger
from clip_bench.models import catalog
from clip_bench.record import Executed, Outcome, Quality, Record
from clip_bench.specs import Case, Device, Precision, Target, Tower

NPU, CPU = (Target(backend="acme", device=device) for device in (Device.NPU, Device.CPU))
HERE, THERE = (
    Case(model=catalog.MODELS["shapes_tiny"], tower=Tower.IMAGE, target=target, precision=Precision.FP32)
    for target in (CPU, NPU)
)


@pytest.fixture
def ledger():
    return Ledger(cases={case.id: case for case in (HERE, THERE)})


def executed(**nodes):
    return Executed(nodes=nodes, dtypes={}, note="", asked="chip")


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (UnsupportedError("no such\n  layer"), Outcome.UNSUPPORTED, "no such layer"),
        (PlacementError("on another device"), Outcome.FALLBACK, "on another device"),
        (StoreError("the disk is full"), Outcome.FAILED, "the disk is full"),
        (StoreError("out of memory"), Outcome.FAILED, "out of memory"),
        (MemoryError(), Outcome.OUT_OF_MEMORY, "MemoryError: MemoryError"),
        (RuntimeError("CUDA out of memory"), Outcome.OUT_OF_MEMORY, "RuntimeError: CUDA out of memory"),
        (RuntimeError("std::bad_alloc"), Outcome.OUT_OF_MEMORY, "RuntimeError: std::bad_alloc"),
        (OSError("Cannot allocate memory"), Outcome.OUT_OF_MEMORY, "OSError: Cannot allocate memory"),
        (RuntimeError("error 7"), Outcome.FAILED, "RuntimeError: error 7"),
    ],
    ids=["refused", "misplaced", "ours", "ours_too", "python", "card", "allocator", "system", "other"],
)
def test_an_error_is_an_outcome_and_a_line(ledger, error, outcome, reason):
    assert ledger.ending(HERE.id, error) == (outcome, reason)


def test_what_the_gate_refused_is_why_a_cell_failed_whatever_was_raised(ledger):
    quality = Quality(similarity=(), scores=(), failures=("one", "two"))
    ledger.note(replace(Record.empty(HERE), quality=quality))

    assert ledger.ending(HERE.id, MemoryError()) == (Outcome.GATE_FAILED, "one; two")
    assert ledger.ending(THERE.id, MemoryError())[0] is Outcome.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("outcome", "ran", "unmet"),
    [
        (Outcome.OK, None, []),
        (Outcome.OK, executed(), []),
        (Outcome.OK, executed(chip=1, host=9), []),
        (Outcome.OK, executed(host=9), ["npu", "acme-npu"]),
        (Outcome.FAILED, None, ["npu", "acme-npu"]),
    ],
    ids=["untold", "nowhere", "shared", "delegated", "failed"],
)
def test_a_word_is_met_by_a_cell_that_ended_ok_on_the_device_that_it_means(ledger, outcome, ran, unmet):
    for case in (HERE, THERE):
        ledger.note(replace(Record.empty(case), executed=ran if case is THERE else None))
    ledger.end(HERE.id, Outcome.OK, "")
    ledger.end(THERE.id, outcome, "")

    assert ledger.unmet(["npu", "cpu", "acme-npu", "acme-cpu"]) == unmet
    assert ledger.unmet(["acme"]) == ["acme"]


def journaled(path):
    kept = Journal.opened(path, locked=True)
    if kept.story.asked is None:
        kept.write("asked", arguments=[], folder="/", cell_timeout_s=None, memory_bytes=None)
    return Ledger(cases={}, journal=kept)


def fail():
    msg = "measured again"
    raise RuntimeError(msg)


def test_a_step_beside_the_cells_is_measured_once_whatever_process_did_it(tmp_path):
    first = journaled(tmp_path / "run.jsonl")
    assert first.once("ceilings", lambda: {"highest": 2.5}) == {"highest": 2.5}
    first.journal.close()

    again = journaled(tmp_path / "run.jsonl")

    assert again.once("ceilings", fail) == {"highest": 2.5}
    assert Ledger(cases={}).once("ceilings", lambda: {"highest": 3}) == {"highest": 3}


def test_a_step_that_failed_may_be_measured_again_and_one_that_a_process_died_of_is_not(tmp_path):
    ledger = journaled(tmp_path / "run.jsonl")
    with pytest.raises(RuntimeError, match="measured again"):
        ledger.once("ceilings", fail)
    assert ledger.journal.story.flying == ""
    assert not ledger.journal.story.again("ceilings")

    ledger.begin("ceilings")
    ledger.journal.died("timed_out", "no end after 3 s (--cell-timeout)")

    with pytest.raises(ClipBenchError, match=r"^timed out: no end after 3 s \(--cell-timeout\)$"):
        ledger.once("ceilings", fail)
