"""The drift that a cell is known to have: what the committed runs measured, and nothing beside it."""

import importlib.util
from pathlib import Path

import pytest

from clip_bench.quality import known

SPEC = importlib.util.spec_from_file_location("learn", Path(__file__).with_name("learn.py"))
learn = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(learn)


def test_the_table_is_that_of_the_committed_runs():
    assert known.TABLE.read_text(encoding="utf-8") == learn.table(), (
        "run tests/unit/quality/learn.py, and read the diff"
    )


def test_a_cell_is_known_on_its_data_alone():
    case, data = next(iter(known._table()))

    assert known.of(case, data)
    assert known.of(case, "0" * 64) == {}
    assert known.of("no-such-cell", data) == {}


@pytest.mark.parametrize("word", ["throughput", "instances", "queue"])
def test_no_load_is_in_the_table(word):
    assert not [case for case, _ in known._table() if word in case]
