"""The contract that a backend fulfils, and how backends are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.specs import Format, Precision, Target, Variant
from clip_bench.store import Artifact

GROUP = "clip_bench.backends"

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to load an artifact: the precision to execute in, threads (intra-op), and the case's variant."""

    precision: Precision
    threads: int
    variant: Variant = field(default_factory=Variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the graph really runs, by the runtime's own evidence.

    ``nodes`` counts graph nodes per device or provider, ``dtypes`` nodes per executed data type; empty where the
    runtime does not tell. ``note`` says what a reader must know, such as which layers stayed float.
    """

    nodes: Mapping[str, int]
    dtypes: Mapping[str, int]
    note: str = ""


class Session(Protocol):
    """An artifact loaded on a target, ready to run."""

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run the graph once: named arrays in, named arrays out; returns when the result is on the host."""

    def placement(self) -> Placement:
        """Where and in which data type the nodes execute, as far as the runtime tells."""

    def close(self) -> None:
        """Release what the session holds; it is not used again."""


class Backend(Protocol):
    """A module with these two names is a backend; no class is needed.

    It may also offer ``FORMAT`` (the :class:`Format` it loads, ONNX if absent), ``VARIANTS`` (the variants beyond
    the plain one, and their precisions, per target) and ``devices()`` (per target, why it cannot run here; empty
    where it can).
    """

    @property
    def TARGETS(self) -> Mapping[Target, frozenset[Precision]]:  # noqa: N802  a constant of the module
        """What could run on some machine. Imports no runtime to say so."""

    def load(self, artifact: Artifact, target: Target, options: Options) -> Session:
        """Place *artifact* on *target*, or say why not.

        Raises:
            UnavailableError: this machine lacks the device or the package.
            UnsupportedError: the runtime cannot express the graph.
            PlacementError: the runtime chose another device.
        """


def discover(points: Iterable[EntryPoint] | None = None) -> dict[str, Backend]:
    """Load every declared backend, sorted by name.

    Raises:
        UsageError: two packages declare one name; neither is loaded, as ids would not tell them apart.
    """
    declared = list(entry_points(group=GROUP) if points is None else points)
    for name, count in Counter(point.name for point in declared).items():
        if count > 1:
            claims = ", ".join(sorted(_claim(point) for point in declared if point.name == name))
            msg = f"backend {name!r} is declared {count} times ({claims}); uninstall all but one of the packages"
            raise UsageError(msg)
    return {point.name: point.load() for point in sorted(declared, key=lambda point: point.name)}


def format_of(backend: Backend) -> Format:
    """The graph format that *backend* loads."""
    return getattr(backend, "FORMAT", Format.ONNX)


def variants_of(backend: Backend, target: Target) -> Mapping[Variant, frozenset[Precision]]:
    """The variants that *backend* offers on *target* beyond the plain one, each with its precisions."""
    offered: Mapping[Target, Mapping[Variant, frozenset[Precision]]] = getattr(backend, "VARIANTS", {})
    return offered.get(target, {})


def missing(backend: Backend) -> Mapping[Target, str] | None:
    """Per target, what this machine lacks (empty: nothing); None where the backend cannot tell without loading."""
    devices = getattr(backend, "devices", None)
    return None if devices is None else devices()


def _claim(point: EntryPoint) -> str:
    """The module that *point* names, and the package it comes from where the metadata tells."""
    return point.value if point.dist is None else f"{point.value} of {point.dist.name}"
