"""What a model's towers are fed: pictures through open_clip's own transform, texts through its own tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.data import NO_LABEL, Samples
from clip_bench.data.scenes import Draw
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import rewrites as rewriting
from clip_bench.models import shapes_tiny
from clip_bench.models.towers import PAIR_TEXTS
from clip_bench.specs import ModelSpec, Rewrite, Tower
from clip_bench.store import Store

if TYPE_CHECKING:
    from open_clip.transform import PreprocessCfg

NAME = "feeds.npz"
Arrays = dict[str, NDArray[np.generic]]
PAIR_STREAM = 7001  # the key of the stream that shuffles the texts of a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """Samples as one model takes them.

    ``image`` is (n, 3, h, w) float32; ``tokens`` (t, context) int64 holds the prompts first, then every distinct
    caption. ``labels`` (n,) are rows of the prompts or ``NO_LABEL``; ``positives`` (n, captions) tells which
    captions are right for a picture. ``choices`` (n, 10) are the rows of ``tokens`` that a pair call gets with picture
    i, the right one at column ``answers[i]``, a place drawn at random. ``sha256`` is over all arrays.
    """

    image: NDArray[np.float32]
    tokens: NDArray[np.int64]
    prompts: int
    labels: NDArray[np.int64]
    positives: NDArray[np.bool_]
    choices: NDArray[np.int64]
    answers: NDArray[np.int64]
    sha256: str

    def calls(self, tower: Tower, batch: int = 1) -> list[dict[str, NDArray[np.generic]]]:
        """Every evaluation call of *tower*, in order, with *batch* samples in each.

        The last call is filled up with the first samples; a pair's call is always one picture with its texts.
        """
        if tower is Tower.PAIR:
            rows = zip(_parts(self.image, 1), self.choices, strict=True)
            return [{"image": image, "tokens": self.tokens[chosen]} for image, chosen in rows]
        if tower is Tower.IMAGE:
            return [{"image": part} for part in _parts(self.image, batch)]
        return [{"tokens": part} for part in _parts(self.tokens, batch)]


def _parts(rows: NDArray[np.generic], batch: int) -> list[NDArray[np.generic]]:
    whole = len(rows) // batch * batch
    parts = [rows[i : i + batch] for i in range(0, whole, batch)]
    return parts if whole == len(rows) else [*parts, np.take(rows, range(whole, whole + batch), axis=0, mode="wrap")]


def unseen(fed: Feeds, tower: Tower, batch: int, seed: int) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Calls of *tower* without end, none like another: pictures moved around their edges, words drawn anew.

    A picture keeps its values and a text its length, so that each is as much work as those of *fed*.
    """
    draw = np.random.default_rng(seed)
    calls = fed.calls(tower, batch)
    words = np.unique(fed.tokens[(fed.tokens > 0) & (fed.tokens < fed.tokens.max(axis=1, keepdims=True))])
    while True:
        call = dict(calls[draw.integers(len(calls))])
        if "image" in call:
            call["image"] = np.roll(call["image"], draw.integers(1, call["image"].shape[-1], 2), axis=(-2, -1))
        if "tokens" in call:
            ends = call["tokens"].argmax(axis=1)[:, None]
            places = np.arange(call["tokens"].shape[1])[None]
            inside = (places > 0) & (places < ends)
            call["tokens"] = np.where(inside, draw.choice(words, call["tokens"].shape), call["tokens"])
        yield call


def shaped(call: Mapping[str, NDArray[np.generic]], rewrites: Collection[Rewrite], spec: ModelSpec) -> Arrays:
    """*call* as a graph of *spec* with *rewrites* takes it: texts cut where the longest ends, pictures as pixels.

    Pictures may be pixels already.

    Raises:
        UnsupportedError: the pictures are no 8-bit pixels.
    """
    made = dict(call)
    if Rewrite.TRIMMED in rewrites and "tokens" in call:
        made["tokens"] = rewriting.cut(call["tokens"].astype(np.int64, copy=False))
    if Rewrite.FOLDED in rewrites and "image" in call and call["image"].dtype != np.uint8:
        made["image"] = rewriting.pixels(call["image"].astype(np.float32, copy=False), *normalisation(spec))
    return made


def make(spec: ModelSpec, samples: Samples, store: Store | None = None) -> Feeds:
    """Transform and tokenize *samples* for *spec*; with a *store*, once for all runs: open_clip takes seconds to import.

    Raises:
        UnavailableError: the model's tokenizer needs a package that is not installed.
        UsageError: every text is right for some picture.
    """
    prompts = samples.prompts if any(label != NO_LABEL for label in samples.labels) else ()
    texts = [*prompts, *dict.fromkeys(caption for captions in samples.captions for caption in captions)]
    captions = texts[len(prompts) :]
    place = {text: i for i, text in enumerate(captions)}
    positives = np.zeros((len(samples.pictures), len(captions)), dtype=bool)
    for i, owned in enumerate(samples.captions):
        positives[i, [place[text] for text in owned]] = True
    right = [
        [*((label,) if label != NO_LABEL else ()), *(len(prompts) + place[text] for text in owned)]
        for label, owned in zip(samples.labels, samples.captions, strict=True)
    ]
    image, ids = arrays(spec, samples, texts, store)
    labels = np.array(samples.labels, np.int64)
    choices, answers = _choices(ids, right)
    return Feeds(
        image=image,
        tokens=ids,
        prompts=len(prompts),
        labels=labels,
        positives=positives,
        choices=choices,
        answers=answers,
        sha256=digest([image, ids, labels, positives, choices, answers]),
    )


def arrays(
    spec: ModelSpec, samples: Samples, texts: Sequence[str], store: Store | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The pictures of *samples* transformed, and *texts* tokenized: :func:`images` and :func:`tokens`, kept in *store*.

    Raises:
        UnavailableError: the model's tokenizer needs a package that is not installed.
    """
    if store is None:
        return images(spec, samples), tokens(spec, texts)
    recipe = {
        "step": "feeds",
        "model": spec.name,
        "architecture": spec.architecture,
        "pretrained": spec.pretrained,
        "image_size": spec.image_size,
        "context": spec.context,
        "samples_sha256": samples.sha256,
        "texts_sha256": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        **{package: version(package) for package in ("open_clip_torch", "torch", "torchvision", "pillow")},
    }

    def build(folder: Path) -> None:
        np.savez(folder / NAME, image=images(spec, samples), tokens=tokens(spec, texts))

    with np.load(store.get(recipe, build).file(NAME)) as stored:
        return stored["image"], stored["tokens"]


def _choices(ids: NDArray[np.int64], right: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ten rows of *ids* per picture, the first of its *right* ones and else none like any of these, and its place.

    Texts that differ only where the tokenizer cuts them are alike. Fewer than nine wrong ones are repeated.

    Raises:
        UsageError: some picture has no wrong text.
    """
    rows: dict[bytes, list[int]] = {}
    for row, text in enumerate(ids):
        rows.setdefault(text.tobytes(), []).append(row)
    choices = np.zeros((len(right), PAIR_TEXTS), np.int64)
    answers = np.zeros(len(right), np.int64)
    for i, own in enumerate(right):
        draw = Draw(PAIR_STREAM, i)
        answers[i] = draw.pick(1, PAIR_TEXTS)[0]
        taken = {row for text in own for row in rows[ids[text].tobytes()]}
        drawn = draw.pick(min(len(ids), PAIR_TEXTS - 1 + len(taken)), len(ids))
        wrong = [row for row in drawn if row not in taken][: PAIR_TEXTS - 1]
        if not wrong:
            msg = "every text is right for some picture, so there is nothing to choose from: add other captions"
            raise UsageError(msg)
        choices[i] = np.insert(np.resize(wrong, PAIR_TEXTS - 1), answers[i], own[0])
    return choices, answers


def images(spec: ModelSpec, samples: Samples) -> NDArray[np.float32]:
    """The pictures as the model takes them, (n, 3, h, w), by open_clip's evaluation transform."""
    change = transform(spec)
    size = spec.image_size
    out = np.empty((len(samples.pictures), 3, size, size), np.float32)
    for i, picture in enumerate(samples.pictures):
        out[i] = change(picture.open())
    return out


def transform(spec: ModelSpec) -> Callable[[object], NDArray[np.float32]]:
    """open_clip's own evaluation transform, from a PIL image to a (3, h, w) array."""
    from open_clip.transform import image_transform_v2

    change = image_transform_v2(preprocessing(spec), is_train=False)
    return lambda image: change(image).numpy()


@cache
def normalisation(spec: ModelSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation, of each channel, that the transform of *spec* normalises with."""
    config = preprocessing(spec)
    return tuple(config.mean), tuple(config.std)


def preprocessing(spec: ModelSpec) -> PreprocessCfg:
    """What open_clip's transform is made of: mean, standard deviation, interpolation and how it resizes."""
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg

    tags = [spec.pretrained] if spec.pretrained else list_pretrained_tags_by_model(spec.architecture)
    published = get_pretrained_cfg(spec.architecture, tags[0]) if tags else {}
    names = ("mean", "std", "interpolation", "resize_mode")
    return PreprocessCfg(size=spec.image_size, **{name: published[name] for name in names if name in published})


def tokens(spec: ModelSpec, texts: Sequence[str]) -> NDArray[np.int64]:
    """The texts as token ids, (n, context) int64, by open_clip's own tokenizer; longer texts are cut.

    Raises:
        UnavailableError: as :func:`tokenizer`.
    """
    return tokenizer(spec)(texts)


def tokenizer(spec: ModelSpec) -> Callable[[Sequence[str]], NDArray[np.int64]]:
    """open_clip's own tokenizer, from texts to ids, (n, context) int64: made once for many calls.

    Half a character, which JSON can hold and UTF-8 cannot, is read as a question mark.

    Raises:
        UnavailableError: the tokenizer needs a package that is not installed, or a file that is not on this machine.
    """
    from open_clip import get_tokenizer

    if spec.extra and find_spec("transformers") is None:
        msg = f"the tokenizer of {spec.name} needs more packages: pip install 'clip-bench[{spec.extra}]'"
        raise UnavailableError(msg)
    if spec.weights.kind == "embedded":
        encode = shapes_tiny.tokenizer()
    else:
        try:
            encode = get_tokenizer(spec.architecture, context_length=spec.context)
        except OSError as exc:
            msg = f"the tokenizer of {spec.name} is not on this machine and its hub cannot be reached"
            raise UnavailableError(msg) from exc

    def tokenized(texts: Sequence[str]) -> NDArray[np.int64]:
        ids: NDArray[np.int64] = (
            encode([text.encode(errors="replace").decode() for text in texts]).numpy().astype(np.int64)
        )
        return ids

    return tokenized


def digest(arrays: Iterable[NDArray[np.generic]]) -> str:
    """sha256 over the types, shapes and bytes of arrays, in order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
