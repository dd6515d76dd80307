"""A product is a tower like any other, of the size that was asked for."""

from dataclasses import replace

import pytest

from clip_bench.errors import UsageError
from clip_bench.models import product, weights
from clip_bench.models.product import Shape

SHAPE = Shape(rows=4, inner=48, outer=20, times=3)


def sizes(shape):
    model, _ = weights.load(product.spec(shape), folder=None, store_root=None)
    return [tuple(value.shape) for value in model.state_dict().values()]


def test_a_product_has_a_weight_for_each_of_its_links():
    assert sizes(SHAPE) == [(20, 48), (48, 20)] * 3


def test_a_tied_product_has_two_weights_whatever_its_length():
    assert sizes(replace(SHAPE, tied=True)) == [(20, 48), (48, 20)]


def test_the_values_of_a_product_are_the_same_each_time():
    digests = {weights.load(product.spec(SHAPE), folder=None, store_root=None)[1] for _ in range(2)}

    assert len(digests) == 1


def test_operations_are_counted_over_the_chain():
    assert SHAPE.flops == 3 * 2 * (2 * 4 * 48 * 20)


def test_shapes_have_models_of_their_own():
    shapes = (SHAPE, replace(SHAPE, times=4), replace(SHAPE, tied=True))

    assert len({product.spec(shape).architecture for shape in shapes}) == 3
    assert product.spec(SHAPE).image_size == 4


@pytest.mark.parametrize("inner", [1024, 0], ids=["power", "zero"])
def test_an_inner_size_that_is_no_picture_is_refused(inner):
    with pytest.raises(UsageError, match="3 s²"):
        product.spec(Shape(rows=4, inner=inner, outer=20, times=1))
