"""The reference is what the model itself answers, and knows its own noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clip_bench.models import reference, towers
from clip_bench.quality import metrics
from clip_bench.specs import Tower


def direct(shapes, tower, rows):
    """All *rows* through the tower in one batch."""
    with torch.inference_mode():
        return towers.module(shapes.source.model(), tower, torch.float32)(torch.from_numpy(rows)).numpy()


def test_embeddings_are_those_of_the_model(shapes):
    model = shapes.source.model()

    with torch.inference_mode():
        image = model.encode_image(torch.from_numpy(shapes.fed.image)).numpy()
        text = model.encode_text(torch.from_numpy(shapes.fed.tokens)).numpy()

    np.testing.assert_allclose(shapes.reference.image, image, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shapes.reference.text, text, rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_fused_tower(shapes):
    module = towers.module(shapes.source.model(), Tower.PAIR, torch.float32)
    calls = shapes.fed.calls(Tower.PAIR)

    with torch.inference_mode():
        made = [module(*map(torch.from_numpy, call.values())) for call in calls]

    expected = shapes.reference.outputs(shapes.fed, Tower.PAIR)
    for place, name in enumerate(towers.OUTPUTS[Tower.PAIR]):
        found = np.concatenate([parts[place].numpy() for parts in made])
        np.testing.assert_allclose(expected[name], found, rtol=1e-4, atol=1e-4)


def test_logits_are_cosines_times_the_scale_plus_the_bias(shapes):
    plain = shapes.reference
    biased = replace(plain, scale=3.0, bias=-10.0)

    logits = biased.outputs(shapes.fed, Tower.PAIR)["logits"]

    texts = plain.text[shapes.fed.choices]
    for column in range(10):
        cosines = metrics.cosine(plain.image, texts[:, column])
        np.testing.assert_allclose(logits[:, column], 3 * cosines - 10, atol=1e-5)
    assert logits.dtype == np.float32
    assert logits.shape == (len(plain.image), 10)


def test_the_outputs_of_a_tower_have_the_names_of_its_graph(shapes):
    found = {tower: tuple(shapes.reference.outputs(shapes.fed, tower)) for tower in Tower}

    assert found == towers.OUTPUTS


def test_the_scale_is_that_of_the_model(shapes):
    assert shapes.reference.scale == pytest.approx(shapes.source.model().logit_scale.exp().item())
    assert shapes.reference.bias == 0


def test_the_first_rows_are_there_again_by_each_way_of_computing_them(shapes):
    found = {name: rows.shape for name, rows in shapes.reference.others.items()}

    pictures, texts = len(shapes.fed.image), min(64, len(shapes.fed.tokens))
    assert found == {
        **{f"image_{how}": (pictures, 128) for how in ("again", "batch", "threads")},
        **{f"text_{how}": (texts, 128) for how in ("again", "batch", "threads")},
    }
    for name, rows in shapes.reference.others.items():
        first = shapes.reference.image if name.startswith("image") else shapes.reference.text
        assert metrics.drift(rows, first[: len(rows)]).max() < 1e-10


def test_other_feeds_have_another_reference_and_the_same_feeds_the_same(shapes):
    few = replace(shapes.fed, image=shapes.fed.image[:2], tokens=shapes.fed.tokens[:2], sha256="few")

    again = reference.make(shapes.source, shapes.fed, shapes.store, threads=1)
    other = reference.make(shapes.source, few, shapes.store, threads=1)

    assert again.artifact == shapes.reference.artifact
    assert other.artifact.key != again.artifact.key
    assert other.artifact.recipe["feeds_sha256"] == "few"
    assert len(other.image) == len(other.text) == 2


def test_the_number_of_threads_is_put_back(shapes):
    before = torch.get_num_threads()
    few = replace(shapes.fed, image=shapes.fed.image[:2], tokens=shapes.fed.tokens[:2], sha256="threads")

    reference.make(shapes.source, few, shapes.store, threads=before + 1)

    assert torch.get_num_threads() == before
