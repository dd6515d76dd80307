"""What a command measured beside the matrix, into and out of JSON; the schema number.

A file holds ``"finding"``: one of the classes here, told apart by ``kind``; and when and where it was measured, as a run's
file does. What does not fit this schema is refused when read, with the field's name. Seconds are of the machine's clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from clip_bench import jsonfile, witness
from clip_bench.answered import Evaluation, Scoring
from clip_bench.errors import UsageError
from clip_bench.places import Place
from clip_bench.runfile import origin

KEY = "finding"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformed:
    """What one way of preprocessing did to a set of pictures.

    ``rounds_s`` is the seconds per picture in each round, and ``ratio`` the median over the rounds of its time over
    the reference's. ``processed_diff`` is the mean |Δ| of the normalised pixels, ``encode_diff`` that of the
    un-normalised embeddings, ``cosine`` the mean of theirs. ``same`` is the share of pictures whose embedding is nearest
    to its own among the reference's, ``recall`` R@1 from caption to picture; None where there is one picture, or no
    caption. ``told`` has the values of each picture (and the place of each caption's) that ``quality.pictures`` sums up.
    """

    name: str
    differs: str
    rounds_s: tuple[float, ...]
    ratio: float
    processed_diff: float
    encode_diff: float
    cosine: float
    same: float | None
    recall: float | None
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    """A row per variant that is here, the reference's first; why the others are not; and files left out, and why."""

    name: str
    pictures: tuple[str, ...]
    rows: tuple[Transformed, ...]
    missing: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Ways of preprocessing for one model, on each set of pictures; *versions* of the packages that did it."""

    model: str
    random_weights: bool
    rounds: int
    versions: dict[str, str]
    sets: tuple[Transforms, ...]
    kind: Literal["preprocessing"] = "preprocessing"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.model, tuple(each.name for each in self.sets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Documents of one kind, ``image`` or ``text``, added in batches of so many: seconds of each batch by its part."""

    documents: str
    batch: int
    rows: int
    seconds: dict[str, tuple[float, ...]]

    @property
    def document_s(self) -> tuple[float, ...]:
        """Seconds of each batch, over the documents that the client gave it."""
        return tuple(sum(parts) / self.batch for parts in zip(*self.seconds.values(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How the database answered where batches had so many documents: recall@10 of exact search, seconds of a query.

    *recalls* are those of each query, whose mean is *recall*.
    """

    batch: int
    recall: float
    seconds: tuple[float, ...]
    recalls: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What one model's cells did."""

    case: str
    title: str
    random_weights: bool
    added: tuple[Added, ...]
    searched: tuple[Searched, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """Documents into a vector database, by the client's batch."""

    threads: int
    cases: tuple[Indexed, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    kind: Literal["indexing"] = "indexing"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return tuple(each.case for each in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of so many queries, in [0, 1]; None where it is not defined. *hits* tells of each, 1 or 0, with spaces between."""

    share: float | None
    queries: int
    hits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one model's cells, by name."""

    case: str
    title: str
    random_weights: bool
    scores: dict[str, Share]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How often the towers find each other's right answer on some *data*."""

    data: str
    cases: tuple[Scored, ...]
    left_out: tuple[str, ...] = ()
    kind: Literal["retrieval"] = "retrieval"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.data, tuple(each.case for each in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """A folder of pictures embedded: *images* in *seconds*, and a picture's seconds in each half alone, if measured."""

    case: str
    title: str
    target: str
    random_weights: bool
    batch: int
    preprocess: str
    images: int
    seconds: float
    preprocess_s: float | None = None
    inference_s: float | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    kind: Literal["embedding"] = "embedding"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.case, self.batch, self.preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one broken cell, or with no name of *saboteur* of the true one of that batch.

    *kind* and *what* are those of the :class:`~clip_bench.saboteurs.saboteur.Saboteur`; *case* is the id of the true cell.
    *drift* is the mean over the samples of 1 - cosine to the reference, None where nothing can be compared. *gates* are
    those that it failed, by name; *error* is why it ended before any could judge it. *published_percent* is the accuracy
    that the Olive CLIP examples would print.
    """

    saboteur: str
    kind: str
    what: str
    tower: str
    precision: str
    batch: int
    case: str
    drift: float | None
    gates: tuple[str, ...]
    error: str = ""
    published_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """How often a true cell failed a gate, of so many *draws* of noise as large as the reference's own."""

    case: str
    draws: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Every saboteur that was tried on a *model*, and the true cells."""

    model: str
    tried: tuple[Tried, ...]
    alarms: tuple[Alarms, ...] = ()
    kind: Literal["gates"] = "gates"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.model


Told = Preprocessing | Indexing | Retrieval | Embedding | Scoring | Evaluation | Gates


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A file: its name, when and where it was measured, and what; the head of its witness, if it has one."""

    name: str
    datetime: str
    machine: dict[str, Any]
    told: Told
    head: str = ""


@cache
def _adapter() -> TypeAdapter[Told]:
    one: Any = Annotated[Told, Field(discriminator="kind")]
    return TypeAdapter(one, config=ConfigDict(extra="forbid", allow_inf_nan=False))


def to_json(told: Told, machine: Mapping[str, object]) -> str:
    """The text of a file: *told* now, on *machine*."""
    data = {
        KEY: _adapter().dump_python(told, mode="json"),
        "schema": SCHEMA,
        "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine_info": {"clip_bench": machine},
    }
    witness.seal(data)
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Place) -> Finding:
    """Read what :func:`to_json` made.

    Raises:
        UsageError: the file cannot be read, or is of another form or schema; the message names what does not fit.
    """
    return from_file(path, jsonfile.load(path, "give the JSON file of a clip-bench command"))


def from_file(path: Place, data: Any) -> Finding:  # noqa: ANN401  whatever the file holds
    """The finding in *data*, what the file at *path* holds.

    Raises:
        UsageError: it is of another form or schema; the message names what does not fit.
    """
    try:
        told, found = data[KEY], data.get("schema")
        machine = data["machine_info"]["clip_bench"]
    except (KeyError, TypeError, AttributeError) as exc:
        msg = f"{path}: no finding of a clip-bench command ({type(exc).__name__}: {exc})"
        raise UsageError(msg) from exc
    if found != SCHEMA or not isinstance(machine, dict):
        msg = f"{path}: schema {found}, and this version reads {SCHEMA}; measure it again, or take that version"
        raise UsageError(msg)
    try:
        told = _adapter().validate_json(json.dumps(told))
    except ValueError as exc:  # pydantic's ValidationError is one
        msg = f"{path}: {jsonfile.misfit(KEY, exc)} (this version reads schema {SCHEMA})"
        raise UsageError(msg) from exc
    return Finding(name=path.stem, told=told, **origin(data, machine))
