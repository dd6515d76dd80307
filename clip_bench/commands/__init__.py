"""The clip-bench command's subcommands: a module each, with its ``HELP``, ``add`` for its arguments, and ``run``.

A module imports what it works with when it runs: ``clip-bench --help`` stays fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from clip_bench import plain

Flags = Sequence[tuple[str, Mapping[str, Any]]]


class Command(Protocol):
    """What a module of this package offers."""

    HELP: str

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; the exit status."""


def add_flags(parser: argparse.ArgumentParser, flags: Flags) -> None:
    """Options that pytest has as well."""
    for flag, attributes in flags:
        parser.add_argument(flag, **attributes)


def tell(lines: Iterable[str]) -> int:
    """Print each line as it comes, whatever is in it as one."""
    for each in lines:
        sys.stdout.write(f"{plain.line(each)}\n")
        sys.stdout.flush()
    return 0
