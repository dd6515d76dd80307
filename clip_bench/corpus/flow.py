"""Ray Data: units to readers on any node with processors, pixels to the nodes that offer the target, embeddings back here."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.corpus import work
from clip_bench.corpus.sources import Unit
from clip_bench.corpus.work import Task
from clip_bench.errors import ClipBenchError, UnavailableError
from clip_bench.fleet import cluster
from clip_bench.fleet.cluster import GoneError, Node
from clip_bench.plain import said

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = Path(work.__file__).parents[1]  # which the nodes shall have as it is here
PATIENCE_S = 30.0  # for a node that offers the target: it may be starting, or starting again
LOOK_S = 1.0  # between two looks at which nodes live
BLOCK = 16 << 20  # bytes of pixels that go from one worker to another at once


def embedded(units: Mapping[int, Unit], *, task: Task, address: str) -> Iterator[pa.Table]:
    """The rows of *units*, in any order, from a session on each node at *address* that offers the target of *task*.

    Raises:
        GoneError: one of these nodes died, whose session Ray would wait for, or what it held is lost.
        UnavailableError: no node offers the target, or none a processor, or Ray is not installed.
        ClipBenchError: there is no cluster, or a worker cannot do what it is asked.
    """
    target = str(task.case.target)
    with cluster.connected(address, PACKAGE.parent, [PACKAGE.name]) as nodes:
        holders = offering(nodes.nodes, target)
        if not nodes.processors():  # for which Ray would wait
            msg = "no node of the cluster has a processor to decode with: ray start --num-cpus N"
            raise UnavailableError(msg)
        yield from watched(_rows(units, task, len(holders)), lambda: holders - {each.id for each in nodes.nodes()})


def offering(
    nodes: Callable[[], Sequence[Node]], target: str, sleep: Callable[[float], object] = time.sleep
) -> frozenset[str]:
    """Which of *nodes*, by their ids, offer *target*, once one does.

    Raises:
        UnavailableError: none does for a while.
    """
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if found := frozenset(each.id for each in nodes() if target in each.offers):
            return found
        sleep(LOOK_S)
    msg = f"no node of the cluster offers {target}: ray start --resources='{{\"{target}\": 1}}', or see clip-bench list --ray"
    raise UnavailableError(msg)


def watched(rows: Iterator[pa.Table], lost: Callable[[], object]) -> Iterator[pa.Table]:
    """What *rows* gives, as long as nothing is *lost*: it would wait for that, and for ever.

    Raises:
        GoneError: something is.
    """
    pool = ThreadPoolExecutor(1)
    try:
        while True:
            following = pool.submit(next, rows, None)
            while not wait([following], LOOK_S).done:
                if lost():
                    msg = "it is no longer among the nodes"
                    raise GoneError(msg)
            if (table := following.result()) is None:
                return
            yield table
    finally:
        pool.shutdown(wait=False)


def _rows(units: Mapping[int, Unit], task: Task, sessions: int) -> Iterator[pa.Table]:
    from ray.data import ActorPoolStrategy, DataContext, from_items

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it tells is told below
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK
    context.max_consecutive_actor_init_deaths = 0
    context.raise_original_map_exception = True
    told = pickle.dumps(task)
    try:
        yield from (
            from_items(work.planned(units), override_num_blocks=len(units))
            .map_batches(work.decode, batch_size=1, batch_format="pyarrow", num_cpus=1, fn_args=(told,))
            .map_batches(
                work.Encode,
                batch_size=task.rows,
                batch_format="pyarrow",
                fn_constructor_args=(told,),
                compute=ActorPoolStrategy(size=sessions, max_tasks_in_flight_per_actor=2),  # one of them waits
                num_cpus=0,
                resources={str(task.case.target): 1},
            )
            .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        )
    except Exception as exc:
        raise ours(exc) from exc


def ours(exc: Exception) -> Exception:
    """What Ray raised in our words: :class:`GoneError` where a node or a process died, else what a worker could not do."""
    from ray import exceptions

    several = list(_causes(exc))
    gone = (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.NodeDiedError,
    )
    for each in several:
        if isinstance(each, ClipBenchError):
            return ClipBenchError(said(getattr(each, "cause", None) or each))
    for each in several:
        if isinstance(each, gone):
            return GoneError(said(each))
    return ClipBenchError(f"{type(several[-1]).__name__} on a node: {said(several[-1])}")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """*exc*, what it came of, and so on."""
    following: BaseException | None = exc
    while isinstance(following, BaseException):
        yield following
        following = getattr(following, "cause", None) or following.__cause__
