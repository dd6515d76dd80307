"""clip-bench list: cells and devices."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clip_bench.commands import add_flags

if TYPE_CHECKING:
    from clip_bench.backends import Backend

HELP = "every case and every device: will it run here, or why not"


def add(parser: argparse.ArgumentParser) -> None:
    """A run's options and loads."""
    from clip_bench.options import LOADS, OPTIONS

    parser.add_argument("--devices", action="store_true", help="list devices and options alone, not every case")
    parser.add_argument(
        "--resources",
        action="store_true",
        help='print the targets that are here as ray start takes them: --resources "$(clip-bench list --resources)"',
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="list what the nodes of this Ray cluster offer (HOST:PORT, or auto)"
    )
    add_flags(parser, (*OPTIONS, *LOADS))


def run(options: argparse.Namespace) -> int:
    """Print a line for each."""
    from dataclasses import replace

    from clip_bench import backends, matrix, settings

    chosen, found = settings.checked(vars(options)), backends.discover()
    if options.resources:
        here = [
            target
            for each in found.values()
            for target, it in backends.found(each, chosen.by_name).items()
            if not it.missing
        ]
        sys.stdout.write(json.dumps({str(target): 1 for target in here}) + "\n")
        return 0
    if options.ray:
        return _tell_fleet(options.ray, [str(case.target) for case in matrix.cells(chosen, found)])
    planned = {case.id for case in matrix.cells(chosen, found)}
    lacking, ready = matrix.lacking(chosen, found), 0
    for case in matrix.cells(replace(chosen, full=True), found):
        reason = lacking(case)
        ready += not reason
        state = f"not here: {reason}" if reason else "will run" if case.id in planned else "will run with --full"
        if not options.devices:
            sys.stdout.write(f"{case.id}  {state}\n")
    _tell_devices(found, chosen.by_name)
    sys.stdout.write(f"{ready} cells can run here; {len(planned)} are in this selection\n")
    return 0


def _tell_fleet(address: str, wanted: Sequence[str]) -> int:
    """A line per node of a fleet; how many of the cells that want these targets have one."""
    from clip_bench.fleet import cluster
    from clip_bench.plain import plural

    with cluster.connected(address) as connected:
        nodes = connected.nodes()
    for number, each in enumerate(nodes, 1):
        sys.stdout.write(f"node {number}  {each.host}  {', '.join(sorted(each.offers)) or 'offers no target'}\n")
    offered = {target for each in nodes for target in each.offers}
    served = sum(target in offered for target in wanted)
    places = f"{plural(len(nodes), 'node')} on {plural(len({each.host for each in nodes}), 'machine')}"
    sys.stdout.write(f"{places}; {served} of {len(wanted)} cells of this selection have one\n")
    return 0


def _tell_devices(found: Mapping[str, Backend], given: Mapping[str, Mapping[str, str]]) -> None:
    """A line per target: the device that was found, or what to install or plug in; then the options there are."""
    from clip_bench import backends

    for backend in found.values():
        for target, here in backends.found(backend, given).items():
            state = f"not here: {here.missing}" if here.missing else f"here: {here.device}"
            sys.stdout.write(f"device {target}  {state}\n")
    for backend in found.values():
        for name, keys in backends.options_of(backend).items():
            for key, meaning in keys.items():
                sys.stdout.write(f"option {name}.{key}  {meaning}\n")
