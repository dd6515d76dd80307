"""The generated scenes are what their captions say, and the same everywhere."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.data import scenes
from clip_bench.data.scenes import Split

# sha256 of the first ten scenes, drawn at 48 to 57 pixels. Another digest means other data: every accuracy figure
# and the training of shapes_tiny would change with it.
GOLDEN = {
    "train-1": "d98d03242d41d1548f8b6e4288d7a56abb8ab1e0d2c7e21a5ffca1acc4c3b347",
    "train-2": "e1057a45a446845c6f74dae96365ee815416ecffdd90c80a1c646561a9d8a5e2",
    "train-3": "22d97aa85ac5731695ef65dad4063a27e8a6d582415351615dcce5adb6ce8713",
    "calibration-1": "1ba6cc8b640f47f7f29cabf9e320bedfe142d5b65104d471c490a4ca5759bb73",
    "calibration-2": "3db949b2d7c3557a867fbba0ab49fa116157d57b48c8520d957018f1cd834469",
    "calibration-3": "cb22b76c2dc425c4ca8479648b636a5fc192d2c025d8a9e8c02c2f8d2e2079b3",
    "evaluation-1": "7813719c55543edbe48d9c3d04a13755949e919f34d8bd1ca94af9e3ede544ac",
    "evaluation-2": "5c3463934ba55f24b21cb90b1228a9c70da9b32d25015099b8fc59b78129c9a6",
    "evaluation-3": "588fd4ec02ebaefb5f505e2bdb8857884ba493564b6f2a0bfba0c6c1962b387c",
}

anyscene = st.builds(scenes.scene, st.sampled_from(Split), st.integers(min_value=0, max_value=2**32), st.integers(1, 3))


def objects(scene, size):
    """One mask (size, size) per thing: the pixels that it alone changes."""
    ground = scenes.render(replace(scene, things=()), size)
    return [(scenes.render(replace(scene, things=(thing,)), size) != ground).any(axis=-1) for thing in scene.things]


@pytest.mark.parametrize("stream", GOLDEN)
def test_scenes_have_the_same_pixels_on_every_platform(stream):
    split, count = stream.split("-")

    drawn = [scenes.scene(Split[split.upper()], index, int(count)) for index in range(10)]

    assert scenes.digest(scenes.render(scene, 48 + index) for index, scene in enumerate(drawn)) == GOLDEN[stream]


def test_a_scene_has_the_same_pixels_at_the_size_of_the_large_models():
    drawn = [scenes.render(scenes.scene(Split.EVALUATION, index, 3), 224) for index in range(2)]

    assert scenes.digest(drawn) == "efa6f5f9c8c2bf933519c633d39c03e1a90b8ac99c407c329bafa0f037d80f7c"


def test_every_class_is_equally_often_in_each_hundred_single_scenes():
    kinds = [
        (thing.colour, thing.shape)
        for index in range(200, 400)
        for thing in scenes.scene(Split.EVALUATION, index, 1).things
    ]

    assert sorted(Counter(f"{colour} {shape}" for colour, shape in kinds).items()) == [
        (name, 2) for name in sorted(scenes.CLASSES)
    ]


@given(st.integers(min_value=0, max_value=2**32))
def test_a_single_scene_shows_the_class_of_its_label(index):
    scene = scenes.scene(Split.EVALUATION, index, 1)

    assert scene.caption == scenes.PROMPTS[scenes.label(index)]


def test_there_is_one_distinct_prompt_per_class():
    assert len(scenes.CLASSES) == 100
    assert len(set(scenes.PROMPTS)) == len(scenes.CLASSES)


@given(anyscene)
def test_a_caption_names_its_objects_from_left_to_right(scene):
    placed = sorted(scene.things, key=lambda thing: thing.x)

    named = scene.caption.replace(" and ", ", ").split(", ")

    assert named == [scenes.phrase(f"{thing.colour} {thing.shape}") for thing in placed]


def test_the_first_captions_of_an_evaluation_differ():
    captions = [scenes.scene(Split.EVALUATION, index, 3).caption for index in range(500)]

    assert len(set(captions)) == 500


@given(anyscene)
def test_objects_keep_apart_and_inside_by_their_radius(scene):
    """The circle of one radius: a triangle's turned corners may stand out of it by a fifth of the radius."""
    spans = [(thing.x - thing.radius, thing.x + thing.radius) for thing in scene.things]
    heights = [(thing.y - thing.radius, thing.y + thing.radius) for thing in scene.things]

    edges = [0.0, *(edge for span in spans for edge in span), 1.0]

    assert all(b - a >= -1e-12 for a, b in pairwise(edges))
    assert all(low >= 0.02 - 1e-12 and high <= 0.98 + 1e-12 for low, high in heights)


@given(anyscene)
def test_objects_hide_next_to_nothing_of_each_other(scene):
    """Where two corners meet, at most a tenth of the smaller object is covered."""
    masks = objects(scene, 64)

    shared = np.sum(masks, axis=0) > 1

    assert shared.sum() <= min(mask.sum() for mask in masks) / 10


@given(anyscene)
def test_every_object_is_seen(scene):
    """It changes at least a third of the pixels of its circle: colours stand out and edges cut little."""
    for mask, thing in zip(objects(scene, 64), scene.things, strict=True):
        assert mask.sum() >= np.pi * (thing.radius * 64) ** 2 / 3


@given(anyscene, st.integers(1, 80))
def test_a_picture_of_any_size_is_eight_bits_of_rgb(scene, size):
    pixels = scenes.render(scene, size)

    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8


@given(anyscene)
def test_the_ground_is_neither_black_nor_white_anywhere(scene):
    """Its grey, its tint and three layers of noise stay within what 8 bits hold: nothing is clipped."""
    ground = scenes.render(replace(scene, things=()), 32)

    assert ground.min() > 0
    assert ground.max() < 255


@given(st.sampled_from(Split), st.integers(min_value=0, max_value=2**32), st.integers(1, 3))
def test_a_scene_depends_on_its_own_key_alone(split, index, count):
    once = scenes.render(scenes.scene(split, index, count), 24)
    scenes.scene(split, index + 1, count)

    again = scenes.render(scenes.scene(split, index, count), 24)
    other = scenes.render(scenes.scene(split, index + 1, count), 24)

    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
