"""One cell on a node of a fleet: supervised, in the environment of its runtime, with the machine to itself."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import psutil

from clip_bench import jsonfile, locks, supervise
from clip_bench.errors import ClipBenchError
from clip_bench.journal import Journal
from clip_bench.supervise import Limits

ENVIRONMENTS = "CLIP_BENCH_ENVS"  # names the folder of a node's environments, each called as tox calls it
THREADS = "OMP_NUM_THREADS"  # Ray sets it to 1 where a task has no processor of Ray's, as none here has
SHOWN = 400  # characters of what pytest said last, where it never got to the cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A cell to measure: its id, its target, what pytest is told, and what the cell may take."""

    case: str
    target: str
    arguments: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a node tells of a cell: the line of a journal with which it ended, and the facts of the machine."""

    line: dict[str, Any]
    machine: dict[str, Any]


def measure(task: Task) -> Told:
    """Measure the cell of *task* on this machine, once it is nobody else's, in a copy of the suite: the working folder.

    Raises:
        ClipBenchError: pytest did not get to the cell; its last words are in the message.
    """
    python = interpreter(task.target, os.environ.get(ENVIRONMENTS, ""))
    restored(THREADS)
    with (
        locks.timing(f"timing {task.case}"),
        TemporaryDirectory(prefix="clip-bench-") as home,
        TemporaryFile() as said,
    ):
        journal = Journal.opened(Path(home, "cell.jsonl"), locked=True)
        try:
            arguments = [*task.arguments, "--reports", home]
            supervise.ask(journal, arguments, Path.cwd(), task.limits, python=python)
            supervise.supervise(journal, task.limits, lambda _: None, output=said.fileno())
        finally:
            journal.close()
        line = journal.story.ended.get(task.case)
        files = [*Path(home).glob("*/*.json")]
        if line is None or not files:
            msg = f"pytest did not get to the cell, with {python}: {_last(said)}"
            raise ClipBenchError(msg)
        facts = jsonfile.load(files[0], "run the cell again")["machine_info"]["clip_bench"]
    return Told(line={**line}, machine=facts)


def interpreter(target: str, environments: str) -> str:
    """The Python that measures *target* here: that of the first of *environments* named after it, or this one.

    An environment may have the name of the target, of its provider, of its backend or of its device, as tox.ini has them:
    for ``onnxruntime-qnn-npu`` these are ``onnxruntime-qnn-npu``, ``qnn``, ``onnxruntime`` and ``npu``.
    """
    backend, *provider, device = target.split("-")
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    for name in (target, "-".join(provider), backend, device) if environments else ():
        python = Path(environments, name, *inside)
        if name and python.is_file():
            return str(python)
    return sys.executable


def restored(name: str) -> None:
    """Give a variable the value that the node was started with: that of Ray's own process, which started this one."""
    parent = psutil.Process().parent()
    try:
        before = parent.environ().get(name) if parent else None
    except psutil.Error:
        before = None
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before


def _last(said: IO[bytes]) -> str:
    """The last words of what pytest said, in one line."""
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - SHOWN))
    return " ".join(said.read().decode(errors="replace").split()) or "it said nothing"
