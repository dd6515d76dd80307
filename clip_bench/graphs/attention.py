"""Attention as torch's packed projection is exported, put into ONNX Runtime's one operator: the same arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto
    from onnxruntime.transformers.onnx_model import OnnxModel

DOMAIN = "com.microsoft"
QUERY = ("Mul", "Reshape", "Transpose", "Reshape")
KEY = ("Mul", "Reshape", "Transpose", "Transpose", "Reshape")
VALUE = ("Reshape", "Transpose", "Reshape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One attention: what goes in, each (tokens, batch, width), its mask or nothing, and its last node."""

    query: str
    key: str
    value: str
    mask: str
    heads: int
    last: NodeProto


def fused(model: ModelProto) -> OnnxModel:
    """A transformer's LayerNorm with its skip, GELU, and attention in ONNX Runtime's own operators.

    Its tool makes one graph of a CLIP's tower whether it is called ``clip``, ``vit`` or ``bert``.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    made = optimize_model(model, model_type="clip", opt_level=0, optimization_options=FusionOptions("clip"))
    fuse(made)
    return made


def fuse(model: OnnxModel) -> int:
    """Replace every attention of *model* by MultiHeadAttention; how many there were.

    ONNX Runtime's own fusions (1.31) look for three projections, and find none where one makes queries, keys and
    values at once.
    """
    found = [one for node in model.get_nodes_by_op_type("Softmax") if (one := _match(model, node)) is not None]
    for number, one in enumerate(found):
        _replace(model, one, f"attention_{number}")
    model.topological_sort()
    model.prune_graph()
    return len(found)


def _match(model: OnnxModel, softmax: NodeProto) -> Attention | None:
    """The attention around *softmax*, if there is one of the shape that torch.nn.MultiheadAttention is exported in."""
    product = _child(model, softmax, "MatMul")
    last = None if product is None else _child(model, product, "Transpose")
    scores = model.get_parent(softmax, 0)
    mask = scores.input[1] if scores is not None and scores.op_type == "Add" else ""
    if mask:
        scores = model.get_parent(scores, 0)
    if last is None or scores is None or scores.op_type != "MatMul":
        return None
    queries = model.match_parent_path(scores, QUERY, [0] * 4)
    keys = model.match_parent_path(scores, KEY, [1, 0, 0, 0, 0])
    values = model.match_parent_path(product, VALUE, [1, 0, 0])
    if queries is None or keys is None or values is None:
        return None
    shape = model.get_constant_value(queries[1].input[1])
    scales = [model.get_constant_value(side.input[1]) for side in (queries[0], keys[0])]
    if shape is None or len(shape) != 4 or not _usual(scales, int(shape[-1])):  # noqa: PLR2004  batch, heads, tokens, width
        return None
    query, key, value = (path[-1].input[0] for path in (queries, keys, values))
    return Attention(query=query, key=key, value=value, mask=mask, heads=int(shape[1]), last=last)


def _child(model: OnnxModel, node: NodeProto, kind: str) -> NodeProto | None:
    """The one node that uses what *node* gives, if it is of that kind."""
    users = model.get_children(node)
    return users[0] if len(users) == 1 and users[0].op_type == kind else None


def _usual(scales: list[NDArray[np.float32] | None], width: int) -> bool:
    """Whether what queries and keys are multiplied by makes 1 / sqrt(width of a head), the operator's own scale."""
    known = all(scale is not None and np.size(scale) == 1 for scale in scales)
    return known and bool(np.isclose(np.prod([np.asarray(scale).item() for scale in scales]), width**-0.5, rtol=1e-4))


def _replace(model: OnnxModel, one: Attention, name: str) -> None:
    """The operator takes (batch, tokens, width) and gives it back; what follows wants tokens first."""
    from onnx import helper

    turned = {part: f"{name}_{part}" for part in ("query", "key", "value", "output")}
    made = [
        helper.make_node("Transpose", [getattr(one, part)], [turned[part]], name=turned[part], perm=[1, 0, 2])
        for part in ("query", "key", "value")
    ]
    taken = [turned["query"], turned["key"], turned["value"]]
    made.append(
        helper.make_node(
            "MultiHeadAttention",
            [*taken, "", "", one.mask] if one.mask else taken,
            [turned["output"]],
            name=name,
            domain=DOMAIN,
            num_heads=one.heads,
        )
    )
    made.append(
        helper.make_node("Transpose", [turned["output"]], [one.last.output[0]], name=turned["output"], perm=[1, 0, 2])
    )
    model.remove_node(one.last)
    model.add_nodes(made)
    shapes = model.model.graph.value_info  # that of the last node is another now: heads stay together
    kept = [shape for shape in shapes if shape.name != one.last.output[0]]
    del shapes[:]
    shapes.extend(kept)
