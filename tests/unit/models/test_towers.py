"""Towers are traced with what they will be fed, and are named alike everywhere."""

import pytest
import torch

from clip_bench.errors import UnsupportedError
from clip_bench.models import catalog, towers
from clip_bench.specs import Tower

SPEC = catalog.MODELS["vit_b_32_openai"]


@pytest.mark.parametrize(
    ("tower", "batch", "expected"),
    [
        pytest.param(Tower.IMAGE, 3, [(3, 3, 224, 224)], id="vision"),
        pytest.param(Tower.TEXT, 3, [(3, 77)], id="language"),
        pytest.param(Tower.PAIR, 1, [(1, 3, 224, 224), (10, 77)], id="fused"),
    ],
)
def test_an_example_has_the_shapes_and_types_of_what_goes_in(tower, batch, expected):
    made = towers.example(SPEC, tower, batch)

    types = {"image": torch.float32, "tokens": torch.int64}
    assert [tuple(tensor.shape) for tensor in made] == expected
    assert [tensor.dtype for tensor in made] == [types[name] for name in towers.INPUTS[tower]]


def test_an_example_has_one_largest_token_to_pool_at():
    (tokens,) = towers.example(SPEC, Tower.TEXT, 2)

    assert (tokens == tokens.max(dim=1, keepdim=True).values).sum(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize("batch", [0, 2, 16])
def test_the_fused_graph_has_no_other_batch_than_one(batch):
    with pytest.raises(UnsupportedError, match="one image with ten texts; export the image and text towers"):
        towers.example(SPEC, Tower.PAIR, batch)


def test_every_tower_has_names_for_what_goes_in_and_out():
    assert set(towers.INPUTS) == set(towers.OUTPUTS) == set(Tower)
    assert towers.INPUTS[Tower.PAIR] == towers.INPUTS[Tower.IMAGE] + towers.INPUTS[Tower.TEXT]
    assert towers.OUTPUTS[Tower.PAIR][:2] == towers.OUTPUTS[Tower.IMAGE] + towers.OUTPUTS[Tower.TEXT]
