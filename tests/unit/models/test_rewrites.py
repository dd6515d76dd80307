"""A rewrite changes nothing but rounding, on every architecture that permits it, and tells the others why not."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clip_bench.data import generated
from clip_bench.errors import UnsupportedError
from clip_bench.models import catalog, feeds, rewrites, seeded, shapes_tiny, towers
from clip_bench.quality import metrics, noise
from clip_bench.specs import Rewrite, Tower

LAYERS = 2  # of each transformer here, where the architecture has 12 or 24; timm's models are whole
ROWS = 4
SLACK = 4  # times the plain tower's own distance from the answer in float64, or the noise floor where that is more
NORMALISATION = (shapes_tiny.MEAN, shapes_tiny.STD)
TRIMMED, POOLED, FOLDED = Rewrite.TRIMMED, Rewrite.POOLED, Rewrite.FOLDED
CUTS = [(TRIMMED,), (POOLED,), (TRIMMED, POOLED)]
SIGHTS = [(POOLED,), (FOLDED,), (POOLED, FOLDED)]
OWN = (*((Tower.IMAGE, each) for each in SIGHTS), *((Tower.TEXT, each) for each in CUTS))
ONLY_TEXT = tuple((Tower.TEXT, each) for each in CUTS)
POOLED_TEXT = ((Tower.TEXT, (POOLED,)),)
# What is permitted; the rest is refused.
PERMITTED = {
    "ViT-B-32": OWN,
    "ViT-B-32-quickgelu": OWN,
    "ViT-B-16-quickgelu": OWN,
    "ViT-L-14": OWN,
    "ViT-L-14-quickgelu": OWN,
    "RN50-quickgelu": ONLY_TEXT,
    "MobileCLIP-S1": POOLED_TEXT,
    "MobileCLIP-S2": POOLED_TEXT,
    "ViT-B-16-SigLIP": (*POOLED_TEXT, (Tower.IMAGE, (FOLDED,))),
    "shapes_tiny": OWN,
}
REASONS = {
    ("RN50-quickgelu", POOLED): "no class token",
    ("RN50-quickgelu", FOLDED): "pads the normalised picture",
    ("MobileCLIP-S1", TRIMMED): "not causal",
    ("MobileCLIP-S2", TRIMMED): "not causal",
    ("MobileCLIP-S1", POOLED): "no class token",
    ("MobileCLIP-S2", POOLED): "no class token",
    ("MobileCLIP-S1", FOLDED): "does not go into one convolution",
    ("MobileCLIP-S2", FOLDED): "does not go into one convolution",
    ("ViT-B-16-SigLIP", TRIMMED): "not causal",
    ("ViT-B-16-SigLIP", POOLED): "no class token",
}


def made(architecture):
    """The architecture with few layers and seeded weights."""
    if architecture == "shapes_tiny":
        model = shapes_tiny.architecture()
    else:
        config = open_clip.get_model_config(architecture)
        config["text_cfg"]["layers"] = LAYERS
        if isinstance(config["vision_cfg"].get("layers"), int):
            config["vision_cfg"]["layers"] = LAYERS
        kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
        model = kind(**config)
    model.load_state_dict(seeded.weights(model.state_dict()))
    return model.eval()


@pytest.fixture(scope="module", params=PERMITTED)
def architecture(request):
    return request.param


@pytest.fixture(scope="module")
def model(architecture):
    return made(architecture)


@pytest.fixture(scope="module")
def fed(architecture):
    """Pictures of whole pixels, normalised, and texts of several lengths whose largest id comes last, then zeros."""
    spec = next(spec for spec in catalog.MODELS.values() if spec.architecture == architecture)
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (ROWS, 3, spec.image_size, spec.image_size)).astype(np.float32) / 255
    mean, std = (np.float32(np.reshape(each, (1, 3, 1, 1))) for each in NORMALISATION)
    tokens = draw.integers(1, 30_000, (ROWS, spec.context))
    for row, end in zip(tokens, (3, 7, 9, 17), strict=True):
        row[end:] = 0
        row[end] = 31_999
    return {Tower.IMAGE: {"image": (image - mean) / std}, Tower.TEXT: {"tokens": tokens}}


def answered(module, call):
    with torch.inference_mode():
        return module(*(torch.from_numpy(rows) for rows in call.values())).numpy()


def shaped(call, chosen):
    """As :func:`feeds.shaped`, with this module's normalisation for every architecture."""
    made = dict(call)
    if TRIMMED in chosen and "tokens" in made:
        made["tokens"] = rewrites.cut(made["tokens"])
    if FOLDED in chosen and "image" in made:
        made["image"] = rewrites.pixels(made["image"], *NORMALISATION)
    return made


def parts(call, size):
    (name, rows), *_ = call.items()
    return [{name: rows[i : i + size]} for i in range(0, len(rows), size)]


def judged(model, tower, call):
    """The answer in float64, and how far float32 is from it by itself."""
    plain, exact = (towers.module(model, tower, kind) for kind in (torch.float32, torch.float64))
    whole, truth = answered(plain, call), answered(exact, call)
    others = {
        name: np.concatenate([answered(plain, part) for part in parts(call, size)])
        for name, size in (("again", ROWS), ("batch", 1), ("threads", 2))
    }
    return truth, max(noise.measure(whole, **others).drift, metrics.drift(whole, truth).mean())


@pytest.mark.parametrize("tower", [Tower.IMAGE, Tower.TEXT], ids=["vision", "language"])
def test_a_tower_is_equal_within_the_noise_or_refused_with_the_reason(architecture, model, fed, tower):
    call = fed[tower]
    permitted = [chosen for where, chosen in PERMITTED[architecture] if where is tower]
    truth, floor = judged(model, tower, call)

    for chosen in SIGHTS if tower is Tower.IMAGE else CUTS:
        if chosen not in permitted:
            reason = next(REASONS[architecture, each] for each in chosen if (architecture, each) in REASONS)
            with pytest.raises(UnsupportedError, match=reason):
                towers.module(model, tower, torch.float32, chosen, NORMALISATION)
            continue
        module = towers.module(model, tower, torch.float32, chosen, NORMALISATION)
        for size in (ROWS, 1):
            rows = np.concatenate([answered(module, shaped(part, chosen)) for part in parts(call, size)])
            drift = metrics.drift(rows, truth).mean()
            assert drift <= SLACK * floor, f"{architecture} {tower} {chosen} by {size}: {drift:.3g}, {floor:.3g}"


def test_every_architecture_of_the_catalog_is_tried():
    assert {spec.architecture for spec in catalog.MODELS.values()} == set(PERMITTED)


def test_a_mistake_would_be_seen():
    """The bound is far below what another mean or another end does."""
    model = made("shapes_tiny")
    tokens = np.array([[5, 9, 3, 31_999, 0, 0, 7, 2] + [0] * 16])
    picture = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)
    truth, floor = judged(model, Tower.TEXT, {"tokens": np.repeat(tokens, ROWS, 0)})
    mean, std = NORMALISATION
    sights = [
        answered(towers.module(model, Tower.IMAGE, torch.float32, (FOLDED,), (each, std)), {"image": picture})
        for each in (mean, (0.4, 0.45, 0.4))
    ]

    shorter = answered(towers.module(model, Tower.TEXT, torch.float32, (TRIMMED,)), {"tokens": tokens[:, :3]})

    assert metrics.drift(shorter, truth[:1]).mean() > 1e6 * SLACK * floor
    assert metrics.drift(*sights).mean() > 1e6 * SLACK * floor


@given(
    tokens=arrays.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(2, 20)), elements=st.integers(0, 60)),
)
@settings(deadline=None)
def test_a_cut_keeps_every_end_and_no_more(tokens):
    ends = tokens.argmax(axis=1)

    cut = rewrites.cut(tokens)

    assert cut.argmax(axis=1).tolist() == ends.tolist()
    assert cut.shape == (len(tokens), ends.max() + 1)


@given(
    picture=arrays.arrays(np.uint8, (1, 3, 4, 4)),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.1, 1)] * 3),
)
@settings(deadline=None)
def test_pixels_come_back_whatever_they_were_normalised_by(picture, mean, std):
    shape = (1, 3, 1, 1)
    normal = ((picture / np.float32(255)) - np.float32(np.reshape(mean, shape))) / np.float32(np.reshape(std, shape))

    back = rewrites.pixels(normal.astype(np.float32), mean, std)

    assert back.dtype == np.uint8
    assert np.array_equal(back, picture)


def test_the_feeds_of_a_transform_are_its_pixels_exactly():
    spec = catalog.MODELS["shapes_tiny"]
    image = feeds.images(spec, generated.evaluation(2, 2, spec.image_size))
    mean, std = (np.float32(np.reshape(each, (1, 3, 1, 1))) for each in feeds.normalisation(spec))

    back = rewrites.pixels(image, *feeds.normalisation(spec))

    assert np.abs((np.float32(back) / 255 - mean) / std - image).max() < 1e-6
    assert len(np.unique(back)) > 10


@pytest.mark.parametrize("value", [0.3, -0.5, 1.5], ids=["between", "below", "above"])
def test_pictures_of_more_than_eight_bits_are_refused(value):
    picture = np.zeros((1, 3, 2, 2), np.float32)
    picture[0, 1, 1, 0] = value

    with pytest.raises(UnsupportedError, match="more than 8 bits"):
        rewrites.pixels(picture / 0.5, (0.0,) * 3, (0.5,) * 3)
