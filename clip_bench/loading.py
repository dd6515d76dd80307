"""What a cell is loaded from, and on: its artifact, what this machine has of its target, and a session for each instance."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache

from clip_bench import graphs
from clip_bench.backends import Backend, Found, Options, Session, found, setting_of
from clip_bench.change import Change
from clip_bench.errors import UnavailableError
from clip_bench.evaluation import UNCHANGED, calibration, calls, feeds, reference_of, source
from clip_bench.graphs import Graph, replay
from clip_bench.matrix import no_reference
from clip_bench.memory import Step
from clip_bench.settings import Settings
from clip_bench.specs import Case, Device, Format
from clip_bench.store import Artifact, Store


def here(case: Case, backend: Backend, settings: Settings) -> Found:
    """What this machine has of the target of *case*.

    Raises:
        UnavailableError: not all that it takes.
    """
    what = found(backend, settings.by_name).get(case.target, Found())
    if reason := what.missing or no_reference():
        raise UnavailableError(reason)
    if case.target.device is Device.CPU and case.variant.load.instances > settings.threads:
        msg = f"{case.variant.load.instances} instances share {settings.threads} threads: each needs one (--threads)"
        raise UnavailableError(msg)
    if case.variant.load.device_ids != (0,) and case.target not in getattr(backend, "NUMBERED", ()):
        msg = f"{case.target} is one device: leave --device-ids out"
        raise UnavailableError(msg)
    return what


def build(
    case: Case,
    format: Format,  # noqa: A002  the house's word for it
    settings: Settings,
    change: Change = UNCHANGED,
) -> Artifact:
    """The artifact of *case*: a graph at a precision, or for the null backend the reference's answers."""
    store = Store(settings.cache)
    if format is Format.REPLAY:
        fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
        answers = reference.outputs(fed, case.tower)
        return replay.build(store, reference.artifact, case.tower, calls(settings, case), answers)
    return graphs.build(graph_of(case, settings, change), case.precision, format)


def graph_of(case: Case, settings: Settings, change: Change = UNCHANGED) -> Graph:
    """What a recipe makes the artifact of *case* from."""
    return Graph(
        source=change.source(source(settings, case.model)),
        mask=change.mask,
        tower=case.tower,
        batch=case.variant.batch,
        store=Store(settings.cache),
        calibration=lambda: calibration(settings, case.model),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
    )


def sessions(case: Case, backend: Backend, artifact: Artifact, settings: Settings) -> list[Session]:
    """Every instance of *case*: one session for each, or for each device where the runtime holds several in one.

    Instances share the threads of the run; a runtime that holds them divides these itself.
    """
    asked = case.variant.load
    held = case.target in getattr(backend, "QUEUED", ())
    options = Options(
        precision=case.precision,
        threads=settings.threads if held else max(1, settings.threads // asked.instances),
        store=Store(settings.cache),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
        instances=asked.instances if held else 1,
        depth=asked.depth,
    )
    numbers = [None] if asked.device_ids == (0,) else asked.device_ids
    with ExitStack() as stack:
        opened = []
        for number in numbers:
            for _ in range(1 if held else asked.instances):
                opened.append(backend.load(artifact, case.target, replace(options, device_id=number)))
                stack.callback(opened[-1].close)
        stack.pop_all()
    return opened


@lru_cache
def imported(module: str) -> tuple[Step, ...]:
    """What the import of a runtime's *module* takes a fresh process, whose files the system may have read before."""
    if not module:
        return ()
    code = "import time; from clip_bench import memory; w = memory.Watch.start(); t = time.perf_counter(); "
    code += f"import {module}; print(time.perf_counter() - t, w.lap())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  ourselves
    if told.returncode:
        return ()
    seconds, peak = told.stdout.split()[-2:]
    return (Step(name="import", seconds=float(seconds), peak_bytes=None if peak == "None" else int(peak)),)
