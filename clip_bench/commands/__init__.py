"""The clip-bench command's subcommands: a module each, with its ``HELP``, ``add`` for its arguments, and ``run``.

A module imports what it works with when it runs: ``clip-bench --help`` stays fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from clip_bench import plain
from clip_bench.errors import UnavailableError

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


def needs(extra: str, *modules: str) -> None:
    """Refuse to begin without *modules*, which the optional set *extra* brings.

    Raises:
        UnavailableError: one is not installed.
    """
    if absent := [name for name in modules if find_spec(name) is None]:
        msg = f"{extra} needs {' and '.join(absent)}: pip install 'clip-bench[{extra}]'"
        raise UnavailableError(msg)


def tell(lines: Iterable[str]) -> int:
    """Print each line as it comes, whatever is in it as one."""
    for each in lines:
        sys.stdout.write(f"{plain.line(each)}\n")
        sys.stdout.flush()
    return 0
