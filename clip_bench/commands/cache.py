"""clip-bench cache: what the cache holds, and room in it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from clip_bench.commands import tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.inventory import Item

HELP = "what the cache holds, and room in it"
ASKED = "prune needs one of --older-than DAYS, --keep-size GB, --broken, --all"


def add(parser: argparse.ArgumentParser) -> None:
    """What to do, and to what."""
    parser.add_argument(
        "action", nargs="?", choices=("show", "prune"), default="show", help="show it (default), or remove from it"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--older-than", type=float, metavar="DAYS", help="prune what was not used for so long")
    which.add_argument(
        "--keep-size",
        type=float,
        metavar="GB",
        help="prune what was unused for longest, until no more than this is left",
    )
    which.add_argument("--broken", action="store_true", help="prune what no run can use; this reads every file")
    which.add_argument("--all", action="store_true", help="prune all that can be built again")
    parser.add_argument("--yes", action="store_true", help="remove it; without, prune only tells what would go")


def run(options: argparse.Namespace) -> int:
    """Print the table, or what goes; exit status 1 where something in use had to stay."""
    from clip_bench import inventory, store

    asked = options.older_than is not None or options.keep_size is not None or options.broken or options.all
    if options.action == "show" and (asked or options.yes):
        msg = "clip-bench cache only shows; clip-bench cache prune removes"
        raise UsageError(msg)
    if options.action == "prune" and not asked:
        raise UsageError(ASKED)
    root = store.default_root()
    found = inventory.items(root)
    if options.action == "show":
        return tell([f"The cache is {root}", "", *_table(found), *_notes(found)])
    chosen = _chosen(found, options)
    if not options.yes:
        tell(_lines(chosen))
        return tell([f"{_sum(chosen)} would go; add --yes to remove them" if chosen else "nothing to prune"])
    gone = [item for item in chosen if inventory.remove(item)]
    kept = [item for item in chosen if item not in gone]
    tell([f"{_sum(gone)} removed from {root}"])
    tell(f"kept, in use: {line}" for line in _lines(kept))
    return int(bool(kept))


def _chosen(found: Sequence[Item], options: argparse.Namespace) -> list[Item]:
    from clip_bench import inventory

    for flag in ("older_than", "keep_size"):
        value = getattr(options, flag)
        if value is not None and not (math.isfinite(value) and value >= 0):
            msg = f"--{flag.replace('_', '-')} {value:g}: a number from 0 on"
            raise UsageError(msg)
    if options.older_than is not None:
        return inventory.older(found, options.older_than)
    if options.keep_size is not None:
        return inventory.beyond(found, options.keep_size * 1e9)
    if options.all:
        return inventory.ours(found)
    return [item for item in inventory.searched(found) if item.state in inventory.SPENT]


def _table(found: Sequence[Item]) -> Iterator[str]:
    """A row for each step, model and precision, the largest first, and one for all."""
    from clip_bench.inventory import State
    from clip_bench.report.figures import clean, markdown

    def kind(item: Item) -> tuple[str, str, str]:
        return item.step, item.model, item.precision

    artifacts = sorted((item for item in found if item.state is State.WHOLE), key=kind)
    if not artifacts:
        yield "No artifact is in it."
        return
    groups = {names: list(items) for names, items in groupby(artifacts, kind)}
    groups = dict(sorted(groups.items(), key=lambda group: -sum(item.size_bytes for item in group[1])))
    groups["all", "", ""] = artifacts
    rows = [
        [
            *map(clean, names),
            str(len(items)),
            _megabytes(items),
            datetime.fromtimestamp(max(item.used_s for item in items), UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
        ]
        for names, items in groups.items()
    ]
    yield from markdown(["Step", "Model", "Precision", "Number", "Size (MB)", "Last used"], rows, left=3).splitlines()


def _notes(found: Sequence[Item]) -> Iterator[str]:
    """What no run reads, and what is there beside the artifacts."""
    from clip_bench.inventory import SPENT, State
    from clip_bench.plain import printable

    if spent := [item for item in found if item.state in SPENT]:
        yield ""
        for state in SPENT:
            if some := [item for item in spent if item.state is state]:
                yield f"{len(some)} {state}, {_megabytes(some)} MB"
        yield "no run reads these: clip-bench cache prune --broken"
    if others := [item for item in found if item.state is State.OTHER]:
        yield ""
        yield "never pruned:"
        yield from (f"{printable(item.path.name)}, {_megabytes([item])} MB" for item in others)


def _lines(items: Sequence[Item]) -> Iterator[str]:
    from clip_bench.inventory import State
    from clip_bench.plain import printable

    for item in items:
        kind = printable(" ".join(filter(None, (item.step, item.model, item.precision)))) or "an artifact"
        told = kind if item.state is State.WHOLE else item.state
        yield f"{told}, {_megabytes([item])} MB: {printable(str(item.path))}"


def _sum(items: Sequence[Item]) -> str:
    return f"{len(items)} of its folders, {_megabytes(items)} MB,"


def _megabytes(items: Sequence[Item]) -> str:
    from clip_bench.report.figures import fixed

    return fixed(sum(item.size_bytes for item in items) / 1e6, 1)
