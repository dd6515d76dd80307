"""The graphs of AMD's recipe: what is fused in them, and which types they are quantized to."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import onnx_file, vitisai
from clip_bench.specs import Format, Precision, Tower, Variant

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]


@pytest.fixture(scope="module")
def floats(shapes, tmp_path_factory):
    """The float graph of each tower, as it is quantized: the parsed model and its file."""
    found = {}
    for tower in Tower:
        exported = onnx_file.derived(shapes.graph(tower), {"step": "test"}, copied, vitisai.EXPORTED)
        path = vitisai.prepared(exported.file(".onnx"), tmp_path_factory.mktemp("float"), vitisai.A8W8.mask)
        found[tower] = (onnx.load(path), path)
    return found


def copied(source, path):
    path.write_bytes(source.read_bytes())


def built(shapes, precision, variant=None):
    graph = replace(shapes.graph(Tower.TEXT), variant=variant or Variant())
    artifact = graphs.build(graph, precision, Format.ONNX_VITISAI)
    return onnx.load(artifact.file(".onnx")), artifact


def version(model):
    return next(opset.version for opset in model.opset_import if opset.domain == "")


def kinds(model):
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("tower", TOWERS)
def test_the_float_graph_answers_what_the_reference_answers(shapes, floats, tower):
    _, path = floats[tower]
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]

    answers = [dict(zip(names, session.run(None, dict(call)), strict=True)) for call in shapes.fed.calls(tower)]

    for name, expected in shapes.reference.outputs(shapes.fed, tower).items():
        found = np.concatenate([answer[name] for answer in answers])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_float_graph_has_the_published_opset_and_fusions(floats, tower):
    model, _ = floats[tower]

    assert version(model) == 17
    assert {"LayerNormalization", "QuickGelu"} <= kinds(model)
    assert not {"Sigmoid", "ReduceL2", "ReduceMean", "Attention"} & kinds(model)
    assert ("LpNormalization" in kinds(model)) == (tower is Tower.PAIR)


def test_the_mask_is_the_published_one(floats):
    model, _ = floats[Tower.TEXT]

    least = min(numpy_helper.to_array(tensor).min() for tensor in model.graph.initializer)

    assert least == -10_000


@pytest.mark.parametrize(
    ("precision", "activations"),
    [
        pytest.param(Precision.INT8_QDQ, TensorProto.UINT8, id="eight"),
        pytest.param(Precision.A16W8, TensorProto.UINT16, id="sixteen"),
    ],
)
def test_every_operator_is_quantized_with_unsigned_weights_per_tensor(shapes, precision, activations):
    model, artifact = built(shapes, precision)

    known = {tensor.name: tensor for tensor in model.graph.initializer}
    dequantized = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    fed = {n.op_type for n in model.graph.node if dequantized.keys() & set(n.input)}
    asked = {known[n.input[2]].data_type for n in model.graph.node if n.op_type == "QuantizeLinear"}
    weights = [known[n.input[0]] for n in dequantized.values() if n.input[0] in known]
    assert {"MatMul", "Gemm", "Softmax", "LayerNormalization", "QuickGelu"} <= fed
    assert activations in asked
    assert {tensor.data_type for tensor in weights if len(tensor.dims) > 1} <= {TensorProto.UINT8, activations}
    assert all(numpy_helper.to_array(known[n.input[1]]).size == 1 for n in dequantized.values())
    assert artifact.recipe.items() >= {"samples": 10, "method": "MinMax", "mask": -10_000.0}.items()


def test_eight_bits_keep_the_opset_that_the_provider_is_made_for(shapes):
    model, _ = built(shapes, Precision.INT8_QDQ)

    assert version(model) == 17


def test_a_variant_chooses_the_method_and_the_number_of_rows(shapes):
    _, artifact = built(shapes, Precision.INT8_QDQ, Variant(calibration="percentile_4"))

    assert artifact.recipe.items() >= {"method": "Percentile", "samples": 4}.items()


def test_there_is_no_float_recipe(shapes):
    with pytest.raises(UnsupportedError, match="no recipe makes fp32 in the onnx_vitisai format"):
        graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX_VITISAI)
