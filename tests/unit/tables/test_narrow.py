"""Tables on a terminal: no line wraps, and what did not end ok is told by reason."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.record import Outcome
from clip_bench.report import frame, narrow, summary, terminal
from clip_bench.report.missed import INDENT, SHOWN, missed, tally
from clip_bench.runfile import read


@pytest.fixture(scope="module")
def run():
    return read(Path(__file__).parent / "golden" / "run.json")


@pytest.mark.parametrize("columns", [60, 80, 120, 200], ids=str)
def test_no_line_of_the_tables_wraps(run, columns):
    assert narrow.fits(terminal(frame([run]), columns), columns)


def test_eighty_columns_keep_every_cell_and_what_tells_most(run):
    wide, told = terminal(frame([run])), terminal(frame([run]), 80)

    rows = [line for line in told.splitlines() if line.startswith("- ")]
    assert len(rows) == wide.count("Model, ") - wide.count("| Vision Model, shapes_tiny, fp32 |             0.0069")
    assert "Avg ms" in told
    assert "Acc %" in told
    assert "Min /s" not in told
    assert narrow.NOTE.format(columns=80) in " ".join(told.split())


def test_a_terminal_that_is_wide_enough_shows_what_a_file_would_hold(run):
    told, whole = terminal(frame([run]), 250), terminal(frame([run]))

    assert [line for line in told.splitlines() if "|" in line] == [line for line in whole.splitlines() if "|" in line]
    assert narrow.NOTE.format(columns=250) not in told


@given(
    words=st.lists(st.text("abc-", min_size=1, max_size=120), min_size=1, max_size=5),
    columns=st.integers(40, 200),
)
def test_the_first_figure_fits_beside_words_of_any_length(words, columns):
    heads = ["Model", *narrow.TELLING]

    told = narrow.table(heads, [[word, *("1234567.89" for _ in narrow.TELLING)] for word in words], columns)

    assert narrow.fits(told, columns)
    assert "Avg ms" in told


def ended(run, *endings):
    """The first cells of the run, each with such an outcome and reason."""
    entries = [
        dataclasses.replace(
            entry,
            outcome=outcome,
            reason=reason,
            record=dataclasses.replace(entry.record, timing=None, quality=None),
        )
        for entry, (outcome, reason) in zip(run.entries, endings, strict=False)
    ]
    return frame([dataclasses.replace(run, entries=tuple(entries))])


def test_cells_of_one_reason_are_told_together_with_how_many_they_are(run):
    (told, _), (cells, _) = [
        (line, outcome) for outcome, line in missed(ended(run, *[(Outcome.FAILED, "no luck")] * 4))
    ]

    assert told == "4 failed: no luck"
    assert cells.startswith(f"{INDENT}image-shapes_tiny-")


def test_what_is_wrong_comes_before_what_is_not_here_and_what_is_well_is_not_told(run):
    lines = missed(
        ended(run, (Outcome.OK, ""), *[(Outcome.SKIPPED, "no device")] * 3, (Outcome.FALLBACK, "ran elsewhere"))
    )

    assert [line for _, line in lines if not line.startswith(INDENT)] == [
        "1 fallback: ran elsewhere",
        "3 skipped: no device",
    ]
    assert {outcome for outcome, _ in lines} == {Outcome.FALLBACK, Outcome.SKIPPED}


def test_more_reasons_than_a_screen_holds_are_counted(run):
    endings = [(Outcome.FAILED, f"error {index}") for index in range(len(run.entries))]

    *_, (_, last) = missed(ended(run, *endings))

    rest = len(endings) - SHOWN
    assert last == f"and {rest} cells for {rest} other reasons: their lines are above"


def test_a_reason_is_one_line_without_codes_and_no_longer_than_a_paragraph(run):
    (_, told), _ = missed(ended(run, (Outcome.FAILED, "a\x1b[31m\nb" + "c" * 5000)))

    assert told.startswith("1 failed: a [31m bccc")
    assert len(told) < 400


@pytest.mark.parametrize("columns", [40, 80, 120], ids=str)
def test_reasons_are_wrapped_where_they_are_long(run, columns):
    endings = [(Outcome.SKIPPED, "this runtime is not installed: pip install 'clip-bench[cuda]' and a driver")] * 9

    assert all(len(line) < columns for _, line in missed(ended(run, *endings), columns))


def test_a_run_in_which_all_is_well_has_nothing_to_tell(run):
    assert missed(ended(run, (Outcome.OK, ""))) == []


def test_outcomes_are_counted_in_their_order():
    assert tally([Outcome.SKIPPED, Outcome.OK, Outcome.OK]) == "2 ok, 1 skipped of 3 planned"
    assert tally([]) == "none of 0 planned"


def test_a_run_is_summed_up_by_its_table_then_what_it_missed_then_how_all_ended(run):
    whole, narrowed = list(summary.lines(run, (50, 90))), list(summary.lines(run, (50, 90), 72))

    outcomes = [outcome for outcome, _ in whole if outcome]
    assert whole[0] == ("", terminal(frame([run])).rstrip("\n") + "\n")
    assert [(each, line) for each, line in whole if each] == missed(frame([run]))
    assert outcomes == sorted(outcomes, key=lambda each: each == Outcome.SKIPPED)
    assert whole[-1] == ("", f"{tally([entry.outcome for entry in run.entries])}.")
    assert all(narrow.fits(line, 72) for _, line in (narrowed[0], *narrowed[2:]))


def test_a_profile_is_of_loads_and_where_that_is_asked_for_of_single_requests_too(run):
    loaded, both = ([line for _, line in summary.lines(run, (50,), alone=alone)][1] for alone in (False, True))

    assert loaded.count("| latency") < both.count("| latency")
