"""What a run plans, and what of it is another where it would go on."""

import json
from dataclasses import replace

import pytest

from clip_bench import backends, matrix, plan

CELLS = ["a", "b", "c"]
BEFORE = {"cells": CELLS, "machine": {"os": "1"}, "commit": "c0ffee"}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, ""),
        ({"machine": {"os": "2"}}, "machine, os was 1 and is 2"),
        ({"cells": ["a"]}, "it planned 3 cells, and here are 1, or others"),
        ({"cells": CELLS[::-1]}, "it planned 3 cells, and here are 3, or others"),
        ({"commit": None}, "commit was c0ffee and is None"),
        ({"schema": 9}, "schema was None and is 9"),
    ],
    ids=["same", "machine", "cells", "order", "commit", "new"],
)
def test_the_first_difference_is_told(now, told):
    assert plan.differing(BEFORE, {**BEFORE, **now}) == told


def test_a_plan_is_data_that_a_journal_holds_and_the_cache_is_no_part_of_it(small, tmp_path):
    cases = list(matrix.cells(small, backends.discover()))[:3]

    planned, elsewhere = (plan.of(each, cases, "c0ffee") for each in (small, replace(small, cache=tmp_path)))

    assert json.loads(json.dumps(planned)) == planned
    assert planned["cells"] == [case.id for case in cases]
    assert plan.differing(planned, elsewhere) == ""
    assert (
        plan.differing(planned, plan.of(replace(small, rounds=9), cases, "c0ffee")) == "settings, rounds was 8 and is 9"
    )
    assert plan.differing(planned, plan.of(replace(small, threads=1), cases, "c0ffee")).startswith(
        "machine, threads was"
    )
