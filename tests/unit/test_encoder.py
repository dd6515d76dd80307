"""Rows of any number become full calls, many under way, and their embeddings come back in order."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import count, cycle, islice
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.encoder import Encoder, stacked
from clip_bench.models import catalog, feeds
from clip_bench.models.towers import PAIR_TEXTS
from clip_bench.specs import BASELINE, Case, Precision, Rewrite, Tower, Variant
from clip_bench.timing import load

SPEC = catalog.MODELS["shapes_tiny"]


class Doubler:
    """A session whose embedding of a sample is twice its first number; it keeps its calls."""

    def __init__(self):
        self.calls = []

    def run(self, call):
        self.calls.append(call)
        return {f"{name}_embedding": 2.0 * self.first(call[own]) for name, own in OWN.items() if own in call}

    @staticmethod
    def first(rows):
        return rows.reshape(len(rows), -1)[:, :1].astype(np.float64)


OWN = {"image": "image", "text": "tokens"}


@contextmanager
def encoder(tower, batch=1, sessions=1, rewrites=()):
    """An encoder over so many sessions, and the calls that they got."""
    variant = Variant(batch=batch, rewrites=rewrites)
    case = Case(model=SPEC, tower=tower, target=BASELINE, precision=Precision.FP32, variant=variant)
    several = [Doubler() for _ in range(sessions)]
    kind = Tower.TEXT if tower is Tower.TEXT else Tower.IMAGE
    with load.dispatched(several, 1 + sessions) as dispatch:
        made = Encoder(
            case=case, kind=kind, artifact=SimpleNamespace(), dispatch=dispatch, clients=cycle(dispatch.clients)
        )
        yield made, lambda: [call for each in several for call in each.calls]


def texts(number):
    return [np.array([i + 1, 999, *[0] * 22], np.int64) for i in range(number)]


@given(number=st.integers(0, 30), batch=st.integers(1, 9), sessions=st.integers(1, 3))
def test_every_row_comes_back_in_its_place_from_a_full_call(number, batch, sessions):
    with encoder(Tower.TEXT, batch, sessions) as (encode, calls):
        found = stacked(encode(texts(number)))

    assert found.shape == ((number, 1) if number else (0, 0))
    assert found.ravel().tolist() == [2.0 * (i + 1) for i in range(number)]
    assert {len(call["tokens"]) for call in calls()} <= {batch}
    assert len(calls()) == -(-number // batch)


def test_no_more_rows_are_taken_than_keep_the_sessions_busy():
    taken = count()
    with encoder(Tower.TEXT, 4, 2) as (encode, _):
        found = encode(row for row in texts(400) if next(taken) >= 0)
        got = list(islice(found, 10))

    assert len(got) == 10
    assert next(taken) <= 4 * (1 + 2 + 10 // 4)


def test_a_fused_cell_gets_a_blank_for_what_is_not_asked_about():
    pictures = [np.full((3, 64, 64), i, np.float32) for i in range(3)]
    with encoder(Tower.PAIR) as (encode, calls):
        images = stacked(encode(pictures))
        words = stacked(replace(encode, kind=Tower.TEXT)(texts(PAIR_TEXTS + 1)))

    assert images.ravel().tolist() == [0, 2, 4]
    assert words.ravel().tolist() == [2 * (i + 1) for i in range(PAIR_TEXTS + 1)]
    assert {(call["image"].shape, call["tokens"].shape) for call in calls()} == {((1, 3, 64, 64), (PAIR_TEXTS, 24))}
    assert all(call["tokens"].argmax(axis=1).tolist() == [0] * PAIR_TEXTS for call in calls()[:3])


def test_words_are_cut_for_a_graph_that_takes_them_so():
    with encoder(Tower.TEXT, 4, rewrites=(Rewrite.TRIMMED,)) as (encode, calls):
        list(encode(texts(6)))

    assert [call["tokens"].shape for call in calls()] == [(4, 2), (4, 2)]


@pytest.mark.parametrize("kind", [np.uint8, np.float32], ids=["whole", "floats"])
def test_a_graph_that_normalises_gets_pixels(kind):
    mean, std = (np.reshape(each, (3, 1, 1)) for each in feeds.normalisation(SPEC))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64))
    given = pixels.astype(np.uint8) if kind is np.uint8 else ((pixels / 255 - mean) / std).astype(np.float32)
    with encoder(Tower.IMAGE, rewrites=(Rewrite.FOLDED,)) as (encode, calls):
        list(encode([given]))

    (call,) = calls()
    assert call["image"].dtype == np.uint8
    assert np.array_equal(call["image"][0], pixels)


def test_what_a_session_raises_is_raised_where_the_rows_are_wanted():
    with encoder(Tower.TEXT, 2) as (encode, _), pytest.raises(ValueError, match="all input array"):
        list(encode([*texts(2), np.zeros(3, np.int64), np.zeros(2, np.int64)]))
