"""Seeded weights are the same bytes everywhere, and embeddings of different things differ."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from clip_bench.models import catalog, seeded, weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """vit_b_32_random; load() has checked its digest."""
    made, sha256 = weights.load(
        catalog.MODELS["vit_b_32_random"], folder=None, store_root=tmp_path_factory.mktemp("store")
    )
    assert sha256 == catalog.MODELS["vit_b_32_random"].weights.sha256
    return made


def test_a_stream_is_these_very_bytes():
    """The first is worked out from the raw word; the hash guards other platforms and other numpys."""
    key = np.frombuffer(hashlib.sha256(b"a").digest()[:16], dtype="<u8")
    word = int(np.random.Philox(key=key).random_raw())

    values = seeded.uniform("a", 5, 1.0)

    assert values[0] == np.float32((word >> 40) - 2**23) * np.float32(np.sqrt(12) / 2**24)
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:16] == "33a5904b14a390c8"


def test_a_stream_has_the_asked_moments():
    values = seeded.uniform("moments", 200_000, 0.25).astype(np.float64)

    assert abs(values.mean()) < 0.002
    assert abs(values.std() - 0.25) < 0.001
    assert np.abs(values).max() <= 0.25 * np.sqrt(3)


def test_streams_of_two_names_differ():
    assert np.abs(np.corrcoef(seeded.uniform("a", 10_000, 1.0), seeded.uniform("b", 10_000, 1.0))[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("name", "initial", "kept"),
    [
        ("logit_scale", torch.tensor(2.6593), True),
        ("ln.weight", torch.ones(4), True),
        ("bn.num_batches_tracked", torch.tensor(0), True),
        ("table", torch.arange(4), True),
        ("bias", torch.zeros(4), True),
        ("fc.bias", torch.linspace(-1, 1, 4), False),
        ("fc.weight", torch.randn(3, 4), False),
    ],
    ids=["scalar", "gain", "counter", "integers", "zeros", "drawn_bias", "drawn_weight"],
)
def test_constants_are_kept_and_the_rest_is_drawn(name, initial, kept):
    made = seeded.weights({name: initial})[name]

    assert torch.equal(made, initial) == kept
    assert (made.shape, made.dtype) == (initial.shape, initial.dtype)


def test_no_branch_is_silent():
    initial = {"bn3.weight": torch.zeros(4), "layer_scale.gamma": torch.full((4, 1, 1), 1e-5)}

    made = seeded.weights(initial)

    assert made["bn3.weight"].unique().tolist() == [0.5]
    assert made["layer_scale.gamma"].unique().tolist() == [pytest.approx(0.1)]


def test_values_do_not_depend_on_the_initial_ones():
    one = seeded.weights({"fc.weight": torch.randn(3, 4)})
    two = seeded.weights({"fc.weight": torch.randn(3, 4)})

    assert seeded.digest(one) == seeded.digest(two)


@pytest.mark.parametrize(
    "other",
    [{"b": torch.zeros(2)}, {"a": torch.zeros(1, 2)}, {"a": torch.zeros(2, dtype=torch.int32)}, {"a": torch.ones(2)}],
    ids=["name", "shape", "dtype", "value"],
)
def test_a_digest_sees_every_change(other):
    assert seeded.digest({"a": torch.zeros(2)}) != seeded.digest(other)


def test_a_second_architecture_has_its_recorded_digest(tmp_path):
    spec = catalog.MODELS["rn50_random"]

    _, sha256 = weights.load(spec, folder=None, store_root=tmp_path)

    assert sha256 == spec.weights.sha256


def off_diagonal(embeddings):
    unit = normalize(embeddings, dim=-1)
    return (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]


def test_embeddings_of_different_pictures_differ(model):
    pictures = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    pictures[1:] = pictures[1:] * 0.3 + torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1)

    with torch.inference_mode():
        embeddings = model.encode_image(pictures)

    assert bool(embeddings.isfinite().all())
    assert off_diagonal(embeddings).mean() < 0.8


def test_embeddings_of_different_captions_differ(model):
    tokens = torch.zeros(3, 77, dtype=torch.long)
    tokens[:, :5] = torch.tensor(
        [[49406, 320, 2368, 269, 49407], [49406, 320, 1929, 269, 49407], [49406, 899, 6, 7, 49407]]
    )

    with torch.inference_mode():
        embeddings = model.encode_text(tokens)

    assert bool(embeddings.isfinite().all())
    assert off_diagonal(embeddings).mean() < 0.9
