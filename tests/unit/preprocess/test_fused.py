"""The fused transform gives the reference's pixels, whatever the picture is stored as."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_bench.data import folders
from clip_bench.errors import UsageError
from clip_bench.models.catalog import MODELS
from clip_bench.preprocess import decode, fused, plan, transform

BOUND = 1e-4
MODELS_OF_EACH_KIND = {"cropped": "vit_b_32_random", "linear": "mobileclip_s1_random", "squash": "siglip_b_16_random"}
PNG = ("RGB", "RGBA", "LA", "L", "P", "P and a clear colour", "1", "I;16", "RGB and a clear colour")
OTHERS = ("CMYK", "turned", "grey JPEG", "JPEG", "TIFF of CMYK", "TIFF of RGBA", "WEBP")
KINDS = (*PNG, *OTHERS)


def pixels(seed, width, height, texture):
    """Noise, black and white, stripes of a period, or a slope: (h, w, 4)."""
    draw = np.random.default_rng(seed)
    if texture == "noise":
        return draw.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if texture == "extremes":
        return 255 * draw.integers(0, 2, (height, width, 4), dtype=np.uint8)
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    if texture == "stripes":
        lit = (across // draw.integers(1, 5) + down // draw.integers(1, 9)) % 2
        return np.repeat(255 * lit[..., None].astype(np.uint8), 4, axis=2)
    return np.stack([across, down, across + down, 255 - across], axis=-1).astype(np.uint8)


def stored(kind, rows):
    """Those pixels as a file of *kind*."""
    whole, told, file = Image.fromarray(rows), {}, "PNG"
    colours = whole.convert("RGB")
    if kind == "P and a clear colour":
        made, told = colours.quantize(16), {"transparency": 3}
    elif kind == "RGB and a clear colour":
        made, told = colours, {"transparency": tuple(map(int, rows[0, 0, :3]))}
    elif kind == "I;16":
        made = Image.fromarray(rows[..., 0].astype(np.uint16) * rows[..., 1])
    elif kind in PNG:
        made = colours.quantize(16) if kind == "P" else whole.convert(kind)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        made, told, file = colours, {"exif": exif}, "JPEG"
    else:
        file = kind if kind in {"JPEG", "WEBP"} else "TIFF" if kind.startswith("TIFF") else "JPEG"
        made = {"CMYK": colours.convert("CMYK"), "TIFF of CMYK": colours.convert("CMYK")}.get(kind, colours)
        made = whole if kind in {"TIFF of RGBA", "WEBP"} else colours.convert("L") if kind == "grey JPEG" else made
    target = io.BytesIO()
    made.save(target, file, **told)
    return target.getvalue()


@pytest.fixture(scope="module")
def both():
    """The reference and ours, of a model of each kind, at a size that is quick."""
    specs = {kind: replace(MODELS[name], image_size=48) for kind, name in MODELS_OF_EACH_KIND.items()}
    return {kind: (transform("open_clip", spec), transform("fused", spec)) for kind, spec in specs.items()}


def apart(both, file):
    return float(np.abs(both[0](file) - both[1](file)).mean())


@pytest.mark.parametrize("resizing", MODELS_OF_EACH_KIND)
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    texture=st.sampled_from(["noise", "extremes", "stripes", "slope"]),
    seed=st.integers(0, 1000),
)
@example(kind="RGB", width=64, height=1, texture="noise", seed=0)
@example(kind="RGBA", width=1, height=64, texture="extremes", seed=0)
@example(kind="P", width=64, height=1, texture="noise", seed=0)
@example(kind="1", width=1, height=64, texture="noise", seed=0)
@example(kind="L", width=96, height=96, texture="stripes", seed=0)
@example(kind="RGB", width=48, height=48, texture="noise", seed=0)
@example(kind="RGBA", width=49, height=48, texture="noise", seed=0)
@example(kind="RGB", width=60, height=38, texture="noise", seed=0)
@example(kind="RGB", width=55, height=132, texture="noise", seed=0)
@example(kind="RGB", width=128, height=15, texture="stripes", seed=0)
@example(kind="RGB", width=384, height=95, texture="stripes", seed=107)
@example(kind="RGBA", width=416, height=147, texture="slope", seed=926)
def test_every_kind_of_file_gives_the_pixels_of_the_reference(both, resizing, kind, width, height, texture, seed):
    if max(width, height) > folders.NARROWEST * min(width, height):
        width = height = min(width, height)

    assert apart(both[resizing], stored(kind, pixels(seed, width, height, texture))) <= BOUND


@pytest.mark.parametrize("size", [(640, 425), (425, 640), (2162, 762), (31, 17), (3000, 60)], ids=str)
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "JPEG"])
@pytest.mark.parametrize("resizing", MODELS_OF_EACH_KIND)
def test_real_sizes_give_the_pixels_of_the_reference(resizing, kind, size):
    spec = MODELS[MODELS_OF_EACH_KIND[resizing]]
    file = stored(kind, pixels(1, *size, "noise"))

    assert apart((transform("open_clip", spec), transform("fused", spec)), file) <= BOUND


@pytest.mark.parametrize("size", [(90, 40), (40, 90), (1, 64), (64, 1), (20, 20)], ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "turned"])
def test_a_transform_that_pads_pads_the_same(size, kind):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=48, resize_mode="longest", fill_color=5)
    padding = plan.Plan(
        size=48, mode="longest", resample=Image.Resampling.BICUBIC, mean=config.mean, std=config.std, fill=5
    )
    file = stored(kind, pixels(2, *size, "noise"))

    expected = image_transform_v2(config, is_train=False)(decode.picture(file)).numpy()
    made = fused.normaliser(padding)(fused.crop(decode.fastest(file), padding))

    assert np.abs(expected - made).mean() <= BOUND


def test_a_turned_photograph_stays_as_it_is_stored(both):
    rows = pixels(3, 90, 60, "slope")

    assert np.array_equal(both["cropped"][1](stored("turned", rows)), both["cropped"][1](stored("JPEG", rows)))


def test_what_it_makes_is_as_a_model_takes_it(both):
    made = both["cropped"][1](stored("RGB", pixels(0, 70, 50, "noise")))

    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.float32, (3, 48, 48), True)


def test_the_crop_alone_normalises_to_what_the_transform_makes():
    spec, file = MODELS["vit_b_32_random"], stored("RGBA", pixels(0, 300, 250, "noise"))

    crop = fused.pixels(spec)(file)

    assert (crop.dtype, crop.shape) == (np.uint8, (224, 224, 3))
    assert np.array_equal(fused.normaliser(plan.of(spec))(crop), transform("fused", spec)(file))


def test_a_variant_that_cannot_pad_refuses_a_model_that_does(monkeypatch):
    planned = plan.of(MODELS["vit_b_32_random"])
    monkeypatch.setattr(plan, "of", lambda _: replace(planned, mode="longest"))

    with pytest.raises(UsageError, match=r"vit_b_32_random pads its pictures, .*: take open_clip or fused"):
        plan.unpadded(MODELS["vit_b_32_random"])
