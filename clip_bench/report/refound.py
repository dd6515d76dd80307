"""The summaries of a finding made again from the raw values that it keeps, by the code that made them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from clip_bench.answered import Evaluation, Labelled, Scoring
from clip_bench.errors import UsageError
from clip_bench.finding import Finding, Indexing, Preprocessing, Retrieval, Told
from clip_bench.quality import values
from clip_bench.quality.pictures import summed
from clip_bench.quality.predictions import Tally, parsed, probabilities
from clip_bench.report.recomputed import brief, close, guarded

COUNTS = ("pictures", "first", "among", "silent")


def faults(finding: Finding) -> Iterator[str]:
    """What in *finding* does not follow from its raw values, a line each."""
    yield from guarded(_faults(finding.told))


def _faults(told: Told) -> Iterator[str]:
    match told:
        case Preprocessing():
            yield from _preprocessing(told)
        case Indexing():
            yield from _indexing(told)
        case Retrieval():
            yield from _retrieval(told)
        case Scoring():
            for picture in told.pictures:
                yield from _scores(picture, told.scale)
        case Evaluation():
            yield from _evaluation(told)


def _preprocessing(told: Preprocessing) -> Iterator[str]:
    for pictures in told.sets:
        reference = np.array(pictures.rows[0].rounds_s) if pictures.rows else np.zeros(0)
        for row in pictures.rows:
            own = np.array(row.rounds_s)
            ratio = float(np.median(own / reference)) if own.size == reference.size and own.size else math.nan
            if not close(row.ratio, ratio):
                yield f"{pictures.name}, {row.name}: ratio {row.ratio:.7g}, and the rounds make it {ratio:.7g}"
            for name, made in summed(row.told).items() if row.told else ():
                if not close(value := getattr(row, name), made):
                    yield f"{pictures.name}, {row.name}: {name} {brief(value)}, and its pictures make it {brief(made)}"
    yield from _older(sum(not row.told for pictures in told.sets for row in pictures.rows))


def _indexing(told: Indexing) -> Iterator[str]:
    """Recall is the mean over the queries, of which each has its time."""
    kept = [bool(each.recalls) for case in told.cases for each in case.searched]
    yield from _older(kept.count(False))
    for case in told.cases:
        for each in case.searched:
            where, made = f"{case.title}, batch {each.batch}: recall", np.array(each.recalls)
            if made.size and not (close(each.recall, float(made.mean())) and made.size == len(each.seconds)):
                yield f"{where} {brief(each.recall)}, and its {made.size} queries make it {brief(float(made.mean()))}"


def _retrieval(told: Retrieval) -> Iterator[str]:
    """A share is that of the hits among the queries."""
    kept = [each.share is None or bool(each.hits) for case in told.cases for each in case.scores.values()]
    yield from _older(kept.count(False))
    for case in told.cases:
        for name, each in case.scores.items():
            hits = values.read(each.hits)
            if hits.size and not (each.queries == hits.size and close(each.share, float(hits.mean()))):
                yield (
                    f"{case.title}: {name}: {each.share} of {each.queries} queries, and the hits make it "
                    f"{brief(float(hits.mean()))} of {hits.size}"
                )


def _older(bare: int) -> Iterator[str]:
    if bare:
        yield f"{bare} figures keep no values per sample to recompute them from: an older version measured them"


def _scores(picture: Labelled, scale: float) -> Iterator[str]:
    """Each score is a share of the softmax over the scaled cosines, and the best stands first."""
    told = [fit.score for fit in picture.labels]
    with np.errstate(all="ignore"):  # of figures that were edited to be no figures
        made = probabilities(np.array([fit.cosine for fit in picture.labels]), scale) if told else np.zeros(0)
    for fit, score in zip(picture.labels, made.tolist(), strict=True):
        if not close(fit.score, score):
            yield f"{picture.picture}, {fit.label}: score {brief(fit.score)}, and the cosines make it {brief(score)}"
    if any(after > before and not close(after, before) for before, after in pairwise(told)):
        yield f"{picture.picture}: its labels do not stand in the order of their scores"


def _evaluation(told: Evaluation) -> Iterator[str]:
    counted = Tally()
    for number, line in enumerate(told.predictions, start=1):
        try:
            prediction = parsed(line, f"prediction {number}")
        except UsageError as exc:
            yield str(exc)
            continue
        numbers = (prediction.label, *(each for each, _ in prediction.best))
        if max(numbers) >= told.classes:
            yield f"prediction {number}: class {max(numbers)}, of {told.classes} that are counted from 0"
        counted.add(prediction)
    for name in COUNTS:
        if getattr(told, name) != getattr(counted, name):
            yield f"{name}: {getattr(told, name)}, and the predictions make it {getattr(counted, name)}"
