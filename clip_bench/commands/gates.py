"""clip-bench gates: what the gates catch."""

from __future__ import annotations

import argparse
import sys

from clip_bench.commands import add_flags, choosing, tell

HELP = "try every gate on broken pipelines: which saboteur is killed, at which precision"
DRAWS = 250  # of each true cell: 3,500 of the default matrix, of which one in a thousand shows


def add(parser: argparse.ArgumentParser) -> None:
    """Which saboteurs, towers and precisions."""
    from clip_bench.options import OPTIONS
    from clip_bench.trial import TARGETS, TOWERS

    parser.add_argument(
        "--saboteur", action="append", default=[], metavar="NAME", help="may be repeated (default: all)"
    )
    parser.add_argument("--tower", action="append", choices=tuple(map(str, TOWERS)), help="may be repeated")
    parser.add_argument(
        "--precision", action="append", choices=tuple(map(str, TARGETS)), help="may be repeated; fp32 is always tried"
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        metavar="N",
        help="how often each true cell is judged with noise added, to count false alarms; 0 for none (default: %(default)s)",
    )
    add_flags(parser, [(flag, told) for flag, told in OPTIONS if flag == "--threads"])
    choosing.add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Print the kill matrix; the exit status is 1 where a saboteur lives or a true cell does not."""
    from clip_bench import backends, trial
    from clip_bench.report import kills
    from clip_bench.specs import Precision, Tower

    chosen = trial.saboteurs(options.saboteur)
    choosing.writable("--json", options.json)
    settings = choosing.settings_of(options)
    told = trial.run(
        settings,
        backends.discover(),
        chosen=chosen,
        towers=[Tower(word) for word in options.tower or trial.TOWERS],
        precisions=[Precision(word) for word in options.precision or trial.TARGETS],
        draws=options.draws,
        say=lambda line: sys.stderr.write(f"{line}\n"),
    )
    choosing.keep(options, told, settings.threads)
    living = kills.living(told)
    tell([*kills.page(told).splitlines(), "", *(living or ["every gate held"])])
    return int(bool(living))
