"""What the subcommands share."""

import pytest

from clip_bench import commands
from clip_bench.errors import UnavailableError


def test_what_is_not_installed_is_named_with_the_set_that_brings_it():
    commands.needs("embed", "json", "csv")

    with pytest.raises(
        UnavailableError, match=r"^embed needs no_such_one and nor_this: pip install 'clip-bench\[embed\]'$"
    ):
        commands.needs("embed", "no_such_one", "json", "nor_this")
