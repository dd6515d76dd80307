"""A rewrite changes no result."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import rewrites
from clip_bench.models import towers
from clip_bench.specs import Format, Precision, Tower

WIDTH = 6
KINDS = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def save(path, nodes, constants, shapes=(("x", (4, WIDTH)),)):
    """A model of *nodes* from the inputs *shapes* to y, in a file."""
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "made_up", inputs, [output], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def run(model, feeds):
    """Every output of *model*, a path or a proto, with the runtime's own rewrites off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    stored = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model.read_bytes()
    return onnxruntime.InferenceSession(stored, options).run(None, feeds)


def kinds(model):
    return [node.op_type for node in model.graph.node]


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("made_up")


@given(seed=st.integers(0, 99), low=st.sampled_from([-np.inf, np.finfo(np.float32).min]), heads=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_finite_mask_changes_no_attention(folder, seed, low, heads):
    mask = np.triu(np.full((4, 4), low, np.float32), 1)
    nodes = [helper.make_node("Add", ["x", "mask"], ["masked"]), helper.make_node("Softmax", ["masked"], ["y"])]
    path = save(folder / "attention.onnx", nodes, {"mask": mask}, [("x", (heads, 4, 4))])
    feeds = {"x": numbers(seed, heads, 4, 4) * 8}

    model = rewrites.finite_mask(path, -100.0)

    (constant,) = model.graph.initializer
    assert numpy_helper.to_array(constant).min() == -100
    np.testing.assert_allclose(run(model, feeds)[0], run(path, feeds)[0], rtol=0, atol=1e-7)


def test_a_constant_that_holds_no_number_is_refused_before_a_quantizer_makes_one_of_it(folder):
    weight = np.eye(WIDTH, dtype=np.float32)
    weight[1, 2] = np.nan
    path = save(folder / "nan.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})

    with pytest.raises(UnsupportedError, match=r"^w holds values that are no numbers \(NaN\)"):
        rewrites.finite_mask(path, -100.0)


def test_a_finite_mask_leaves_every_other_constant_as_it_was(folder):
    tensors = {"low": np.array([-1e30, 0, 7], np.float32), "ids": np.array([-(2**63), 1, 2], np.int64)}
    nodes = [helper.make_node("Gather", ["low", "ids"], ["y"])]
    path = save(folder / "others.onnx", nodes, tensors)

    model = rewrites.finite_mask(path, -100.0)

    assert model == onnx.load(path)


@pytest.mark.parametrize("tower", [pytest.param(Tower.TEXT, id="language"), pytest.param(Tower.PAIR, id="fused")])
def test_a_finite_mask_leaves_no_infinity_in_a_tower_and_changes_no_answer(shapes, tower):
    path = graphs.build(shapes.graph(tower), Precision.FP32, Format.ONNX).file(".onnx")
    before = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]

    model = rewrites.finite_mask(path, -100.0)

    after = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    assert any(np.isneginf(array).any() for array in before)
    assert all(np.isfinite(array).all() for array in after)
    for call in shapes.fed.calls(tower)[:4]:
        for ours, theirs in zip(run(model, call), run(path, call), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@given(seed=st.integers(0, 99), turned=st.booleans(), bias=st.sampled_from(["none", "empty", "row", "table", "one"]))
@settings(max_examples=30, deadline=None)
def test_a_plain_gemm_becomes_a_product_and_a_sum_of_the_same_value(folder, seed, turned, bias):
    shape = {"row": (3,), "table": (4, 3), "one": (1,)}.get(bias)
    constants = {"b": numbers(seed, 3, WIDTH) if turned else numbers(seed, WIDTH, 3)}
    named = {"none": [], "empty": [""]}.get(bias, ["c"])
    if shape:
        constants["c"] = numbers(seed + 1, *shape)
    node = helper.make_node("Gemm", ["x", "b", *named], ["y"], transB=int(turned))
    path = save(folder / "gemm.onnx", [node], constants)
    feeds = {"x": numbers(seed + 2, 4, WIDTH)}

    model = rewrites.gemm_to_matmul(path)

    assert kinds(model) == (["MatMul", "Add"] if shape else ["MatMul"])
    np.testing.assert_allclose(run(model, feeds)[0], run(path, feeds)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"alpha": 0.5}, id="alpha"),
        pytest.param({"beta": 2.0}, id="beta"),
        pytest.param({"transA": 1}, id="turned_left"),
    ],
)
def test_a_scaled_or_turned_gemm_is_left_alone(folder, changed):
    constants = {"b": numbers(0, WIDTH, 3), "c": numbers(1, 3)}
    node = helper.make_node("Gemm", ["x", "b", "c"], ["y"], **KINDS | changed)
    path = save(folder / "scaled.onnx", [node], constants, [("x", (WIDTH, WIDTH))])

    assert rewrites.gemm_to_matmul(path) == onnx.load(path)


def test_a_gemm_of_two_activations_is_left_alone(folder):
    node = helper.make_node("Gemm", ["x", "z"], ["y"])
    path = save(folder / "activations.onnx", [node], {}, [("x", (4, WIDTH)), ("z", (WIDTH, 3))])

    assert rewrites.gemm_to_matmul(path) == onnx.load(path)


def test_two_products_with_one_matrix_each_get_their_own(folder):
    nodes = [
        helper.make_node("Gemm", ["x", "b"], ["h"], name="first", transB=1),
        helper.make_node("Gemm", ["h", "b"], ["y"], name="second"),
    ]
    path = save(folder / "shared.onnx", nodes, {"b": numbers(0, WIDTH, WIDTH), "unused": numbers(1, 2)})
    feeds = {"x": numbers(2, 4, WIDTH)}

    model = rewrites.gemm_to_matmul(path)

    assert len(model.graph.initializer) == 2
    np.testing.assert_allclose(run(model, feeds)[0], run(path, feeds)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("tower", [pytest.param(Tower.IMAGE, id="vision"), pytest.param(Tower.TEXT, id="language")])
def test_a_tower_without_gemm_gives_the_same_answer(shapes, tower):
    path = graphs.build(shapes.graph(tower), Precision.FP32, Format.ONNX).file(".onnx")

    model = rewrites.gemm_to_matmul(path)

    onnx.checker.check_model(model, full_check=True)
    assert "Gemm" in kinds(onnx.load(path))
    assert "Gemm" not in kinds(model)
    for call in shapes.fed.calls(tower)[:4]:
        np.testing.assert_allclose(run(model, call)[0], run(path, call)[0], rtol=1e-5, atol=1e-5)
    assert [output.name for output in model.graph.output] == list(towers.OUTPUTS[tower])
