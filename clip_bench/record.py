"""What one cell measured and how it ended, into and out of JSON; the schema number.

What does not fit this schema is refused when read, with the field's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from clip_bench import jsonfile
from clip_bench.errors import UsageError
from clip_bench.memory import Step
from clip_bench.specs import Case

# 2 adds, all with a default: what the runtime was told, which device it asked, two digests.
# 3 adds, all with a default: how requests arrive, the steps before them, what else the machine did, work, energy, pairs.
# 4 adds, all with a default: the exact rewrites, and what they feed.
# 5 adds, all with a default: the values per sample that quality sums up, digests of what was fed and answered, what the
# nodes of the first call took; the drift that a cell is known to have; a witness.
# 6 adds, with a default: what decides in the runtime whether a call repeated gives the same bits.
# 7 adds, with a default: the machine of a fleet that measured a cell.
SCHEMA: Literal[7] = 7


class Outcome(StrEnum):
    """How a planned cell ended."""

    OK = "ok"
    SKIPPED = "skipped"
    UNSUPPORTED = "unsupported"
    GATE_FAILED = "gate_failed"
    FALLBACK = "fallback"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """What a figure stands on; two cells compare only where these are equal.

    ``inside_clock`` names the steps that the time includes, ``sequence`` is in tokens (0: no text), ``texts`` is
    the number of texts per call of a pair graph. ``runtimes`` are the versions of the packages that execute,
    ``options`` what the runtime was told; of a path, the file's name alone. ``load`` is how requests arrive: one at a
    time, or so many at once for ``instances`` sessions on each of ``device_ids``, each with ``queue`` more requests
    waiting. ``inputs`` are ``cached`` arrays of the host, or a ``fresh`` copy for each request. ``rewrites`` are the
    exact ones of the graph. Where texts are trimmed, each call of the evaluation is fed at its own length: ``lengths``
    are these, each once, and ``sequence`` is that of the timed calls. ``pixels`` is the type in which pictures come.
    """

    tower: str
    batch: int
    texts: int
    sequence: int
    image_size: int
    inside_clock: tuple[str, ...]
    threads: int
    weights_sha256: str
    recipe: str
    data_sha256: str
    reference_sha256: str
    runtimes: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)
    load: str = "latency"
    instances: int = 1
    device_ids: tuple[int, ...] = (0,)
    queue: int = 0
    inputs: str = "cached"
    rewrites: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    pixels: str = "float32"

    @property
    def digest(self) -> str:
        """A short hash of the fields, the same on every machine; one that has its default adds nothing."""
        defaults = {each.name: each.default for each in fields(self)} | {"options": {}}
        told = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        text = json.dumps(told, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Cosine of each output row to the FP32 reference's, over all rows of one output.

    ``between`` is the mean cosine of the reference's rows to *other* rows: what no skill at all would score.
    ``identified`` is the share of rows whose own reference row is their nearest. ``floor_drift`` is the reference's
    own drift, 1 - mean cosine, when it is computed another way; ``drift_ratio`` this cell's drift as a multiple of it.
    ``difference`` is the mean of |output - reference| over all values, not normalised; None where one is not finite.
    ``known_drift`` is the drift that this cell had in committed runs, if it is among them: what the gate held it to.
    """

    output: str
    rows: int
    mean: float
    minimum: float
    p1: float
    between: float
    identified: float
    floor_drift: float
    drift_ratio: float
    difference: float | None = None
    known_drift: float | None = None

    @property
    def degrad(self) -> float:
        """100 (1 - mean cosine), in percent, as the Olive CLIP examples publish it."""
        return 100 * (1 - self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One accuracy, in [0, 1], with the reference's own over the same samples beside it."""

    name: str
    value: float
    reference: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Each row of one output against the reference's: what a :class:`Similarity` sums up. Numbers, a space between two.

    ``drift`` is 1 - cosine, ``identified`` 1 where no other reference row is nearer, ``difference`` the mean of
    |output - reference| over the row; ``floor`` is the drift of the reference's own first rows when they are computed
    ``again``, in another ``batch`` or with other ``threads``.
    """

    output: str
    drift: str
    identified: str
    difference: str
    floor: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What each query was answered, and by the reference: what several scores sum up. Numbers, a space between two.

    Of the right answer its rank, 0 where nothing scored as high, -1 where it scored nothing: the score at each k of ``ks``
    is the share of ranks below k. Without ``ks`` the class that was predicted, -1 where none was clearly best: the score
    is the share of queries for which both predict the same.
    """

    name: str
    ks: tuple[int, ...]
    own: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Agreement with the FP32 reference, and what the gate said of it (no failures: passed).

    ``scores`` hold accuracies and agreement: top1, top5, agreement, t2i_r1, i2t_r10, ...; they are empty where the
    weights are random, because an accuracy would mean nothing. ``compared`` and ``answered`` are the values per sample
    of which both are made.
    """

    similarity: tuple[Similarity, ...]
    scores: tuple[Score, ...]
    failures: tuple[str, ...]
    compared: tuple[Compared, ...] = ()
    answered: tuple[Answered, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What else the machine did while a cell was timed; None where the system does not tell.

    ``steal`` is the share of processor time that a hypervisor gave to others, ``others`` how many cores' worth other
    processes took, ``mhz`` the lowest and the highest clock seen, ``throttled`` how often a core was slowed for its
    heat, ``switches`` how often this process was made to wait for a core. ``device`` is the same of a GPU, in words.
    """

    window_s: float
    load_1m: float | None = None
    steal: float | None = None
    others: float | None = None
    mhz: tuple[float, float] | None = None
    throttled: int | None = None
    switches: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules over the warm-ups and rounds, of what ``source`` names; None where nothing tells: ``source`` says why."""

    joules: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of each round (one call), in order, after *warmups* uncounted calls; *batch* samples per call.

    ``window_s`` is the time in which all rounds ran, where several ran at once; None where they ran one by one.
    """

    rounds_s: tuple[float, ...]
    warmups: int
    batch: int
    window_s: float | None = None
    conditions: Conditions | None = None
    energy: Energy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Seconds of four arms whose blocks of calls were interleaved, in one window.

    ``reference_s`` is the reference cell's, ``own_s`` this cell's, ``again_s`` the reference cell's once more (the null
    arm: its ratio to ``reference_s`` is known to be 1), each with inputs that it never saw before; ``repeated_s`` is
    this cell's with one input over and over. Item i of an arm is the lower quartile of one block; blocks 2i and 2i + 1
    of all arms ran next to each other, in an order drawn at random and then in its mirror. ``counted`` calls of a block
    are in its quartile, after ``uncounted`` ones.
    """

    reference: str
    reference_s: tuple[float, ...]
    own_s: tuple[float, ...]
    again_s: tuple[float, ...]
    repeated_s: tuple[float, ...]
    counted: int
    uncounted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one call has to do at least: floating-point operations, and bytes moved between memory and processor."""

    flops: float
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """What comes before the first steady call, in seconds and bytes.

    ``build_s`` is what export and quantization took when the artifact was built, on whichever day that was;
    ``peak_bytes`` is how far the process's resident set rose above its level before the load, until the end of the
    timing: the runtime's own memory and the inputs are in it. None where the system does not tell. ``steps`` are
    import, export, quantization, ... and load, in their order. ``calls_s`` are the first calls, one by one, ``steady``
    how many of them passed before the times stayed the same; None where they never did.
    """

    build_s: float
    load_s: float
    first_s: float | None
    peak_bytes: int | None
    steps: tuple[Step, ...] = ()
    calls_s: tuple[float, ...] = ()
    steady: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """The bytes that were loaded: size on disk, hash, and the hash of the recipe that made them."""

    size_bytes: int
    sha256: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """Where and in which type the nodes ran, by the runtime's evidence; empty where it does not tell.

    ``asked`` is the one of ``nodes`` that the target means, ``device`` what it was found to be. ``first_output`` and
    ``last_output`` are digests of what one input gave in the first call and in the last, ``inputs`` and ``outputs`` of
    all that the evaluation fed and was answered. ``first_call_s`` is what the nodes of the first call took, in seconds, by
    place and type (empty: not told); the first call is cold, and not among the rounds. ``flags`` is what the runtime tells
    of itself that decides whether the same call gives the same bits: threads, instruction sets, deterministic kernels.
    """

    nodes: dict[str, int]
    dtypes: dict[str, int]
    note: str
    asked: str = ""
    device: str = ""
    first_output: str = ""
    last_output: str = ""
    inputs: str = ""
    outputs: str = ""
    first_call_s: dict[str, dict[str, float]] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one cell measured. Parts that were not reached, or may not be measured, are None.

    ``spent_s`` tells where this cell's own seconds went: building, loading, calls of the model, gating, timing.
    """

    case: str
    tower: str
    model: str
    target: str
    precision: str
    variant: str
    weights: str
    boundary: Boundary | None = None
    artifact: ArtifactFacts | None = None
    executed: Executed | None = None
    cold: Cold | None = None
    quality: Quality | None = None
    timing: Timing | None = None
    paired: Paired | None = None
    work: Work | None = None
    spent_s: dict[str, float] = field(default_factory=dict)
    schema: Literal[1, 2, 3, 4, 5, 6, 7] = SCHEMA

    @classmethod
    def empty(cls, case: Case) -> Record:
        """The record of a case of which nothing is measured yet."""
        return cls(
            case=case.id,
            tower=case.tower,
            model=case.model.name,
            target=str(case.target),
            precision=case.precision,
            variant=str(case.variant),
            weights=case.model.weights.kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One planned cell of a run: how it ended, why, and what was measured.

    ``machine`` is the number of the machine that measured it, among those of the run's fleet; empty where there is none.
    """

    case: str
    boundary: str
    outcome: Outcome
    reason: str
    record: Record
    machine: str = ""


@cache
def _adapter() -> TypeAdapter[tuple[Entry, ...]]:
    return TypeAdapter(tuple[Entry, ...], config=ConfigDict(extra="forbid", allow_inf_nan=False))


def to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The value of ``"outcomes"`` in a run file: JSON data, finite numbers only."""
    checked = _adapter().validate_python(tuple(entries))
    data: list[dict[str, Any]] = _adapter().dump_python(checked, mode="json")
    return data


def from_json(data: object) -> tuple[Entry, ...]:
    """Read the value of ``"outcomes"``.

    Raises:
        UsageError: *data* does not fit the schema; the message names the first field that does not.
    """
    try:
        return _adapter().validate_python(data)
    except ValueError as exc:  # pydantic's ValidationError is one
        msg = f"{jsonfile.misfit('outcomes', exc)} (this version reads record schema {SCHEMA})"
        raise UsageError(msg) from exc
