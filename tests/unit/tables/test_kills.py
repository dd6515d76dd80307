"""The kill matrix: who is killed, who cannot be told from the true cell, and who lives."""

import pytest

from clip_bench.finding import Alarms, Gates, Tried
from clip_bench.report import kills
from clip_bench.report.kills import Verdict

EVIL = "</td><script>alert(1)</script>|`x`\n# no heading"


def tried(saboteur, precision="fp32", drift=1e-3, gates=(), error="", tower="picture", **others):
    told = {"kind": "node", "what": "something", "batch": 1, "case": f"{tower}-{precision}"}
    return Tried(
        saboteur=saboteur, tower=tower, precision=precision, drift=drift, gates=gates, error=error, **(told | others)
    )


TRUE = [tried("", drift=1e-13), tried("", "int8", drift=1e-4)]


@pytest.mark.parametrize(
    ("in_float", "narrow", "gates", "verdict"),
    [
        (1e-3, 1e-3, ("mean",), Verdict.KILLED),
        (2.9e-4, 1e-4, (), Verdict.UNDETECTABLE),
        (3.1e-4, 1e-4, (), Verdict.LIVES),
        (1e-9, 3.1e-4, (), Verdict.LIVES),
        (None, 1e-4, (), Verdict.LIVES),
        (1e-9, None, (), Verdict.LIVES),
    ],
)
def test_what_drifts_beyond_three_times_the_precisions_own_must_be_killed(in_float, narrow, gates, verdict):
    one, other = tried("x", drift=in_float, gates=("mean",)), tried("x", "int8", drift=narrow, gates=gates)

    assert kills.verdict(other, [*TRUE, one, other]) is verdict


def test_a_cell_that_cannot_be_made_is_refused_and_does_not_live():
    other = tried("x", "int8", drift=None, error="no scale for NaN")

    assert kills.verdict(other, [*TRUE, tried("x"), other]) is Verdict.REFUSED


def test_another_batch_has_a_true_cell_of_its_own():
    true = tried("", "int8", drift=1e-3, batch=8)
    one, other = tried("x", drift=2e-3, batch=8), tried("x", "int8", drift=2e-3, batch=8)

    assert kills.verdict(other, [*TRUE, true, one, other]) is Verdict.UNDETECTABLE


def test_living_saboteurs_refused_true_cells_and_alarms_are_lines():
    told = Gates(
        model="m",
        tried=(
            tried("", drift=1e-13, gates=("mean",)),
            tried("", "int8", drift=1e-4, error="no device"),
            tried("x"),
            tried("x", "int8"),
        ),
        alarms=(Alarms(case="a", draws=1000, failed=1), Alarms(case="b", draws=500, failed=1)),
    )

    assert kills.living(told) == [
        "picture-fp32: x lives, with a drift of 0.001",
        "picture-int8: x lives, with a drift of 0.001",
        "picture-fp32: the true cell is refused: mean",
        "picture-int8: the true cell is refused: no device",
        "2 false alarms in 1500 draws",
    ]


def test_one_alarm_in_a_thousand_is_not_too_many():
    assert kills.living(Gates(model="m", tried=(), alarms=(Alarms(case="a", draws=1000, failed=1),))) == []


def test_the_matrix_has_a_row_for_each_and_the_published_figure_beside():
    told = Gates(
        model="m",
        tried=(
            *(tried("", each.precision, drift=each.drift, published_percent=99.75) for each in TRUE),
            tried("x", gates=("mean", "known drift"), published_percent=100.0),
            tried("x", "int8", drift=1e-4),
        ),
    )

    page = kills.page(told)

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    assert rows[0] == ["Saboteur", "fp32", "int8", "Drift in fp32", "Published accuracy (%)"]
    assert rows[1] == ["none (the true cell)", "drift 1e-13", "drift 0.0001", "1e-13", "99.8"]
    assert rows[2] == ["x", "mean, known drift", "**LIVES** (0.0001, own 0.0001)", "0.001", "100.0"]


def test_hostile_words_stay_words():
    told = Gates(
        model=EVIL,
        tried=(*TRUE, tried(EVIL, what=EVIL, gates=(EVIL,)), tried(EVIL, "int8", drift=None, error=EVIL)),
    )

    page = kills.page(told)

    assert "<script>" not in page
    assert "\n# no" not in page
