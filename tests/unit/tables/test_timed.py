"""What a call costs one device, by the clock of one call or of a whole window."""

import math
from dataclasses import replace

import pytest

from clip_bench.errors import UsageError
from clip_bench.record import Record, Timing
from clip_bench.report.timed import call_s

RECORD = Record(case="c", tower="t", model="m", target="x", precision="p", variant="", weights="w")
TIMING = Timing(rounds_s=(0.1, 0.3, 0.2, 0.2), warmups=1, batch=1)


def test_a_call_alone_costs_the_median_of_its_rounds_and_one_of_several_its_share_of_the_window():
    assert call_s(RECORD, TIMING) == pytest.approx(0.2)
    assert call_s(RECORD, replace(TIMING, window_s=0.4)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("rounds_s", "window_s"),
    [((), None), ((), 1.0), ((0.1,), 0.0), ((0.1,), -1.0), ((0.1,), math.nan), ((0.1,), math.inf)],
    ids=["nothing", "no_rounds", "zero", "negative", "no_number", "infinite"],
)
def test_a_window_that_cannot_be_true_is_no_time(rounds_s, window_s):
    with pytest.raises(UsageError, match=rf"^{len(rounds_s)} rounds in a window of {window_s} s cannot be true"):
        call_s(RECORD, replace(TIMING, rounds_s=rounds_s, window_s=window_s))
