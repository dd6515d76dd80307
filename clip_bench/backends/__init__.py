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
from clip_bench.specs import Format, Precision, Rewrite, Target, Variant
from clip_bench.store import Artifact, Store, default_root

GROUP = "clip_bench.backends"

Arrays = Mapping[str, NDArray[np.generic]]
NARROW = frozenset({"f16", "bf16", "float16", "bfloat16"})  # floats that are no float32, in the words of the runtimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to load an artifact: the precision to execute in, threads (intra-op), and the case's variant.

    ``settings`` are the user's ``--option NAME.KEY=VALUE`` whose NAME is the target's backend or its provider.
    ``store`` takes what a runtime compiles, as an artifact derived from the one that is loaded. ``device_id`` is the
    number of the device, of several alike, where the user names one. ``instances`` and ``depth`` are for a session with
    a queue of its own: how many requests it executes at the same time, and how many it holds.
    """

    precision: Precision
    threads: int
    variant: Variant = field(default_factory=Variant)
    settings: Mapping[str, str] = field(default_factory=dict)
    store: Store = field(default_factory=lambda: Store(default_root()))
    device_id: int | None = None
    instances: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the graph really runs, by the runtime's own evidence.

    ``nodes`` counts graph nodes per device or provider, ``dtypes`` nodes per executed data type; empty where the
    runtime does not tell. ``asked`` is the one of ``nodes`` that the target means. ``share`` is the part of the nodes
    that may run elsewhere, for a runtime that has no switch against fallback. ``note`` says what a reader must know,
    such as which layers stayed float; ``options`` what the runtime was told. ``first_call_s`` is what the nodes of the
    first call took, by place and type (empty where it is not told), of a runtime that tells it without being timed.
    ``flags`` is what it tells of itself that decides whether the same call gives the same bits.
    """

    nodes: Mapping[str, int]
    dtypes: Mapping[str, int]
    asked: str
    share: float = 0.0
    note: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    first_call_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)

    def fault(self, precision: Precision) -> str:
        """Why a cell of *precision* may not be timed: work elsewhere, or in another type; empty where it may."""
        total = sum(self.nodes.values())
        elsewhere = total - self.nodes.get(self.asked, 0)
        if self.nodes and (not total or elsewhere > self.share * total):
            where = ", ".join(f"{count} nodes on {name}" for name, count in self.nodes.items())
            allowed = f", where {self.share:.0%} may run elsewhere" if self.share else ""
            return f"asked for {self.asked}{allowed}, and the runtime placed {where}"
        narrow = {name: count for name, count in self.dtypes.items() if name in NARROW}
        if precision is Precision.FP32 and narrow:
            told = ", ".join(f"{count} nodes in {name}" for name, count in narrow.items())
            return f"asked for fp32, and the runtime executed {told}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What this machine has of a target.

    ``missing`` says what to install or plug in, empty where it can run; ``device`` names what was found, with the
    versions of its driver and runtime as far as they are told.
    """

    missing: str = ""
    device: str = ""


class Session(Protocol):
    """An artifact loaded on a target, ready to run."""

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run the graph once: named arrays in, named arrays out; returns when the result is on the host."""

    def placement(self) -> Placement:
        """Where and in which data type the nodes execute, as far as the runtime tells.

        It is asked before the first call, after it, and after the last: a device may change between them.
        """

    def close(self) -> None:
        """Release what the session holds; it is not used again."""


class Backend(Protocol):
    """A module with these two names is a backend; no class is needed.

    It may also offer

    * ``FORMAT``: the :class:`Format` it loads, for all targets or per target; ONNX if absent
    * ``VARIANTS``: per target, the variants beyond the plain one, and their precisions
    * ``REWRITES``: per target, the exact rewrites that its graphs may have, and in which precisions
    * ``OPTIONS``: by name (of a provider, or of the backend) and key, the line of help of a ``--option NAME.KEY=VALUE``
    * ``targets(settings)``: instead of ``TARGETS``, those that the user's options make, by name and key
    * ``devices(settings)``: per target, a :class:`Found`
    * ``IMPORTS``: the module that its runtime is, whose import is a step of the cold path
    * ``NUMBERED``: the targets of which a machine may have several devices, and ``load`` takes ``device_id``
    * ``QUEUED``: the targets whose sessions hold all ``instances`` and have the runtime's own queue: they offer
      ``submit(feeds, done)``, which starts a request whose outputs *done* is given, and ``wait()`` (``timing.load``)
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


def format_of(backend: Backend, target: Target) -> Format:
    """The graph format that *backend* loads on *target*."""
    declared: Format | Mapping[Target, Format] = getattr(backend, "FORMAT", Format.ONNX)
    return declared.get(target, Format.ONNX) if isinstance(declared, Mapping) else declared


def targets_of(backend: Backend, settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, frozenset[Precision]]:
    """The targets of *backend* and their precisions, with those that the user's *settings* name."""
    named = getattr(backend, "targets", None)
    return backend.TARGETS if named is None else named(settings)


def options_of(backend: Backend) -> Mapping[str, Mapping[str, str]]:
    """The options that *backend* takes: by name and key, a line of help."""
    return getattr(backend, "OPTIONS", {})


def setting_of(target: Target, settings: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """The user's options for *target*: those of its backend, and those of its provider, which win."""
    return {**settings.get(target.backend, {}), **settings.get(target.provider, {})}


def variants_of(backend: Backend, target: Target) -> Mapping[Variant, frozenset[Precision]]:
    """The variants that *backend* offers on *target* beyond the plain one, each with its precisions."""
    offered: Mapping[Target, Mapping[Variant, frozenset[Precision]]] = getattr(backend, "VARIANTS", {})
    return offered.get(target, {})


def rewrites_of(backend: Backend, target: Target) -> Mapping[Rewrite, frozenset[Precision]]:
    """The exact rewrites that *backend* takes on *target*, each with its precisions."""
    offered: Mapping[Target, Mapping[Rewrite, frozenset[Precision]]] = getattr(backend, "REWRITES", {})
    return offered.get(target, {})


def found(backend: Backend, settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """Per target, what this machine has of it; empty where the backend cannot tell without loading."""
    devices = getattr(backend, "devices", None)
    return {} if devices is None else devices(settings)


def _claim(point: EntryPoint) -> str:
    """The module that *point* names, and the package it comes from where the metadata tells."""
    return point.value if point.dist is None else f"{point.value} of {point.dist.name}"
