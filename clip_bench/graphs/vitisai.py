"""A tower as ONNX for AMD's NPU, by the recipe of Olive's CLIP example: opset 17, fused, every operator quantized.

https://github.com/microsoft/Olive/tree/main/examples/clip: its table was measured on 8-bit activations, the
configuration beside it asks for 16-bit ones; both are here. Ryzen AI recommends opset 17; 16-bit activations need
opset 21, to which ONNX Runtime's quantizer raises the file itself (or takes its own operators, in older versions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clip_bench.graphs import Graph, no_recipe, onnx_file, rewrites
from clip_bench.graphs.onnx_file import Qdq
from clip_bench.specs import Format, Precision
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
EXPORTED = 18  # the lowest that torch writes; its GELU is several operators there, which the fusion knows
A8W8 = Qdq(
    activations="QUInt8", weights="QUInt8", per_channel=False, ops=(), attention=True, samples=10, mask=-10_000.0
)
STATIC: Mapping[Precision, Qdq] = {
    Precision.INT8_QDQ: A8W8,
    Precision.A16W8: replace(A8W8, activations="QUInt16"),
}


def build(graph: Graph, precision: Precision) -> Artifact:
    """The ONNX file of *graph* at *precision*: A8W8 is ``int8_qdq``."""
    if precision not in STATIC:
        raise no_recipe(precision, Format.ONNX_VITISAI)
    recipe = onnx_file.calibrated(STATIC[precision], graph.variant)
    calibration = graph.calibration()
    details = {
        "step": f"vitisai_{precision}",
        "opset": OPSET,
        **asdict(recipe),
        "calibration_sha256": calibration.sha256,
    }

    def make(source: Path, path: Path) -> None:
        rows = onnx_file.rows(graph, calibration, recipe.samples)
        with TemporaryDirectory() as scratch:
            onnx_file.quantize(prepared(source, Path(scratch), recipe.mask), path, recipe, rows)

    return onnx_file.derived(graph, details, make, EXPORTED)


def prepared(source: Path, scratch: Path, mask: float) -> Path:
    """The float model at *source* as the recipe quantizes it; *scratch* takes what is written on the way."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    fused, ready = scratch / "fused.onnx", scratch / "ready.onnx"
    model = rewrites.l2_to_lp_normalization(rewrites.finite_mask(source, mask))
    onnx.save(onnx.version_converter.convert_version(model, OPSET), fused)
    quant_pre_process(_fused(fused), ready)
    return ready


def _fused(path: Path) -> ModelProto:
    """The model with one operator for each GELU and each LayerNorm, and constants folded: no attention, no bias."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("clip")
    options.enable_gelu = options.enable_layer_norm = True
    options.enable_bias_gelu = options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    options.enable_attention = False
    fused: ModelProto = optimize_model(str(path), "clip", opt_level=1, optimization_options=options).model
    return fused
