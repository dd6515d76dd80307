"""clip-bench ceilings: the roofs of the roofline."""

from __future__ import annotations

import argparse
import sys

from clip_bench.commands import add_flags, tell

HELP = "how fast a runtime here can multiply, and memory can be read"


def add(parser: argparse.ArgumentParser) -> None:
    """A run's options, and which ceilings."""
    from clip_bench.options import OPTIONS
    from clip_bench.specs import Precision

    add_flags(parser, OPTIONS)
    parser.add_argument("--device", action="append", choices=("cpu", "gpu", "npu"), help="(default: what is here)")
    parser.add_argument("--precision", action="append", choices=tuple(map(str, Precision)), help="(default: all)")


def run(options: argparse.Namespace) -> int:
    """Measure, and print the table; progress goes to stderr."""
    from clip_bench import backends, ceilings, settings
    from clip_bench.specs import Device, Precision

    chosen, runtimes = settings.checked(vars(options)), backends.discover()
    here = ceilings.here(chosen, runtimes)
    devices = map(Device, options.device) if options.device else {device for device, _ in here}
    precisions = [Precision(word) for word in options.precision or ()]
    wanted = {(device, each) for device in devices for each in precisions or {each for d, each in here if d is device}}
    return tell(ceilings.table(ceilings.measure(chosen, runtimes, wanted, _tell_apart)))


def _tell_apart(line: str) -> None:
    """Print a line of progress, where it is no part of what is asked for."""
    sys.stderr.write(f"{line}\n")
