"""Where a run is: the time left is of cells alike, and its line fits the terminal."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from clip_bench.models import catalog
from clip_bench.progress import Pace, clock, line
from clip_bench.specs import Case, Device, Precision, Target, Tower

HERE = Target(backend="torch", device=Device.CPU)
GONE = Target(backend="openvino", device=Device.NPU)
FAST, SLOW = catalog.MODELS["shapes_tiny"], catalog.MODELS["vit_b_32_random"]
CELL = Case(model=FAST, tower=Tower.IMAGE, target=HERE, precision=Precision.FP32)


def paced(*ended):
    """A pace after cells that ran, each with its seconds."""
    pace = Pace()
    for case, seconds in ended:
        pace.end(case, seconds, skipped=False)
    return pace


def test_nothing_is_told_before_a_cell_ended():
    assert Pace().left([CELL], 3.0) == "-"


def test_a_cell_takes_what_cells_of_its_tower_took_rather_than_those_of_the_other():
    other = replace(CELL, tower=Tower.TEXT)

    pace = paced((CELL, 10.0), (other, 60.0))

    assert pace.left([CELL], 0.0) == "0:10"
    assert pace.left([replace(CELL, precision=Precision.BF16), other], 0.0) == "1:10"


def test_a_tower_of_which_none_ended_takes_what_its_model_took():
    assert paced((CELL, 10.0)).left([replace(CELL, tower=Tower.PAIR)], 0.0) == "0:10"


def test_one_cell_that_took_an_hour_does_not_make_the_others_slow():
    pace = paced(*[(CELL, 10.0)] * 4, (CELL, 3600.0))

    assert pace.left([CELL] * 6, 0.0) == "1:00"


def test_cells_of_a_model_that_never_ended_come_on_top():
    slow = replace(CELL, model=SLOW)

    pace = paced((CELL, 10.0))

    assert pace.left([CELL, slow], 0.0) == "0:10+"
    assert pace.left([slow], 0.0) == "-"


def test_a_target_that_is_not_here_costs_what_its_skips_cost_and_says_nothing_of_others():
    pace = Pace()
    pace.end(replace(CELL, target=GONE), 0.01, skipped=True)

    assert pace.left([replace(CELL, target=GONE, model=SLOW)] * 100, 0.0) == "0:01"
    assert pace.left([CELL], 0.0) == "-"


def test_a_target_that_ran_once_is_not_taken_to_be_skipped_later():
    pace = paced((CELL, 10.0))
    pace.end(replace(CELL, precision=Precision.BF16), 0.01, skipped=True)

    assert pace.left([CELL], 0.0) == "0:10"


def test_what_the_first_cell_has_taken_counts_for_itself_alone():
    pace = paced((CELL, 10.0))

    assert pace.left([CELL, CELL], 4.0) == "0:16"
    assert pace.left([CELL, CELL], 500.0) == "0:10"
    assert pace.left([CELL], 500.0) == "0:00"


@given(
    took=st.lists(st.floats(0, 1e5), min_size=1),
    waiting=st.integers(1, 300),
    elapsed=st.floats(0, 1e6),
)
def test_the_time_left_is_never_negative(took, waiting, elapsed):
    left = paced(*((CELL, seconds) for seconds in took)).left([CELL] * waiting, elapsed)

    assert "-" not in left


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00"), (4.4, "0:04"), (260, "4:20"), (3600, "1:00:00"), (3723.2, "1:02:03"), (-1, "0:00")],
    ids=["none", "seconds", "minutes", "hour", "hours", "negative"],
)
def test_a_time_reads_as_on_a_clock(seconds, told):
    assert clock(seconds) == told


def test_a_line_tells_place_cell_step_and_time():
    assert line("[12/64]", CELL.id, "gating", "4:20", 100) == f"[12/64] {CELL.id}  gating ...  4:20 left"


def test_a_long_cell_is_cut_before_what_changes():
    told = line("[12/64]", "x" * 90, "gating", "4:20", 60)

    assert len(told) == 59
    assert told.endswith("xx..  gating ...  4:20 left")


@given(case=st.text("abc-_", max_size=90), step=st.text("abc ,", max_size=60), columns=st.integers(1, 200))
def test_a_line_never_wraps(case, step, columns):
    assert len(line("[1/9]", case, step, "1:00:00+", columns)) < columns
