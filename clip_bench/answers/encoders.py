"""Cells at work: pictures and texts of any number in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench import pipeline
from clip_bench.answers.cases import Chosen
from clip_bench.backends import Backend, Options, Session, format_of, setting_of
from clip_bench.errors import PlacementError
from clip_bench.evaluation import source
from clip_bench.models import feeds
from clip_bench.models.towers import PAIR_TEXTS
from clip_bench.quality import metrics
from clip_bench.settings import Settings
from clip_bench.specs import Case, ModelSpec, Tower
from clip_bench.store import Store

TOGETHER = 1000  # texts that are tokenized and encoded before their means are taken

Tokens = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A loaded cell that makes one kind of embedding, whatever its batch."""

    case: Case
    session: Session
    output: str

    def __call__(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """Embeddings (n, width) of *rows*: pictures (n, 3, h, w) or tokens (n, context); the last call is filled up.

        A pair's call has both: a blank takes the place of what is not asked about.
        """
        own = "image" if self.output.startswith("image") else "tokens"
        size = (PAIR_TEXTS if own == "tokens" else 1) if self.case.tower is Tower.PAIR else self.case.variant.batch
        blank = _blank(self.case.model) if self.case.tower is Tower.PAIR else {}
        made = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            filled = np.take(part, range(size), axis=0, mode="wrap")
            answer = np.asarray(self.session.run({**blank, own: filled})[self.output], np.float32)
            made.append(answer[: len(part)])
        return np.concatenate(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """Both kinds, and what a cosine is multiplied by before the softmax: the model's own ``exp(logit_scale)``."""

    image: Encoder
    text: Encoder
    scale: float

    def classes(
        self, texts: Sequence[Sequence[str]], tokens: Tokens, progress: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float64]:
        """A unit row for each class, (n, width): the mean of the unit embeddings of its *texts*, as many for each.

        It is zeros where one of these has no direction. *progress* is told how many classes are done.
        Source: ``open_clip.build_zero_shot_classifier``.
        """
        each, rows = len(texts[0]), list[NDArray[np.float64]]()
        together = max(1, TOGETHER // each)
        for start in range(0, len(texts), together):
            part = texts[start : start + together]
            units = metrics.normalised(self.text(tokens([text for several in part for text in several])))
            several = units.reshape(len(part), each, -1)
            whole = np.abs(several).max(axis=2).min(axis=1) > 0
            rows.append(several.mean(axis=1) * whole[:, np.newaxis])
            progress(start + len(part))
        return metrics.normalised(np.concatenate(rows))


@contextmanager
def loaded(chosen: Chosen, settings: Settings, backends: Mapping[str, Backend]) -> Iterator[Encoders]:
    """The cells of *chosen*, built where they were not, and closed at the end.

    Raises:
        UnavailableError: the weights, the device or the package are not on this machine.
        UnsupportedError: nobody can build a cell, or the runtime refuses it.
        PlacementError: the runtime works elsewhere than asked, at the beginning or at the end.
    """
    with ExitStack() as stack:
        sessions: dict[Case, Session] = {}
        for case in dict.fromkeys((chosen.image, chosen.text)):
            sessions[case] = _load(case, settings, backends[case.target.backend])
            stack.callback(sessions[case].close)
        _placed(sessions)
        made = [
            Encoder(case=case, session=sessions[case], output=f"{tower}_embedding")
            for case, tower in ((chosen.image, Tower.IMAGE), (chosen.text, Tower.TEXT))
        ]
        scale = float(source(settings, chosen.image.model).model().logit_scale.detach().exp())
        yield Encoders(image=made[0], text=made[1], scale=scale)
        _placed(sessions)


def tokenizer(spec: ModelSpec) -> Tokens:
    """open_clip's tokenizer of *spec*."""
    return lambda texts: feeds.tokens(spec, texts)


def _load(case: Case, settings: Settings, backend: Backend) -> Session:
    artifact = pipeline.build(case, format_of(backend, case.target), settings)
    options = Options(
        precision=case.precision,
        threads=settings.threads,
        store=Store(settings.cache),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
    )
    return backend.load(artifact, case.target, options)


def _placed(sessions: Mapping[Case, Session]) -> None:
    for case, session in sessions.items():
        if fault := session.placement().fault(case.precision):
            msg = f"{case}: {fault}"
            raise PlacementError(msg)


def _blank(spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    image = np.zeros((1, 3, spec.image_size, spec.image_size), np.float32)
    tokens = np.zeros((PAIR_TEXTS, spec.context), np.int64)
    tokens[:, 0] = 1  # argmax pooling wants one largest id
    return {"image": image, "tokens": tokens}
