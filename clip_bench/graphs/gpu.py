"""A tower as ONNX for GPUs: opset 17, and float16 by ONNX Runtime's own fusions and converter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clip_bench.errors import UnsupportedError
from clip_bench.graphs import Graph, attention, no_recipe, onnx_file, program, rewrites
from clip_bench.specs import Format, Precision
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto

NAME = "model.onnx"
NOTE = "clip_bench_note"  # the key under which a model's own metadata tells what was fused
OPSET = 17  # of the published rows; DirectML has no kernels beyond opset 20
EXPORTED = 18  # the lowest that torch's exporter knows by itself: Gelu is still an Erf there
LARGEST = 2**31  # bytes that protobuf holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """A float16 recipe: with ONNX Runtime's own operators or the standard's alone, and what crosses the edge.

    ``mask`` stands for minus infinity in the attention mask: finite in float16, and nothing after softmax.
    """

    fused: bool
    half_io: bool
    mask: float = -1e4


# By Variant.half_io. Plain: DirectML's published row, for it and CUDA. half_io: that of TensorRT, whose parser knows
# no operator of ONNX Runtime's own (it refused SkipLayerNormalization and QuickGelu).
HALF: Mapping[bool, Half] = {False: Half(fused=True, half_io=False), True: Half(fused=False, half_io=True)}


def build(graph: Graph, precision: Precision) -> Artifact:
    """The ONNX file of *graph* at *precision*; fp16 in one of two recipes, by the variant's ``half_io``."""
    if precision is Precision.FP32:
        return _derived(graph, {"step": "onnx_gpu", "pooled_in": "float32"}, _pooled)
    if precision is Precision.FP16:
        recipe = HALF[graph.variant.half_io]
        details = {"step": "onnx_gpu_half", **asdict(recipe)}
        return _derived(graph, details, lambda source, path: _halve(source, path, recipe))
    raise no_recipe(precision, Format.ONNX_GPU)


def _derived(graph: Graph, details: Mapping[str, object], make: Callable[[Path, Path], None]) -> Artifact:
    """What *make* derives from the FP32 file at the published opset."""
    if (size := program.build(graph, Precision.FP32).size_bytes) > LARGEST:
        msg = f"a graph of {size / 2**30:.1f} GiB: ONNX for GPUs is one file of at most 2 GiB"
        raise UnsupportedError(msg)

    def lowered(source: Path, path: Path) -> None:
        with TemporaryDirectory() as scratch:
            _lower(source, Path(scratch) / NAME)
            make(Path(scratch) / NAME, path)

    return onnx_file.derived(graph, {**details, "opset": OPSET, "onnx": version("onnx")}, lowered, EXPORTED)


def _lower(source: Path, path: Path) -> None:
    import onnx
    from onnx.version_converter import convert_version

    model = convert_version(onnx.load(source), OPSET)
    for node in model.graph.node:
        kept = [a for a in node.attribute if a.name != "noop_with_empty_axes"]  # the converter leaves it behind
        del node.attribute[:]
        node.attribute.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _pooled(source: Path, path: Path) -> None:
    """The float32 graph, all of whose operators a GPU has."""
    import onnx

    model = onnx.load(source)
    _pool_in_float(model)
    onnx.save(model, path)


def _pool_in_float(model: ModelProto) -> None:
    """Compare token ids as float32 in place of int64, which CUDA's ArgMax lacks: exact up to 2**24.

    In float16 49406 and 49407 are both 49408, so this comes after a conversion to float16, never before it.
    """
    from onnx import TensorProto, helper

    nodes = list(model.graph.node)
    for node in [node for node in nodes if node.op_type == "ArgMax"]:
        ids = f"{node.input[0]}_as_float"
        cast = helper.make_node("Cast", [node.input[0]], [ids], name=ids, to=TensorProto.FLOAT)
        node.input[0] = ids
        nodes.insert(nodes.index(node), cast)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _halve(source: Path, path: Path, recipe: Half) -> None:
    from onnxruntime.transformers.onnx_model import OnnxModel

    masked = rewrites.finite_mask(source, recipe.mask)
    model = attention.fused(masked) if recipe.fused else OnnxModel(masked)
    # fused operators are unknown to onnx's shape inference, and need ONNX Runtime's
    model.convert_float_to_float16(keep_io_types=not recipe.half_io, use_symbolic_shape_infer=recipe.fused)
    if recipe.fused:
        _pool_in_float(model.model)
        counts = Counter(node.op_type for node in model.model.graph.node if node.domain == "com.microsoft")
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
        model.model.metadata_props.add(key=NOTE, value=f"fused: {told}")
    model.save_model_to_file(str(path))
