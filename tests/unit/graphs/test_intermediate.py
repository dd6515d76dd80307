"""IR files hold the weights at the types that their recipe names."""

from collections import Counter
from dataclasses import asdict, replace

import openvino
import pytest

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import openvino_ir
from clip_bench.models import towers
from clip_bench.specs import Format, Precision, Tower, Variant

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]


def build(graph, precision):
    return graphs.build(graph, precision, Format.OPENVINO_IR)


def read(artifact):
    return openvino.Core().read_model(artifact.file(".xml"))


def held(model, least=5000):
    """The types of the model's constants that are matrices."""
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    return Counter(op.get_element_type().get_type_name() for op in constants if op.get_data().size >= least)


def test_a_file_has_the_names_and_shapes_of_its_tower(shapes):
    model = read(build(shapes.graph(Tower.PAIR), Precision.FP32))

    given = {port.get_any_name(): tuple(port.shape) for port in model.inputs}
    made = {port.get_any_name(): tuple(port.shape) for port in model.outputs}
    assert given == {"image": (1, 3, 64, 64), "tokens": (10, 24)}
    assert made == {"image_embedding": (1, 128), "text_embedding": (10, 128), "logits": (1, 10)}
    assert tuple(made) == towers.OUTPUTS[Tower.PAIR]


@pytest.mark.parametrize("tower", TOWERS)
def test_half_the_bits_are_about_half_the_bytes(shapes, tower):
    whole = build(shapes.graph(tower), Precision.FP32)
    half = build(shapes.graph(tower), Precision.FP16)

    assert set(held(read(whole))) & {"f16", "f32"} == {"f32"}
    assert set(held(read(half))) & {"f16", "f32"} == {"f16"}
    assert half.size_bytes == pytest.approx(whole.size_bytes / 2, rel=0.1)


def test_what_is_executed_in_bfloat16_is_the_float32_file(shapes):
    graph = shapes.graph(Tower.IMAGE)

    assert build(graph, Precision.BF16) == build(graph, Precision.FP32)


@pytest.mark.parametrize("tower", TOWERS)
def test_a_quantized_file_is_smaller_and_says_where_it_quantizes(shapes, tower):
    half = build(shapes.graph(tower), Precision.FP16)

    artifact = build(shapes.graph(tower), Precision.INT8_NNCF)

    kinds = Counter(op.get_type_name() for op in read(artifact).get_ops())
    kept = held(read(artifact))
    assert kinds["FakeQuantize"] > 0
    assert kept["i8"] > kept["f32"]
    assert artifact.size_bytes < 0.75 * half.size_bytes


def test_the_recipe_of_a_quantized_file_has_its_settings_and_the_hash_of_its_rows(shapes):
    artifact = build(shapes.graph(Tower.IMAGE), Precision.INT8_NNCF)

    assert artifact.recipe["calibration_sha256"] == shapes.calibration.sha256
    assert artifact.recipe.items() >= asdict(openvino_ir.INT8_NNCF).items()
    assert {"nncf", "openvino", "parent"} <= set(artifact.recipe)


@pytest.mark.parametrize("method", ["minmax", "percentile"], ids=["widest", "tails"])
def test_a_variant_names_the_rows_and_how_their_ranges_are_found(shapes, method):
    graph = replace(shapes.graph(Tower.IMAGE), variant=Variant(calibration=f"{method}_12"))
    own = build(shapes.graph(Tower.IMAGE), Precision.INT8_NNCF)

    artifact = build(graph, Precision.INT8_NNCF)

    assert (artifact.recipe["ranges"], artifact.recipe["samples"]) == (method, 12)
    assert (own.recipe["ranges"], own.recipe["samples"]) == ("minmax", openvino_ir.INT8_NNCF.samples)
    assert artifact.sha256 != own.sha256


def test_a_way_to_find_ranges_that_the_tool_lacks_is_refused(shapes):
    graph = replace(shapes.graph(Tower.IMAGE), variant=Variant(calibration="entropy_12"))

    with pytest.raises(UnsupportedError, match="NNCF finds no ranges by entropy: minmax or percentile"):
        build(graph, Precision.INT8_NNCF)


def test_no_bar_is_drawn_where_there_is_no_terminal(shapes, capfd):
    graph = replace(shapes.graph(Tower.IMAGE), variant=Variant(calibration="minmax_5"))

    build(graph, Precision.INT8_NNCF)

    printed = "".join(capfd.readouterr())
    assert "━" not in printed
    assert "Statistics collection" not in printed
