"""Rewrites of ONNX graphs that change no result: what a quantizer needs, and nothing that it would approximate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clip_bench.errors import UnsupportedError

if TYPE_CHECKING:
    from onnx import ModelProto


def finite_mask(source: Path, value: float) -> ModelProto:
    """The model with *value* for every minus infinity (or lowest float) among its constants.

    The attention mask's -inf makes a quantizer's scale infinite or NaN and destroys the text tower; after softmax a
    finite *value* of -100 is as good as zero, so the float graph's result does not change.

    Raises:
        UnsupportedError: a constant holds NaN, of which a quantizer may make a number, and a broken model a plausible one.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        array = numpy_helper.to_array(tensor)
        if np.isnan(array).any():
            msg = f"{tensor.name} holds values that are no numbers (NaN), and a quantizer would make some of them: mend the weights"
            raise UnsupportedError(msg)
        low = array <= np.finfo(np.float32).min
        if low.any():
            tensor.CopyFrom(numpy_helper.from_array(np.where(low, np.float32(value), array), tensor.name))
    return model


def gemm_to_matmul(source: Path) -> ModelProto:
    """The model with every plain ``Gemm`` as ``MatMul`` and ``Add``, which the dynamic quantizer knows.

    Only Gemm nodes with alpha = beta = 1, no transposed A, and a constant B are rewritten; B is transposed if asked.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scaled = attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
        plain = node.op_type == "Gemm" and not scaled and not attributes.get("transA", 0)
        if not (plain and node.input[1] in constants):
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        turned = np.ascontiguousarray(weight.T) if attributes.get("transB", 0) else weight
        name = f"{node.input[1]}_for_{node.output[0]}"
        model.graph.initializer.append(numpy_helper.from_array(turned, name))
        biased = any(node.input[2:])  # Gemm's third input is its bias; it may be left out, or left empty
        product = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], name=f"{node.name}_matmul"))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_bias"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def l2_to_lp_normalization(source: ModelProto) -> ModelProto:
    """The model with ``LpNormalization`` for every row divided by its own 2-norm, as torch's ``normalize`` exports it.

    That is Div by Expand of Clip of ReduceL2, over the last axis. The Clip keeps a norm from being 0, which no
    embedding's is; what only the norm needed is left out.
    """
    import onnx
    from onnx import helper

    model = onnx.ModelProto()
    model.CopyFrom(source)
    made = {name: node for node in model.graph.node for name in node.output}
    axes = {tensor.name for tensor in model.graph.initializer if onnx.numpy_helper.to_array(tensor).tolist() == [-1]}
    for node in model.graph.node:
        name, chain = (node.input[1], []) if node.op_type == "Div" else ("", [])
        while name in made and made[name].op_type in {"Expand", "Clip", "ReduceL2"}:
            chain.append(made[name])
            name = chain[-1].input[0]
        if [each.op_type for each in chain] != ["Expand", "Clip", "ReduceL2"]:
            continue
        if chain[-1].input[0] == node.input[0] and chain[-1].input[1] in axes:
            whole = helper.make_node("LpNormalization", [name], node.output, name=node.name, p=2, axis=-1)
            node.CopyFrom(whole)
    _drop_unread(model)
    return model


def _drop_unread(model: ModelProto) -> None:
    """Take out, in place, the nodes whose results nothing reads."""
    read = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
