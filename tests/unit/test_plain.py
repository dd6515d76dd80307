"""What is printed of names and errors, which may hold anything."""

import pytest

from clip_bench import plain


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("cut\nat byte 9"), "cut"),
        (EOFError(), "EOFError"),
        (RuntimeError("\nbelow"), "RuntimeError"),
        (OSError(2, "No such file", "a.png"), "[Errno 2] No such file: 'a.png'"),
    ],
    ids=["lines", "silent", "blank", "system"],
)
def test_an_error_says_its_first_line_or_of_what_kind_it_is(error, told):
    assert plain.said(error) == told
