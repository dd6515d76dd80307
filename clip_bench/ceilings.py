"""The ceilings of this machine: the most arithmetic that any runtime here reaches, and how fast memory is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_bench import graphs
from clip_bench.backends import Backend, Found, Options, Session, format_of, found, setting_of, targets_of, variants_of
from clip_bench.errors import ClipBenchError, PlacementError, UnavailableError, UnsupportedError
from clip_bench.graphs import Calibration, Graph
from clip_bench.models import feeds, product, seeded
from clip_bench.models.product import Shape
from clip_bench.models.weights import Source
from clip_bench.record import Conditions
from clip_bench.settings import Settings
from clip_bench.specs import Device, Format, Precision, Target, Tower, Variant
from clip_bench.store import Store
from clip_bench.timing import bandwidth, conditions
from clip_bench.timing.bandwidth import Bandwidth

ROWS = 4  # to calibrate on: the ranges of uniform numbers are soon known
WARM_UPS = 1
CHECKED = 8  # rows of an answer
WRONG = 0.5  # of its norm: eight bits lose 1 % per product, and a chain has up to 200 of them
CALLS = 4  # at least
CALLS_S = 0.15  # at least, of calls
LONGEST_S = 2.0  # of one call: a shape that would take longer is left out
# From small to large: the MLP of a ViT-B/32, a large batch, and a square.
HOST = (
    Shape(rows=50, inner=768, outer=3072, times=2),
    Shape(rows=1024, inner=768, outer=1024, times=4),
    Shape(rows=1024, inner=1728, outer=1728, times=1),
)
# The way to a GPU and back is in a session's clock: its chains are long, and take the same two weights over and over.
CARD = (
    Shape(rows=1024, inner=1728, outer=1728, times=2),
    Shape(rows=1024, inner=3072, outer=3072, times=8, tied=True),
    Shape(rows=4096, inner=3072, outer=3072, times=96, tied=True),
)
SHAPES: Mapping[Device, Sequence[Shape]] = {Device.CPU: HOST, Device.NPU: HOST, Device.GPU: CARD}

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most that a kind of device reached at a precision, in floating-point operations per second.

    They are counted as the float graph has them, whatever the type that they are done in. ``by`` is the target that
    reached it, ``shape`` the product. What crosses the session's edge is in the clock: it is what cells can reach.
    """

    device: Device
    precision: Precision
    flops_s: float
    by: str
    shape: str

    def __str__(self) -> str:
        return f"{self.device} {self.precision}: {self.flops_s / 1e9:.0f} GFLOP/s by {self.by}, {self.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A precision that no runtime here has on a kind of device, and each one's reason."""

    device: Device
    precision: Precision
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What was found, JSON data by ``dataclasses.asdict``.

    ``conditions`` tells what else the machine did meanwhile: in company, a ceiling is found too low.
    """

    arithmetic: tuple[Ceiling, ...]
    absent: tuple[Absent, ...]
    memory: Bandwidth
    conditions: Conditions


def here(settings: Settings, backends: Mapping[str, Backend]) -> set[tuple[Device, Precision]]:
    """What some runtime on this machine has, as far as is known without loading it: what :func:`measure` may be asked."""
    ready = (offer for offer in _offers(settings, backends) if not offer.missing and offer.target.device.hardware)
    return {(offer.target.device, offer.precision) for offer in ready}


def measure(
    settings: Settings,
    backends: Mapping[str, Backend],
    wanted: Collection[tuple[Device, Precision]],
    log: Log,
    shapes: Mapping[Device, Sequence[Shape]] = SHAPES,
) -> Ceilings:
    """The ceiling of each of *wanted*, the best of every target and shape; *log* is told of each as it is known.

    A target that cannot be loaded, or whose runtime fails, is left out with its reason.
    """
    before, offered = conditions.snapshot(), _offers(settings, backends)
    reached, absent = [], []
    for device, precision in ((d, p) for d in Device for p in Precision if (d, p) in wanted):
        tries, reasons = [], []
        for offer in (each for each in offered if each.target.device is device and each.precision is precision):
            try:
                tries.append(_best(settings, offer, shapes[device]))
                log(str(tries[-1]))
            except (ClipBenchError, ImportError, OSError, RuntimeError, ValueError) as exc:  # as runtimes fail
                reasons.append(f"{offer.target}: {' '.join(str(exc).split())}")
                log(f"{device} {precision}: without {reasons[-1]}")
        if tries:
            reached.append(max(tries, key=lambda ceiling: ceiling.flops_s))
        else:
            absent.append(Absent(device=device, precision=precision, reason="; ".join(reasons) or "no runtime has it"))
    memory = bandwidth.measure(settings.threads)
    during = conditions.between(before, conditions.snapshot())
    return Ceilings(arithmetic=tuple(reached), absent=tuple(absent), memory=memory, conditions=during)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A target with one of its precisions; *missing* says what this machine lacks for it."""

    backend: Backend
    target: Target
    precision: Precision
    variant: Variant
    missing: str


def _offers(settings: Settings, backends: Mapping[str, Backend]) -> list[Offer]:
    """Every target with each of its precisions: as it is, or with float16 at its edge where that is all it has."""
    offers, half = [], Variant(half_io=True)
    for backend in backends.values():
        here = found(backend, settings.by_name)
        for target, plain in targets_of(backend, settings.by_name).items():
            if format_of(backend, target) is Format.REPLAY:  # which computes nothing
                continue
            variants = dict.fromkeys(variants_of(backend, target).get(half, ()), half) | dict.fromkeys(plain, Variant())
            missing = here.get(target, Found()).missing
            offers += [
                Offer(backend=backend, target=target, precision=precision, variant=variant, missing=missing)
                for precision, variant in variants.items()
            ]
    return offers


def table(found: Ceilings) -> Iterator[str]:
    """*found* in lines to read, one for each of what was wanted."""
    yield f"{'device':<8}{'precision':<14}{'GFLOP/s':>9}  by"
    for each in found.arithmetic:
        yield f"{each.device:<8}{each.precision:<14}{each.flops_s / 1e9:>9.0f}  {each.by}: {each.shape}"
    for lacking in found.absent:
        yield f"{lacking.device:<8}{lacking.precision:<14}{'-':>9}  {lacking.reason}"
    memory, others = found.memory, found.conditions.others
    yield (
        f"memory is read at {memory.read_bytes_s / 1e9:.1f} GB/s: {memory.buffer_bytes / 2**20:.0f} MiB by "
        f"{memory.threads} threads{f' ({memory.note})' if memory.note else ''}"
    )
    if others:
        yield f"others took {others:.1f} cores meanwhile: a quiet machine may reach more (clip-bench doctor)"


def _best(settings: Settings, offer: Offer, shapes: Sequence[Shape]) -> Ceiling:
    """The best of *shapes* on one target; a shape that would take too long, by what was reached so far, is left out.

    Raises:
        ClipBenchError: as :func:`load`, or the work is done elsewhere than asked.
    """
    flops_s, reached_by = 0.0, ""
    for shape in shapes:
        if flops_s and shape.flops > LONGEST_S * flops_s:
            break
        session = load(settings, offer, shape)
        try:
            rate = shape.flops / _shortest_s(session, offer.precision, shape, settings.cache)
        finally:
            session.close()
        if rate > flops_s:
            flops_s, reached_by = rate, str(shape)
    return Ceiling(
        device=offer.target.device,
        precision=offer.precision,
        flops_s=flops_s,
        by=str(offer.target),
        shape=reached_by,
    )


def load(settings: Settings, offer: Offer, shape: Shape) -> Session:
    """A session of the chain of *shape* on a target, built as a tower of that precision is.

    Raises:
        ClipBenchError: this machine lacks it, the graph cannot be built, or as :meth:`Backend.load`.
    """
    if offer.missing:
        raise UnavailableError(offer.missing)
    store, given = Store(settings.cache), setting_of(offer.target, settings.by_name)
    variant = replace(offer.variant, calibration=f"minmax_{ROWS}")
    graph = Graph(
        source=_source(shape, settings.cache),
        tower=Tower.IMAGE,
        store=store,
        calibration=lambda: _calibration(shape),
        batch=shape.rows,
        variant=variant,
        settings=given,
    )
    artifact = graphs.build(graph, offer.precision, format_of(offer.backend, offer.target))
    options = Options(precision=offer.precision, threads=settings.threads, store=store, variant=variant, settings=given)
    return offer.backend.load(artifact, offer.target, options)


@cache
def _source(shape: Shape, root: Path) -> Source:
    """The weights of *shape*, whose hash is computed once."""
    source = Source(spec=product.spec(shape), folder=None, store_root=root)
    hashed = replace(source.spec.weights, sha256=source.sha256())
    return replace(source, spec=replace(source.spec, weights=hashed))


@cache
def rows(shape: Shape, sets: int = 1) -> NDArray[np.float32]:
    """The left matrix of *shape*, as pictures, *sets* times with other values: uniform, of variance 1."""
    size = product.spec(shape).image_size
    values = seeded.uniform("rows", sets * shape.rows * shape.inner, 1.0)
    return values.reshape(sets * shape.rows, 3, size, size)


def _calibration(shape: Shape) -> Calibration:
    image, tokens = rows(shape, ROWS), np.zeros((0, 1), np.int64)
    return Calibration(image=image, tokens=tokens, sha256=feeds.digest([image, tokens]))


def _shortest_s(session: Session, precision: Precision, shape: Shape, root: Path) -> float:
    """The shortest of some calls.

    Raises:
        PlacementError: the work is done elsewhere than asked, or in a narrower type.
        UnsupportedError: what it answers is wrong. OpenVINO 2026.4.1, on a CPU with AMX, answers 1e10 for 1 to a chain
            quantized by NNCF that it makes one subgraph of (8×192×256; its TokenizeMLPSeqSnippets, openvino#30007).
    """
    call = {"image": rows(shape)}
    for _ in range(WARM_UPS):
        (answer,) = session.run(call).values()
    if fault := session.placement().fault(precision):
        raise PlacementError(fault)
    right = answer_of(shape, root)
    error = float(np.linalg.norm(np.asarray(answer, np.float32)[:CHECKED] - right) / np.linalg.norm(right))
    if not error < WRONG:
        msg = f"its answer to {shape} is wrong: an error of {error:.1g} of the answer's norm"
        raise UnsupportedError(msg)
    took: list[float] = []
    until = time.perf_counter() + CALLS_S
    while len(took) < CALLS or time.perf_counter() < until:
        began = time.perf_counter()
        session.run(call)
        took.append(time.perf_counter() - began)
    return min(took)


@cache
def answer_of(shape: Shape, root: Path) -> NDArray[np.float32]:
    """What numpy answers to the first rows of *shape*, in float32."""
    weights = [weight.detach().numpy().T for weight in _source(shape, root).model().parameters()]
    answer = rows(shape)[:CHECKED].reshape(-1, shape.inner)
    for i in range(2 * shape.times):
        answer = answer @ weights[i % len(weights)]
    return answer
