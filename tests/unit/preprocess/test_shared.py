"""The published differences on the picture that they were measured on, where it is there."""

from pathlib import Path

import numpy as np
import pytest

from clip_bench.models.catalog import MODELS
from clip_bench.preprocess import transform

SPEC = MODELS["vit_b_32_random"]


@pytest.fixture(scope="module")
def diagram(request):
    path = Path(request.config.rootpath).parent / "shared" / "data" / "images" / "CLIP.png"
    if not path.is_file():
        pytest.skip("needs ../shared/data/images/CLIP.png beside the repository")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("variant", "published", "digits"),
    [
        ("rgb_first", 0.0312, 4),
        ("grey", 0.0535, 4),
        ("opencv_cubic", 0.075, 3),
        ("opencv_area", 0.040, 3),
        ("fused", 0, 4),
    ],
)
def test_differences_are_those_that_were_published_and_reproduced(diagram, variant, published, digits):
    if variant.startswith("opencv"):
        pytest.importorskip("cv2", reason="needs opencv-python-headless: pip install 'clip-bench[pixels]'")

    apart = np.abs(transform("open_clip", SPEC)(diagram) - transform(variant, SPEC)(diagram)).mean()

    assert round(float(apart), digits) == published
