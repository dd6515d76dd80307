"""A Ray cluster: its nodes and what they offer, cells sent to one of them, and what comes back."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clip_bench.errors import ClipBenchError, UnavailableError, UsageError
from clip_bench.fleet import node
from clip_bench.fleet.node import Task, Told
from clip_bench.graphs import hush

SUITE = ("conftest.py", "pyproject.toml", "clip_bench", "tests/bench")  # what a node needs of a checkout
OWN = frozenset({"CPU", "GPU", "memory", "object_store_memory"})  # Ray's own resources; the others have no such name
START = "start a cluster with: ray start --head, and give the address that it tells"
KNOCK_S = 5.0
PREFIXES = ("node:", "accelerator_type:")


class GoneError(Exception):
    """A node, or the process in it, died under a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A living node: its id, the address of its machine, and the targets that it was started with."""

    id: str
    host: str
    offers: frozenset[str]


def missing() -> str:
    """What is not installed, and how to get it; empty where nothing is."""
    from importlib.util import find_spec

    return "" if find_spec("ray") else "a fleet needs Ray: pip install 'clip-bench[ray]'"


@contextmanager
def connected(address: str, root: Path | None = None, names: Sequence[str] = ()) -> Iterator[Cluster]:
    """The cluster at *address*, whose nodes get copies of *names* below *root* for what is sent to them.

    Raises:
        UnavailableError: Ray is not installed.
        UsageError: there is no cluster, or this machine is none of its nodes.
    """
    if absent := missing():
        raise UnavailableError(absent)
    _reached(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # what a lost cluster leaves behind would start one of its own
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what dies, and what comes of that, is told in our words
    import ray

    with TemporaryDirectory(prefix="clip-bench-") as folder:
        if root is not None:
            _copied(root, names, Path(folder))
        try:
            with hush.hushed():  # it says that it says little
                ray.init(
                    address=address,
                    runtime_env=None if root is None else {"working_dir": folder},
                    log_to_driver=False,
                    logging_level="ERROR",
                )
        except (ConnectionError, RuntimeError, ValueError, AssertionError) as exc:
            msg = f"--ray {address}: {str(exc).strip().splitlines()[0]}; {START}; one with tokens wants RAY_AUTH_MODE=token"
            raise UsageError(msg) from exc
        try:
            yield Cluster()
        finally:
            ray.shutdown()


def _reached(address: str) -> None:
    """Knock: Ray itself would go on trying for minutes, and say so in many lines.

    Raises:
        UsageError: nobody answers, or *address* is none.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        msg = f"--ray {address}: neither HOST:PORT nor auto; {START}"
        raise UsageError(msg)
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
    except (OSError, OverflowError) as exc:
        msg = f"--ray {address}: nobody answers there ({exc}); {START}"
        raise UsageError(msg) from exc


class Cluster:
    """The cluster that this process is connected to."""

    def nodes(self) -> list[Node]:
        """Those that live, in an order that stays."""
        import ray

        return sorted(
            (
                Node(id=told["NodeID"], host=told["NodeManagerAddress"], offers=_offers(told["Resources"]))
                for told in ray.nodes()
                if told["Alive"]
            ),
            key=lambda each: (each.host, each.id),
        )

    def processors(self) -> float:
        """How many the nodes give to tasks."""
        import ray

        return float(ray.cluster_resources().get("CPU", 0))

    def send(self, place: Node, task: Task) -> Any:  # noqa: ANN401  Ray's handle
        """Have *place* measure the cell of *task*; a handle for :meth:`ended` and :meth:`told`."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        measure = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(node.measure)
        there = NodeAffinitySchedulingStrategy(place.id, soft=False)
        return measure.options(resources={task.target: 1}, scheduling_strategy=there).remote(task)

    def ended(self, under_way: Sequence[Any], seconds: float) -> list[Any]:
        """Those of *under_way* that have ended, after so many *seconds* at the latest."""
        import ray

        return list(ray.wait(list(under_way), num_returns=1, timeout=seconds)[0])

    def told(self, handle: Any) -> Told:  # noqa: ANN401  Ray's handle
        """What the node told.

        Raises:
            GoneError: it died first.
            ClipBenchError: it could not measure the cell.
        """
        import ray

        try:
            found: Told = ray.get(handle)
        except ray.exceptions.RayTaskError as exc:
            cause = exc.as_instanceof_cause()
            if isinstance(cause, ClipBenchError):
                raise ClipBenchError(str(exc.cause)) from exc
            msg = f"{type(exc.cause).__name__} on the node: {exc.cause}"
            raise ClipBenchError(msg) from exc
        except ray.exceptions.RuntimeEnvSetupError as exc:
            msg = f"the node could not set up a copy of the suite: {exc}"
            raise ClipBenchError(msg) from exc
        except ray.exceptions.RayError as exc:
            raise GoneError(str(exc).strip().splitlines()[0]) from exc
        return found


def _offers(resources: dict[str, float]) -> frozenset[str]:
    return frozenset(
        name for name, count in resources.items() if name not in OWN and not name.startswith(PREFIXES) and count >= 1
    )


def _copied(root: Path, names: Sequence[str], folder: Path) -> None:
    for name in names:
        path = root / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, folder / name)
