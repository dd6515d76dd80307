"""A corpus: pictures decoded and embedded by the nodes of a Ray cluster, in shards that this process gathers and writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from clip_bench.corpus.shards import Shards
from clip_bench.corpus.sources import Unit
from clip_bench.embed import Summary
from clip_bench.errors import ClipBenchError, UsageError
from clip_bench.fleet.cluster import GoneError

if TYPE_CHECKING:
    import pyarrow as pa

TRIES = 3  # in a row that end without one more shard

Embedded = Callable[[Mapping[int, Unit]], Iterable["pa.Table"]]  # the rows of units, in any order


def run(
    shards: Shards,
    embedded: Embedded,
    progress: Callable[[int], object] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> Summary:
    """Write the *shards* that are left; where nodes die, those that live begin again what was under way.

    *progress* gets the number of pictures of each shard that is written, *say* a line for the user.

    Raises:
        UsageError: a shard cannot be written, a source cannot be reached, or no picture could be read.
        ClipBenchError: a worker cannot do what it is asked, or nodes died again and again.
    """
    summary = Summary()
    for shard in shards.written.values():
        summary.before += shard.rows
        summary.bad.update(shard.bad)
    progress(summary.before + len(summary.bad))
    began, tries = time.perf_counter(), 0
    shards.keep()  # whose folder it is, and whether it can be written
    try:
        while shards.left:
            before = len(shards.written)
            try:
                for rows in embedded(shards.left):
                    for shard in shards.add(rows):
                        summary.images += shard.rows
                        summary.bad.update(shard.bad)
                        progress(shard.rows + len(shard.bad))
            except GoneError as exc:
                tries = 0 if len(shards.written) > before else tries + 1
                if tries == TRIES:
                    msg = f"{TRIES} times in a row a node died before one more shard was whole: {exc}"
                    raise ClipBenchError(msg) from exc
                shards.under_way.clear()
                say(
                    f"a node died, or a process on it ({exc}); {len(shards.left)} shards are left, and go on without it"
                )
    finally:
        shards.keep()
    summary.seconds = time.perf_counter() - began
    if not summary.images + summary.before:
        name, reason = next(iter(summary.bad.items()))
        msg = f"no picture could be read; the first: {name}: {reason}"
        raise UsageError(msg)
    return summary
