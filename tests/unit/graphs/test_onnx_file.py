"""ONNX files hold the graph that was asked for, at the types that its recipe names."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import Calibration, onnx_file
from clip_bench.models import towers
from clip_bench.specs import Format, Precision, Tower, Variant

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
STATIC = [pytest.param(Precision.INT8_QDQ, id="qdq"), pytest.param(Precision.A16W8, id="sixteen")]
EIGHT = {TensorProto.INT8, TensorProto.UINT8}


def build(graph, precision=Precision.FP32):
    """The ONNX file of *graph*, parsed, and its artifact."""
    artifact = graphs.build(graph, precision, Format.ONNX)
    return onnx.load(artifact.file(".onnx"), load_external_data=False), artifact


def constants(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


def activation_types(model):
    """The types to which the graph quantizes what it computes or is fed, by their zero points."""
    known = constants(model)
    return Counter(known[node.input[2]].data_type for node in model.graph.node if node.op_type == "QuantizeLinear")


def weights(model):
    """The matrices that the graph holds quantized, with the zero point of each."""
    known = constants(model)
    nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in known]
    found = [(known[node.input[0]], known[node.input[2]]) for node in nodes]
    return [(tensor, zero) for tensor, zero in found if len(tensor.dims) > 1]


def spread_calibration(n):
    """Pictures and texts whose every number says which row it is, of shapes_tiny's sizes."""
    rows = np.arange(n)
    image = np.broadcast_to(rows[:, None, None, None], (n, 3, 64, 64)).astype(np.float32)
    tokens = np.broadcast_to(rows[:, None], (n, 24)).astype(np.int64)
    return Calibration(image=image, tokens=tokens, sha256="rows")


@pytest.mark.parametrize("tower", TOWERS)
def test_a_file_has_the_opset_names_and_shapes_of_its_tower(shapes, tower):
    shape = {"image": (1, 3, 64, 64), "tokens": (10 if tower is Tower.PAIR else 1, 24)}
    made = {"image_embedding": (1, 128), "text_embedding": (shape["tokens"][0], 128), "logits": (1, 10)}

    model, artifact = build(shapes.graph(tower))

    def told(values):
        return {value.name: (*(size.dim_value for size in value.type.tensor_type.shape.dim),) for value in values}

    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 21)]
    assert told(model.graph.input) == {name: shape[name] for name in towers.INPUTS[tower]}
    assert told(model.graph.output) == {name: made[name] for name in towers.OUTPUTS[tower]}
    assert artifact.recipe["opset"] == 21


@pytest.mark.parametrize("tower", TOWERS)
def test_a_small_model_is_one_file_that_passes_the_checker(shapes, tower):
    model, artifact = build(shapes.graph(tower))

    onnx.checker.check_model(model, full_check=True)
    assert sorted(path.name for path in artifact.path.iterdir()) == ["manifest.json", "model.onnx"]
    assert {tensor.data_location for tensor in model.graph.initializer} == {TensorProto.DEFAULT}


@pytest.mark.parametrize(
    ("tower", "embedding"),
    [
        pytest.param(Tower.IMAGE, "image_embedding", id="vision"),
        pytest.param(Tower.TEXT, "text_embedding", id="language"),
    ],
)
def test_a_dynamic_batch_gives_the_reference_at_every_size(shapes, tower, embedding):
    rows = {"image": shapes.fed.image, "tokens": shapes.fed.tokens}
    (name,) = towers.INPUTS[tower]
    expected = shapes.reference.outputs(shapes.fed, tower)[embedding]

    _, artifact = build(shapes.graph(tower, batch=None))
    session = onnxruntime.InferenceSession(artifact.file(".onnx"))

    for batch in (1, 3, 5):
        (found,) = session.run([embedding], {name: rows[name][:batch]})
        np.testing.assert_allclose(found, expected[:batch], rtol=1e-4, atol=1e-5)


def test_a_dynamic_fused_graph_frees_its_captions_and_keeps_one_picture(shapes):
    picture, texts = shapes.fed.image[:1], shapes.reference.text

    _, artifact = build(shapes.graph(Tower.PAIR, batch=None))
    session = onnxruntime.InferenceSession(artifact.file(".onnx"))

    assert session.get_inputs()[0].shape[0] == 1
    for batch in (1, 3, 5):
        feeds = {"image": picture, "tokens": shapes.fed.tokens[:batch]}
        _, embeddings, logits = session.run(None, feeds)
        assert logits.shape == (1, batch)
        np.testing.assert_allclose(embeddings, texts[:batch], rtol=1e-4, atol=1e-5)


def test_a_batch_of_four_is_fixed_and_gives_the_reference(shapes):
    model, artifact = build(shapes.graph(Tower.TEXT, batch=4))
    session = onnxruntime.InferenceSession(artifact.file(".onnx"))

    (found,) = session.run(None, {"tokens": shapes.fed.tokens[:4]})

    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    np.testing.assert_allclose(found, shapes.reference.text[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_dynamic_recipe_quantizes_every_product_with_a_constant_matrix(shapes, tower):
    plain, _ = build(shapes.graph(tower))
    products = sum(
        node.op_type in {"Gemm", "MatMul"} and node.input[1] in constants(plain) for node in plain.graph.node
    )

    model, _ = build(shapes.graph(tower), Precision.INT8_DYNAMIC)

    kinds = Counter(node.op_type for node in model.graph.node)
    known = constants(model)
    left = [n.name for n in model.graph.node if n.op_type in {"Gemm", "MatMul"} and n.input[1] in known]
    assert left == []
    assert products > 0
    assert kinds["MatMulInteger"] == products
    assert {known[n.input[1]].data_type for n in model.graph.node if n.op_type == "MatMulInteger"} == {TensorProto.INT8}


@pytest.mark.parametrize("tower", TOWERS)
def test_the_qdq_recipe_quantizes_both_sides_of_products_with_a_weight_and_no_others(shapes, tower):
    model, artifact = build(shapes.graph(tower), Precision.INT8_QDQ)

    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    known = constants(model)
    kept = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in known}
    products = [n for n in model.graph.node if n.op_type in {"MatMul", "Gemm"}]
    weighted = [n for n in products if n.input[1] in kept]
    attention = [n for n in products if n.input[1] not in kept]
    others = [n for n in model.graph.node if n.op_type in {"Conv", "LayerNormalization", "Gather", "GatherND"}]
    assert weighted
    assert attention
    assert all(dequantized >= set(n.input[:2]) for n in weighted)
    assert not any(dequantized & set(n.input) for n in attention)
    assert not any(
        dequantized & set(n.input) for n in others if n.op_type != "Gather" or n.input[0] in constants(model)
    )
    assert set(activation_types(model)) == {TensorProto.UINT8}
    assert {tensor.data_type for tensor, _ in weights(model)} == {TensorProto.INT8}
    assert all(max(zero.dims, default=1) > 1 for _, zero in weights(model))
    assert artifact.recipe["per_channel"]


@pytest.mark.parametrize("tower", TOWERS)
def test_the_sixteen_bit_recipe_quantizes_every_operator_with_unsigned_weights_per_tensor(shapes, tower):
    model, artifact = build(shapes.graph(tower), Precision.A16W8)

    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    fed = {n.op_type for n in model.graph.node if dequantized & set(n.input)}
    assert {"MatMul", "Add", "Softmax", "LayerNormalization"} <= fed
    assert activation_types(model)[TensorProto.UINT16] > 0.9 * activation_types(model).total()
    assert {tensor.data_type for tensor, _ in weights(model)} <= {TensorProto.UINT8, TensorProto.UINT16}
    assert any(tensor.data_type == TensorProto.UINT8 for tensor, _ in weights(model))
    assert all(list(zero.dims) in ([], [1]) for _, zero in weights(model))
    assert not artifact.recipe["per_channel"]


@pytest.mark.parametrize("precision", STATIC)
def test_no_scale_of_a_calibrated_file_is_zero_or_infinite(shapes, precision):
    model, _ = build(shapes.graph(Tower.TEXT), precision)

    known = constants(model)
    kinds = {"QuantizeLinear", "DequantizeLinear"}
    scales = [numpy_helper.to_array(known[n.input[1]]) for n in model.graph.node if n.op_type in kinds]
    assert scales
    assert all(np.isfinite(scale).all() and (scale > 0).all() for scale in scales)


@pytest.mark.parametrize("precision", STATIC)
def test_the_recipe_of_a_calibrated_file_has_its_settings_and_the_hash_of_its_rows(shapes, precision):
    _, artifact = build(shapes.graph(Tower.IMAGE), precision)

    assert artifact.recipe["calibration_sha256"] == shapes.calibration.sha256
    assert artifact.recipe.items() >= {**asdict(onnx_file.STATIC[precision]), "ops": None}.items() - {("ops", None)}
    assert artifact.recipe["onnxruntime"] == onnxruntime.__version__


def test_other_rows_make_another_file(shapes):
    graph = shapes.graph(Tower.IMAGE)
    half = shapes.calibration.image / 2
    other = replace(shapes.calibration, image=half, sha256="other")

    _, first = build(graph, Precision.INT8_QDQ)
    _, second = build(replace(graph, calibration=lambda: other), Precision.INT8_QDQ)

    assert first.key != second.key
    assert first.sha256 != second.sha256


def test_a_changed_recipe_makes_another_file(shapes, monkeypatch):
    graph = shapes.graph(Tower.IMAGE)
    _, first = build(graph, Precision.INT8_QDQ)

    changed = replace(onnx_file.INT8_QDQ, activations="QInt8", samples=4)
    monkeypatch.setattr(onnx_file, "STATIC", {Precision.INT8_QDQ: changed})
    model, second = build(graph, Precision.INT8_QDQ)

    assert first.key != second.key
    assert set(activation_types(model)) == {TensorProto.INT8}


def test_a_fused_graph_is_calibrated_on_a_picture_with_its_own_and_other_captions(shapes):
    graph = shapes.graph(Tower.PAIR)

    rows = onnx_file.rows(graph, spread_calibration(40), 8)

    assert len(rows) == 8
    for row in rows:
        picture, texts = row["image"][:, 0, 0, 0], row["tokens"][:, 0]
        assert row["image"].shape == (1, 3, 64, 64)
        assert row["tokens"].shape == (10, 24)
        assert texts[0] == picture[0]
        assert len(set(texts.tolist())) == 10
    assert {int(row["image"][0, 0, 0, 0]) for row in rows} == {0, 5, 10, 15, 20, 25, 30, 35}


def test_pictures_beyond_the_captions_are_not_matched_with_any(shapes):
    calibration = spread_calibration(40)
    fewer = replace(calibration, tokens=calibration.tokens[:12])

    rows = onnx_file.rows(shapes.graph(Tower.PAIR), fewer, 24)

    assert all(row["image"][0, 0, 0, 0] == row["tokens"][0, 0] for row in rows)


@pytest.mark.parametrize(
    ("tower", "name"),
    [pytest.param(Tower.IMAGE, "image", id="vision"), pytest.param(Tower.TEXT, "tokens", id="language")],
)
def test_calibration_rows_have_the_batch_of_the_graph(shapes, tower, name):
    rows = onnx_file.rows(shapes.graph(tower, batch=4), spread_calibration(6), 3)

    firsts = [row[name].reshape(4, -1)[:, 0].tolist() for row in rows]
    assert firsts == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 1]]


@pytest.mark.parametrize("precision", STATIC)
@pytest.mark.parametrize(
    ("word", "method"),
    [
        pytest.param("minmax_8", "MinMax", id="extremes"),
        pytest.param("percentile_8", "Percentile", id="tails"),
        pytest.param("entropy_8", "Entropy", id="divergence"),
    ],
)
def test_a_variant_chooses_the_method_and_the_number_of_rows(shapes, precision, word, method):
    graph = replace(shapes.graph(Tower.TEXT), variant=Variant(calibration=word))

    model, artifact = build(graph, precision)

    _, plain = build(shapes.graph(Tower.TEXT), precision)
    assert artifact.recipe.items() >= {"method": method, "samples": 8}.items()
    assert artifact.sha256 != plain.sha256
    onnxruntime.InferenceSession(model.SerializeToString())


def test_tails_are_cut_and_no_range_grows(shapes):
    """The scales of what is computed, cut where 0.001 % of the values lie beyond, against the least and greatest."""
    scales = []
    for word in ("minmax_8", "percentile_8"):
        model, _ = build(replace(shapes.graph(Tower.IMAGE), variant=Variant(calibration=word)), Precision.INT8_QDQ)
        known = constants(model)
        nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        scales.append({node.output[0]: float(numpy_helper.to_array(known[node.input[1]])) for node in nodes})

    whole, cut = scales

    assert whole.keys() == cut.keys()
    assert all(cut[name] <= whole[name] * 1.01 for name in whole)
    assert any(cut[name] < whole[name] for name in whole)


def test_more_rows_than_there_are_is_told_and_nothing_is_stored(shapes):
    graph = replace(shapes.graph(Tower.TEXT), variant=Variant(calibration="minmax_33"))

    with pytest.raises(
        UnsupportedError, match=r"^minmax_33 asks for more rows than the 32 that are never evaluated on$"
    ):
        build(graph, Precision.INT8_QDQ)
    with pytest.raises(UnsupportedError):
        build(graph, Precision.INT8_QDQ)


def test_rows_are_read_whole_or_in_parts():
    rows = [{"x": np.array(i)} for i in range(6)]
    reader = onnx_file.reader(rows)

    def read():
        return [int(row["x"]) for row in iter(reader.get_next, None)]

    assert read() == [0, 1, 2, 3, 4, 5]
    reader.set_range(2, 4)
    assert read() == [2, 3]
    assert len(reader) == 6


@pytest.mark.parametrize(("rows", "part"), [(12, 12), (100, 25), (200, 25), (300, 30), (32, 32), (37, 1)])
def test_a_histogram_holds_few_rows_at_once_in_parts_that_are_equal(rows, part):
    assert onnx_file.strided("Percentile", rows) == {"CalibStridedMinMax": part}
    assert onnx_file.strided("MinMax", rows) == {}
