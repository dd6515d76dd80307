"""What a model's towers find of each other: pictures that show labels, and their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench.data import NO_LABEL, Picture, Samples, generated, scenes
from clip_bench.data.scenes import Split
from clip_bench.finding import Share
from clip_bench.quality import retrieval, values

MOST = 400  # queries of as many labels
NAMED = (1, 2, 3)  # labels of a query
OBJECTS = (1, 2, 3)  # of a scene
CAPTIONED = 3  # the objects of the scenes whose captions are looked up: of fewer, several scenes have the same words

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Pictures, which labels each shows, (n, labels), the labels' texts, and the captions of each; none if empty."""

    pictures: tuple[Picture, ...]
    shows: Bools
    prompts: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]


def of_scenes(each: int, size: int) -> Collection:
    """*each* scenes of one, of two and of three objects, *size* pixels a side, from the stream of evaluation."""
    several = [generated.evaluation_of(objects, each, size) for objects in OBJECTS]
    place = {name: i for i, name in enumerate(scenes.CLASSES)}
    shows = np.zeros((each * len(OBJECTS), len(place)), np.bool_)
    for row, (objects, index) in zip(shows, ((o, i) for o in OBJECTS for i in range(each)), strict=True):
        row[
            [place[f"{thing.colour} {thing.shape}"] for thing in scenes.scene(Split.EVALUATION, index, objects).things]
        ] = True
    captions = [
        told if objects == CAPTIONED else ()
        for objects, samples in zip(OBJECTS, several, strict=True)
        for told in samples.captions
    ]
    return Collection(
        pictures=tuple(picture for samples in several for picture in samples.pictures),
        shows=shows,
        prompts=scenes.PROMPTS,
        captions=tuple(captions),
    )


def of_samples(samples: Samples) -> Collection:
    """The user's pictures: of a caption set, captions and no labels; of class folders, one label each."""
    shows = np.zeros((len(samples.pictures), len(samples.classes)), np.bool_)
    for row, label in zip(shows, samples.labels, strict=True):
        row[label if label != NO_LABEL else []] = True
    return Collection(pictures=samples.pictures, shows=shows, prompts=samples.prompts, captions=samples.captions)


def phrase(named: Sequence[str]) -> str:
    """One text that names all of *named*, as a scene's caption does."""
    *head, last = named
    return f"{', '.join(head)} and {last}" if head else last


def scores(collection: Collection, images: Floats, embed: Callable[[Sequence[str]], Floats]) -> Mapping[str, Share]:
    """Every score of *images*, the embeddings of the collection's pictures, (n, width); *embed* makes those of texts.

    ``text_to_image_1``, ``_2`` and ``_3``: queries of so many labels whose nearest picture shows them all.
    ``image_to_text``: pictures whose nearest label they show. ``image_to_image``: pictures whose nearest other one shows a
    same label. ``t2i_r1`` ... ``i2t_r10``: recall of the captions, and back.
    """
    shows, prompts = collection.shows, collection.prompts
    found = {f"text_to_image_{labels}": _named(labels, collection, images, embed) for labels in NAMED}
    if prompts and shows.any():
        found["image_to_text"] = _score(retrieval.to_labels(images, embed(prompts), shows, (1,))[1])
        found["image_to_image"] = _score(retrieval.to_images(images, shows, (1,))[1])
    owners = np.array([row for row, told in enumerate(collection.captions) for _ in told], int)
    texts = [caption for told in collection.captions for caption in told]
    if texts:
        found |= {name: _score(hits) for name, hits in retrieval.both(images, embed(texts), owners).items()}
    return found


def _named(labels: int, collection: Collection, images: Floats, embed: Callable[[Sequence[str]], Floats]) -> Share:
    named = retrieval.naming(collection.shows, labels, MOST)
    if not len(named):
        return Share(share=None, queries=0)
    queries = embed([phrase([collection.prompts[i] for i in np.flatnonzero(row)]) for row in named])
    return _score(retrieval.by_labels(images, queries, named, collection.shows, (1,))[1])


def _score(hits: Bools) -> Share:
    """Where the k is all that there is, every answer is right: no score."""
    if not hits.size:
        return Share(share=None, queries=0)
    return Share(share=float(hits.mean()), queries=hits.size, hits=values.told(hits))
