"""ONNX for graphics cards: its recipes keep the answers, and say what they fused."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

from clip_bench import graphs
from clip_bench.backends.onnxruntime import binding
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import attention, gpu
from clip_bench.models import towers
from clip_bench.quality import gates, metrics
from clip_bench.specs import Format, Precision, Tower, Variant

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
RECIPES = [
    pytest.param(Precision.FP32, Variant(), id="whole"),
    pytest.param(Precision.FP16, Variant(), id="half"),
    pytest.param(Precision.FP16, Variant(half_io=True), id="half_to_the_edge"),
]
LAYERS = {Tower.IMAGE: 4, Tower.TEXT: 3, Tower.PAIR: 7}
OURS = {"MultiHeadAttention": 1, "QuickGelu": 1, "SkipLayerNormalization": 2}  # of each in a layer
CPU = ["CPUExecutionProvider"]


def build(shapes, tower, precision, variant=Variant()):  # noqa: B008  frozen
    graph = replace(shapes.graph(tower), variant=variant)
    return graphs.build(graph, precision, Format.ONNX_GPU).file(".onnx")


def opened(path):
    return onnxruntime.InferenceSession(path, providers=CPU)


def answers(shapes, path, tower):
    call = binding.caller(opened(path), "")
    every = [call(feeds) for feeds in shapes.fed.calls(tower)]
    return {name: np.concatenate([each[name] for each in every]) for name in every[0]}


@pytest.mark.parametrize(("precision", "variant"), RECIPES)
@pytest.mark.parametrize("tower", TOWERS)
def test_every_recipe_answers_what_the_reference_answers(shapes, tower, precision, variant):
    expected, floors = shapes.reference.outputs(shapes.fed, tower), gates.FLOORS[precision]

    found = answers(shapes, build(shapes, tower, precision, variant), tower)

    assert tuple(found) == towers.OUTPUTS[tower]
    for name, reference in expected.items():
        cosines = metrics.cosine(found[name], reference)
        assert found[name].dtype == np.float32
        assert cosines.mean() >= floors.mean
        assert cosines.min() >= floors.minimum


@pytest.mark.parametrize(("precision", "variant"), RECIPES)
@pytest.mark.parametrize("tower", TOWERS)
def test_the_opset_is_that_of_the_published_rows(shapes, tower, precision, variant):
    model = onnx.load(build(shapes, tower, precision, variant))

    assert {one.domain: one.version for one in model.opset_import}[""] == gpu.OPSET == 17


@pytest.mark.parametrize("tower", TOWERS)
def test_the_plain_recipe_fuses_every_layer_and_the_model_says_so(shapes, tower):
    path = build(shapes, tower, Precision.FP16)
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)

    told = opened(path).get_modelmeta().custom_metadata_map[gpu.NOTE]

    expected = {name: times * LAYERS[tower] for name, times in OURS.items()}
    assert {name: counts[name] for name in OURS} == expected
    assert told == "fused: " + ", ".join(f"{count} {name}" for name, count in expected.items())
    assert "Softmax" not in counts


@pytest.mark.parametrize("tower", TOWERS)
def test_the_recipe_with_a_half_edge_has_the_standards_operators_alone(shapes, tower):
    path = build(shapes, tower, Precision.FP16, Variant(half_io=True))
    session = opened(path)

    domains = {node.domain for node in onnx.load(path).graph.node}

    types = {edge.type for edge in (*session.get_inputs(), *session.get_outputs()) if edge.name != "tokens"}
    assert domains == {""}
    assert types == {"tensor(float16)"}


@pytest.mark.parametrize(("precision", "variant"), RECIPES[:2])
def test_token_ids_are_compared_as_float_in_full_width(shapes, precision, variant):
    """CUDA's ArgMax has no int64; in half width the last word and the end of a caption are one number."""
    model = onnx.load(build(shapes, Tower.TEXT, precision, variant))
    (pooled,) = (node for node in model.graph.node if node.op_type == "ArgMax")

    (cast,) = (node for node in model.graph.node if pooled.input[0] in node.output)

    assert (cast.op_type, list(cast.input)) == ("Cast", ["tokens"])
    assert cast.attribute[0].i == onnx.TensorProto.FLOAT
    assert np.float16(49406) == np.float16(49407)


@pytest.mark.parametrize(("precision", "variant"), RECIPES)
def test_the_end_of_a_caption_is_found_after_its_largest_neighbour(shapes, precision, variant):
    """49406 before 49407: an argmax in half width would pool at the first."""
    call = binding.caller(opened(build(shapes, Tower.TEXT, precision, variant)), "")
    context = shapes.source.spec.context
    end = np.zeros((1, context), np.int64)
    end[0, :4] = 49406, 320, 320, 49407
    moved = end.copy()
    moved[0, 1] = 1125  # a word after the start: the start, which sees nothing after it, does not feel it

    one, other = (call({"tokens": row})["text_embedding"] for row in (end, moved))

    assert metrics.cosine(one, other).item() < 0.9999


@pytest.mark.parametrize("variant", [Variant(), Variant(half_io=True)], ids=["plain", "half_edge"])
def test_no_half_constant_is_infinite(shapes, variant):
    model = onnx.load(build(shapes, Tower.TEXT, Precision.FP16, variant))

    constants = [numpy_helper.to_array(one) for one in model.graph.initializer]
    lowest = min(array.min() for array in constants if array.dtype == np.float16 and array.size)

    assert all(np.isfinite(array).all() for array in constants if array.dtype == np.float16)
    assert lowest == np.float16(gpu.HALF[variant.half_io].mask) == -1e4


def test_one_file_holds_it_all_or_it_is_refused(shapes, monkeypatch):
    monkeypatch.setattr(gpu, "LARGEST", 1000)

    with pytest.raises(UnsupportedError, match="one file of at most 2 GiB"):
        build(shapes, Tower.IMAGE, Precision.FP32)


def test_no_other_precision_has_a_recipe(shapes):
    with pytest.raises(UnsupportedError, match="no recipe makes bf16 in the onnx_gpu format"):
        build(shapes, Tower.IMAGE, Precision.BF16)


def test_attention_of_another_scale_is_left_as_it_is(shapes):
    """The operator scales by one over the root of a head's width; a layer that does otherwise keeps its own nodes."""
    model = onnx.load(build(shapes, Tower.IMAGE, Precision.FP32))
    makers = {name: node for node in model.graph.node for name in node.output}
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    scale = makers[makers[softmax.input[0]].input[0]].input[1]
    (constant,) = (one for one in model.graph.initializer if one.name == scale)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * 2, scale))
    before = {node.name for node in model.graph.node}

    found = attention.fuse(OnnxModel(model))

    assert found == 0
    assert {node.name for node in model.graph.node} == before
