"""The journal of a run: what it tells, what of it a kill may tear, and who may write it."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench import journal
from clip_bench.errors import UsageError
from clip_bench.journal import Journal, Story
from clip_bench.ledger import Ledger
from clip_bench.record import Outcome, Record

CELLS = ["a", "b", "c"]
ASKED = {"arguments": ["-k", "a"], "folder": "/", "cell_timeout_s": None, "memory_bytes": None}
LINES = [
    ("asked", "", ASKED),
    ("planned", "", {"cells": CELLS, "machine": {"os": "1"}}),
    ("begin", "a", {}),
    ("note", "a", {"entry": 1}),
    ("end", "a", {"entry": 2, "row": None, "reports": [], "whole_s": 1.0}),
    ("begin", "b", {}),
    ("died", "b", {"outcome": "crashed", "reason": "signal"}),
    ("begin", "c", {}),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "2026.jsonl"


@pytest.fixture
def begun(path):
    """A journal under whose third cell everything died."""
    opened = Journal.opened(path, locked=True)
    for kind, case, told in LINES:
        opened.write(kind, case, **told)
    opened.close()
    return path


def read(path, *, locked=True):
    opened = Journal.opened(path, locked=locked)
    opened.close()
    return opened


def test_what_was_written_is_what_is_read(begun):
    story = read(begun).story

    assert story.asked["arguments"] == ["-k", "a"]
    assert story.planned["cells"] == CELLS
    assert {case: line["entry"] for case, line in story.ended.items()} == {"a": 2}
    assert {case: line["reason"] for case, line in story.died.items()} == {"b": "signal"}
    assert (story.flying, story.notes, story.finished) == ("c", {}, None)


@given(share=st.floats(0, 1), garbage=st.sampled_from([b"", b"\0" * 40, b"\0\0\n"]))
def test_a_torn_line_is_cut_and_nothing_before_it(tmp_path_factory, share, garbage):
    path = tmp_path_factory.mktemp("torn") / "run.jsonl"
    whole = Journal.opened(path, locked=True)
    ends = [0]
    for kind, case, told in LINES:
        whole.write(kind, case, **told)
        ends.append(whole.offset)
    whole.close()
    size = round(share * ends[-1])
    with path.open("rb+") as stream:
        stream.truncate(size)
        stream.seek(0, os.SEEK_END)
        stream.write(garbage if size >= ends[1] else b"")

    torn = Journal.opened(path, locked=True)
    torn.write("begin", "x")
    torn.close()

    last = max(end for end in ends if end <= size)
    again = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["kind"] for line in again] == [kind for kind, _, _ in LINES[: ends.index(last)]] + ["begin"]


def test_a_line_that_is_none_in_the_middle_is_told_with_its_place(begun):
    lines = begun.read_bytes().splitlines(keepends=True)
    begun.write_bytes(b"".join([*lines[:2], b'{"kind": "sung"}\n', *lines[2:]]))

    with pytest.raises(UsageError, match=rf"its byte {len(lines[0] + lines[1])} begins no line of a journal"):
        read(begun)


@pytest.mark.parametrize("told", [b"{}", b"[1]\n", b'{"kind": "begin"}\n', b"a diary\n"], ids=list("abcd"))
def test_another_file_is_refused_and_left_as_it_is(path, told):
    path.write_bytes(told)

    with pytest.raises(UsageError, match="no journal of a run"):
        read(path)

    assert path.read_bytes() == told


def test_two_cannot_write_one_journal_and_whoever_dies_lets_go(begun):
    holding = "import sys; from clip_bench.journal import Journal; from pathlib import Path\n"
    holding += "Journal.opened(Path(sys.argv[1]), locked=True); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(  # noqa: S603  ourselves
        [sys.executable, "-c", holding, str(begun)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(UsageError, match="a run is at work on it"):
            read(begun)
        other.kill()

    assert read(begun).story.flying == "c"


def test_who_has_no_lock_reads_on_where_it_stopped(begun):
    watching, writing = Journal.opened(begun, locked=False), Journal.opened(begun, locked=True)
    writing.write("end", "c", entry=3, row=None, reports=[], whole_s=1.0)
    with begun.open("ab") as stream:
        stream.write(b'{"kind": "beg')

    watching.catch_up()

    assert (watching.story.flying, watching.offset) == ("", writing.offset)
    watching.close()
    writing.close()


def test_a_cell_under_which_everything_died_has_one_more_try_and_no_third(begun):
    opened = Journal.opened(begun, locked=True)

    first = opened.settle()
    opened.write("begin", "c")
    second = opened.settle()
    third = opened.settle()
    opened.close()

    assert first == "c was under way when everything ended: it is tried once more"
    assert second.startswith("c is not tried again: ")
    assert third == ""
    assert read(begun).story.died["c"]["outcome"] == Outcome.CRASHED


def test_an_interrupted_cell_begins_as_if_it_never_had(begun):
    opened = Journal.opened(begun, locked=True)
    opened.write("withdrawn", "c")
    opened.write("begin", "c")
    opened.close()

    assert not opened.story.again("c")


def test_a_full_disk_is_one_line_and_tears_nothing(begun, monkeypatch):
    before, whole = begun.read_bytes(), os.write
    opened = Journal.opened(begun, locked=True)
    calls = []

    def full(descriptor, data):
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return whole(descriptor, bytes(data[:9]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        UsageError, match="No space left on device; make room, then go on with: clip-bench run --resume"
    ):
        opened.write("begin", "d")
    opened.close()

    assert begun.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="no journal can be kept there"):
        read(tmp_path / "file" / "2026.jsonl")


def test_the_newest_journal_is_found_and_other_files_are_not(begun, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"question": 1}\n', encoding="utf-8")
    older = tmp_path / "older.jsonl"
    older.write_bytes(begun.read_bytes())
    os.utime(older, (1, 1))

    assert journal.newest([tmp_path, tmp_path / "nowhere"]) == begun
    assert journal.newest([tmp_path / "nowhere"]) is None


def test_a_fresh_journal_takes_no_name_that_is_taken(tmp_path):
    first = journal.fresh(tmp_path)
    first.touch()

    assert journal.fresh(tmp_path) != first


def test_each_ending_that_a_supervisor_tells_is_an_outcome():
    assert set(journal.Ending.__args__) < set(Outcome)


def test_a_story_goes_on_by_no_line_of_another_kind():
    with pytest.raises(KeyError, match="sung"):
        Story().tell({"kind": "sung", "at_s": 0.0})


def a_record(case):
    return Record(case=case, tower="t", model="m", target="x", precision="p", variant="", weights="w")


def test_a_ledger_goes_on_with_what_its_journal_tells(path):
    first = Ledger(cases={}, journal=Journal.opened(path, locked=True))
    first.journal.write("asked", **ASKED)
    for case in ("a", "b"):
        first.begin(case)
        first.note(a_record(case))
    first.end("a", Outcome.OK, "")
    first.close("a", {"name": "row"}, [], 2.0)
    first.journal.close()

    second = Ledger(cases={}, journal=Journal.opened(path, locked=True))
    for case in ("a", "b", "c"):
        second.restore(case)
    second.journal.close()

    assert second.entries == first.entries
    assert second.records == first.records
    assert second.journal.story.ended["a"]["row"] == {"name": "row"}


def test_a_cell_that_is_measured_at_its_second_try_says_so(path):
    ledger = Ledger(cases={}, journal=Journal.opened(path, locked=True))
    ledger.journal.write("asked", **ASKED)
    ledger.begin("a")
    ledger.journal.settle()
    ledger.begin("a")
    ledger.note(a_record("a"))

    entry = ledger.end("a", Outcome.OK, "")
    ledger.journal.close()

    assert entry.reason == journal.AGAIN
