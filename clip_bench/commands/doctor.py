"""clip-bench doctor: is this machine fit to measure?"""

from __future__ import annotations

import argparse

from clip_bench.commands import tell

HELP = "what stands in the way of believable times here, now"


def add(parser: argparse.ArgumentParser) -> None:
    """How long, and how strict."""
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="N", help="how long to watch (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="exit status 1 where there is a warning")


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    from clip_bench import doctor

    found = doctor.signs(doctor.look(options.seconds))
    tell(map(str, found))
    return int(options.strict and any(each.level is doctor.Level.WARN for each in found))
