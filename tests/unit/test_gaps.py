"""Known gaps are data that cannot lie quietly."""

import re
from dataclasses import replace

from clip_bench import backends, gaps, matrix
from clip_bench.gaps import Gap
from clip_bench.record import Outcome
from clip_bench.specs import Rewrite

GAP = Gap(cells="*-acme-*-int8_*", outcome=Outcome.UNSUPPORTED, error=r"knows no \w+", reason="no layer", link="a/b#1")


def test_a_gap_expects_its_outcome_and_a_reason_in_which_its_error_is_found():
    assert GAP.expects(Outcome.UNSUPPORTED, "acme 3 knows no Gather")
    assert not GAP.expects(Outcome.UNSUPPORTED, "acme 3 is out of memory")
    assert not GAP.expects(Outcome.FAILED, "acme 3 knows no Gather")


def test_the_first_gap_whose_pattern_fits_covers_a_cell(small, monkeypatch):
    case = next(iter(matrix.cells(small, backends.discover())))
    monkeypatch.setattr(gaps, "KNOWN", (GAP, replace(GAP, cells=case.id), replace(GAP, cells="*")))

    assert gaps.covering(case) is gaps.KNOWN[1]


def test_every_known_gap_is_of_a_cell_that_there_is_with_an_error_a_reason_and_a_link(small):
    rewrites = tuple((rewrite,) for rewrite in Rewrite)
    every = replace(small, models=(), full=True, calibrations=("minmax_12",), rewrites=rewrites)
    covered = {gaps.covering(case) for case in matrix.cells(every, backends.discover())}

    for gap in gaps.KNOWN:
        assert gap in covered, gap
        assert gap.outcome not in {Outcome.OK, Outcome.SKIPPED}, gap
        assert re.compile(gap.error).search("") is None, gap
        assert gap.reason, gap
        assert gap.link, gap
