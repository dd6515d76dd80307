"""A tower as ONNX: exported by torch's current exporter, then made cheaper by ONNX Runtime's quantization tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnsupportedError
from clip_bench.graphs import Calibration, Graph, attention, no_recipe, program, rewrites
from clip_bench.models import towers
from clip_bench.models.feeds import shaped
from clip_bench.specs import Format, Precision, Rewrite, Variant
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto, NodeProto
    from onnxruntime.quantization import CalibrationDataReader

Row = dict[str, NDArray[np.generic]]

NAME = "model.onnx"
OPSET = 21  # the first with 16-bit QuantizeLinear and DequantizeLinear
MASK = -100.0  # exp(-100) is 4e-44: nothing, and still a number that 8 and 16 bits can hold a scale for


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdq:
    """One static recipe: ``ops`` empty means every operator; types are ONNX Runtime's QuantType names.

    ``attention`` tells whether products of two activations are quantized too, or only those with a weight.
    ``method`` is how ranges are found in the calibration rows: ONNX Runtime's CalibrationMethod name.
    """

    activations: str
    weights: str
    per_channel: bool
    ops: tuple[str, ...]
    attention: bool
    samples: int
    method: str = "MinMax"
    mask: float = MASK


# Products with a weight alone: 8-bit activations around softmax and LayerNorm cost a ViT its accuracy. The attention
# products in 8 bits too took vit_b_32_random's image tower from 0.9954 to 0.9927 mean cosine, and were not faster.
INT8_QDQ = Qdq(
    activations="QUInt8", weights="QInt8", per_channel=True, ops=("MatMul", "Gemm"), attention=False, samples=96
)
# The Olive CLIP recipe for NPUs: every operator, 16-bit activations, unsigned 8-bit weights per tensor.
A16W8 = Qdq(activations="QUInt16", weights="QUInt8", per_channel=False, ops=(), attention=True, samples=32)
STATIC: Mapping[Precision, Qdq] = {Precision.INT8_QDQ: INT8_QDQ, Precision.A16W8: A16W8}
PART = 32  # rows of which a histogram's activations are held at once
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}  # a Variant's words


def build(graph: Graph, precision: Precision) -> Artifact:
    """The ONNX file of *graph* at *precision*: fp32, bf16 and fp16 share one (the last two are how it is executed)."""
    if Rewrite.OPTIMISED in graph.variant.rewrites:
        return _optimised(graph, precision)
    if precision in {Precision.FP32, Precision.BF16, Precision.FP16}:
        return _exported(graph, OPSET)
    if precision is Precision.INT8_DYNAMIC:
        return derived(graph, {"step": precision, "weights": "QInt8", "per_channel": True}, _dynamic)
    if precision in STATIC:
        return _static(graph, precision)
    raise no_recipe(precision, Format.ONNX)


def _exported(graph: Graph, opset: int) -> Artifact:
    parent = program.build(graph, Precision.FP32)
    recipe = {
        "step": "onnx",
        "parent": parent.key,
        "opset": opset,
        "torch": version("torch"),
        "onnxscript": version("onnxscript"),
        "traces": False,
    }
    return graph.store.get(recipe, lambda folder: _export(graph, parent, opset, folder / NAME), parent)


def _export(graph: Graph, parent: Artifact, opset: int, path: Path) -> None:
    import torch

    write(
        torch.export.load(parent.file(program.NAME)),
        path,
        opset=opset,
        inputs=towers.INPUTS[graph.tower],
        outputs=towers.OUTPUTS[graph.tower],
        external_data=parent.size_bytes > 2**30,  # protobuf cannot hold 2 GiB
    )


def write(
    source: torch.export.ExportedProgram,
    path: Path,
    *,
    opset: int,
    inputs: Sequence[str],
    outputs: Sequence[str],
    external_data: bool = False,
) -> None:
    """Write *source* to *path* as ONNX, by torch's current exporter, without its stack traces.

    They are paths of this machine, and would make other bytes of the same recipe on each.
    """
    import torch

    exported = torch.onnx.export(
        source, dynamo=True, opset_version=opset, input_names=list(inputs), output_names=list(outputs), verbose=False
    )
    exported = cast("torch.onnx.ONNXProgram", exported)  # None without dynamo alone
    for node in exported.model.graph.all_nodes():
        node.metadata_props.clear()
    exported.save(path, external_data=external_data)


def derived(
    graph: Graph, details: Mapping[str, object], make: Callable[[Path, Path], None], opset: int = OPSET
) -> Artifact:
    """The artifact that *make* derives from the FP32 file; *details* and the tool's version are its recipe."""
    import onnxruntime

    parent = _exported(graph, opset)
    recipe = {**details, "parent": parent.key, "onnxruntime": onnxruntime.__version__}
    return graph.store.get(recipe, lambda folder: make(parent.file(NAME), folder / NAME), parent)


def _optimised(graph: Graph, precision: Precision) -> Artifact:
    """The fp32 file in ONNX Runtime's own operators for transformers.

    Raises:
        UnsupportedError: of another precision, or a tower without an attention that they know.
    """
    if precision is not Precision.FP32:
        msg = f"optimised: quantizers do not know ONNX Runtime's own operators, so that there is no {precision} of them"
        raise UnsupportedError(msg)

    def make(source: Path, path: Path) -> None:
        import onnx

        model = attention.fused(onnx.load(source))
        if not model.get_nodes_by_op_type("MultiHeadAttention"):
            msg = "optimised: the tower has no attention that ONNX Runtime's own operators know"
            raise UnsupportedError(msg)
        model.save_model_to_file(str(path))

    return derived(graph, {"step": "optimised"}, make)


def _dynamic(source: Path, path: Path) -> None:
    """Weights of every matrix product to int8 per channel; activations are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(rewrites.gemm_to_matmul(source), path, weight_type=QuantType.QInt8, per_channel=True)


def _static(graph: Graph, precision: Precision) -> Artifact:
    recipe = calibrated(STATIC[precision], graph.variant)
    recipe = recipe if graph.mask is None else replace(recipe, mask=graph.mask)
    calibration = graph.calibration()
    details = {"step": precision, **asdict(recipe), "calibration_sha256": calibration.sha256}

    def make(source: Path, path: Path) -> None:
        _quantize(source, path, recipe, rows(graph, calibration, recipe.samples))

    return derived(graph, details, make)


def calibrated(recipe: Qdq, variant: Variant) -> Qdq:
    """*recipe* with the method and the number of rows that *variant* asks for, if it does: ``percentile_200``."""
    if not variant.calibration:
        return recipe
    word, _, number = variant.calibration.partition("_")
    return replace(recipe, method=METHODS[word], samples=int(number))


def rows(graph: Graph, calibration: Calibration, samples: int) -> list[Row]:
    """*samples* calls' worth of calibration inputs, at the graph's own batch, spread over what there is.

    A pair gets a picture with its own text and the texts that follow, so that its logits see a right answer.

    Raises:
        UnsupportedError: the graph's variant asks for more rows than there are.
    """
    arrays: Row = {"image": calibration.image, "tokens": calibration.tokens}
    sizes = {name: len(x) for name, x in _examples(graph).items()}
    kinds = min(len(arrays[name]) for name in sizes)
    if graph.variant.calibration and samples > kinds:
        msg = f"{graph.variant.calibration} asks for more rows than the {kinds} that are never evaluated on"
        raise UnsupportedError(msg)
    starts = [i * kinds // samples for i in range(samples)]
    whole = [
        {name: np.take(arrays[name], range(i, i + n), axis=0, mode="wrap") for name, n in sizes.items()} for i in starts
    ]
    return [shaped(row, graph.variant.rewrites, graph.source.spec) for row in whole]


def _examples(graph: Graph) -> dict[str, NDArray[np.generic]]:
    inputs = towers.example(graph.source.spec, graph.tower, graph.batch or 1)
    return {name: x.numpy() for name, x in zip(towers.INPUTS[graph.tower], inputs, strict=True)}


def reader(rows: list[Row]) -> CalibrationDataReader:
    """*rows* as ONNX Runtime's quantizers take them, all or a range at a time."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library ships no types
        def __init__(self) -> None:
            self.set_range(0, len(rows))

        def __len__(self) -> int:
            return len(rows)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.rows = iter(rows[start_index:end_index])

        def get_next(self) -> Row | None:
            return next(self.rows, None)

    return Reader()


def _quantize(source: Path, path: Path, recipe: Qdq, rows: list[Row]) -> None:
    quantize(rewrites.finite_mask(source, recipe.mask), path, recipe, rows)


def quantize(model: ModelProto | Path, path: Path, recipe: Qdq, rows: list[Row]) -> None:
    """Write *model*, whose mask is finite, to *path* as *recipe* quantizes it after *rows*."""
    from onnxruntime import quantization

    config = quantization.get_qdq_config(
        model,
        reader(rows),
        calibrate_method=quantization.CalibrationMethod[recipe.method],
        calibrate_args={"symmetric": False},  # else percentiles make ranges symmetric, whatever the types
        activation_type=quantization.QuantType[recipe.activations],
        weight_type=quantization.QuantType[recipe.weights],
        per_channel=recipe.per_channel,
        op_types_to_quantize=list(recipe.ops) or None,
        nodes_to_exclude=None if recipe.attention else _without_weight,
        extra_options=strided(recipe.method, len(rows)),
    )
    quantization.quantize(model, path, config)


def strided(method: str, rows: int) -> dict[str, int]:
    """The quantizers' option to read *rows* in equal parts, for a *method* that keeps every activation of a part.

    A histogram's do: 300 rows of a ViT-B/32's image tower would take 10 GB and more. A part divides the rows evenly.
    """
    part = max(size for size in range(1, PART + 1) if rows % size == 0)
    return {} if method == "MinMax" else {"CalibStridedMinMax": part}


def _without_weight(model: ModelProto, node: NodeProto) -> bool:
    """Whether *node* is a product of two activations."""
    return node.op_type == "MatMul" and node.input[1] not in {tensor.name for tensor in model.graph.initializer}
