"""Cells as the suite makes them, for scripts that measure it: built, loaded, and called once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clip_bench import backends, loading, machine, matrix, pipeline, store
from clip_bench.backends import format_of
from clip_bench.settings import Settings
from clip_bench.specs import Case, Load
from clip_bench.store import Artifact


def settings(*models: str, load: Load | None = None) -> Settings:
    """The options of a plain run of *models*: the same store, samples and threads."""
    return Settings(
        models=models,
        full=False,
        samples=None,
        data=None,
        weights=None,
        threads=machine.cores(),
        rounds=64,
        cache=store.default_root(),
        loads=(load or Load(),),
    )


def here(options: Settings) -> dict[str, Case]:
    """The cells of *options* that this machine can run, as far as is known without loading them."""
    found = backends.discover()
    lacks = matrix.lacking(options, found)
    return {case.id: case for case in matrix.cells(options, found) if not lacks(case)}


def artifact_of(case: Case, options: Settings) -> Artifact:
    """What the session of *case* is loaded from."""
    return loading.build(case, format_of(backends.discover()[case.target.backend], case.target), options)


@contextmanager
def loaded(case: Case, options: Settings) -> Iterator[pipeline.Prepared]:
    """*case* as it is when its rounds begin: its first calls are made, and its placement was asked before and after."""
    prepared = pipeline.prepare(case, backends.discover(), options)
    try:
        for each in (prepared.session, *prepared.others):
            each.placement()
            each.run(prepared.calls[0])
            each.placement()
        yield prepared
    finally:
        prepared.close()
