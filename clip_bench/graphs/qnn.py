"""A tower as ONNX for Qualcomm's HTP, by ONNX Runtime's own recipe: the float graph, or every operator quantized."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clip_bench.graphs import Graph, no_recipe, onnx_file, rewrites
from clip_bench.graphs.onnx_file import Qdq
from clip_bench.specs import Format, Precision
from clip_bench.store import Artifact

NAME = "model.onnx"


# Weights are unsigned and per tensor: with signed or per-channel ones the HTP has no LayerNormalization, which then
# falls to the CPU. MinMax over 100 rows is what the Olive CLIP example takes for its fused graph; 32 rows left
# shapes_tiny's image tower at a mean cosine of 0.9998 in a16w8, where 128 gave 0.99996.
A8W8 = Qdq(activations="QUInt8", weights="QUInt8", per_channel=False, ops=(), attention=True, samples=100)
STATIC: Mapping[Precision, Qdq] = {
    Precision.INT8_QDQ: A8W8,
    Precision.A16W8: replace(A8W8, activations="QUInt16"),
}


def build(graph: Graph, precision: Precision) -> Artifact:
    """The ONNX file of *graph* at *precision*: fp16 is the float32 graph, which the HTP executes in float16."""
    if precision is Precision.FP16:
        return onnx_file.derived(graph, {"step": "qnn_float", "mask": onnx_file.MASK}, _float)
    if precision in STATIC:
        return _static(graph, precision)
    raise no_recipe(precision, Format.ONNX_QNN)


def _float(source: Path, path: Path) -> None:
    with TemporaryDirectory() as scratch:
        shutil.copyfile(_prepared(source, Path(scratch), onnx_file.MASK), path)


def _static(graph: Graph, precision: Precision) -> Artifact:
    recipe = onnx_file.calibrated(STATIC[precision], graph.variant)
    calibration = graph.calibration()
    details = {"step": f"qnn_{precision}", **asdict(recipe), "calibration_sha256": calibration.sha256}

    def make(source: Path, path: Path) -> None:
        _quantize(source, path, recipe, onnx_file.rows(graph, calibration, recipe.samples))

    return onnx_file.derived(graph, details, make)


def _prepared(source: Path, scratch: Path, mask: float) -> Path:
    """The model at *source* with a finite mask, and with the fusions of ONNX Runtime's preprocessing for QNN."""
    import onnx
    from onnxruntime.quantization.execution_providers.qnn import qnn_preprocess_model

    masked, fused = scratch / "masked.onnx", scratch / "fused.onnx"
    onnx.save(rewrites.finite_mask(source, mask), masked)
    return fused if qnn_preprocess_model(masked, fused) else masked  # it writes only where it found what to fuse


def _quantize(source: Path, path: Path, recipe: Qdq, rows: list[onnx_file.Row]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    with TemporaryDirectory() as scratch:
        prepared = _prepared(source, Path(scratch), recipe.mask)
        config = get_qnn_qdq_config(
            prepared,
            onnx_file.reader(rows),
            calibrate_method=CalibrationMethod[recipe.method],
            activation_type=QuantType[recipe.activations],
            weight_type=QuantType[recipe.weights],
        )
        config.extra_options["CalibTensorRangeSymmetric"] = False  # else percentiles make ranges symmetric
        config.extra_options |= onnx_file.strided(recipe.method, len(rows))
        quantize(prepared, path, config)
