"""What a vendor's toolchain prints stays off the terminal, and is kept."""

import os
import sys
import warnings

from clip_bench.graphs.hush import hushed


def test_what_is_printed_under_the_hush_is_kept_and_not_shown(capfd):
    with hushed() as printed:
        sys.stdout.write("from Python\n")
        sys.stderr.write("an error\n")
        os.write(1, b"from C\n")
        warnings.warn("about itself", stacklevel=1)
    sys.stdout.write("after\n")

    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("after\n", "")
    assert sorted(printed.text.splitlines()) == ["an error", "from C", "from Python"]


def test_a_stream_that_was_taken_under_the_hush_can_still_be_written_to(capfd):
    with hushed():
        kept = sys.stderr

    kept.write("later\n")

    assert capfd.readouterr().err == "later\n"
