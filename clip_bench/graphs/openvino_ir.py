"""A tower as OpenVINO IR: converted from the ONNX file, with float16 weights or quantized by NNCF."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clip_bench.errors import UnsupportedError
from clip_bench.graphs import Graph, no_recipe, onnx_file, rewrites
from clip_bench.specs import Format, Precision, Variant
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import openvino

NAME = "model.xml"
# A Variant's words for NNCF's RangeEstimatorParametersSet; empty is NNCF's own: means of each row's minimum and maximum.
RANGES = {"minmax": "", "percentile": "MEAN_QUANTILE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nncf:
    """Post-training quantization as Intel's row has it: transformer model type, SmoothQuant alpha for its products.

    ``stem`` is what becomes of the first convolution: the patch embedding of a ViT. In 8 bits its input alone took
    the mean cosine of vit_b_32_random from 0.9964 to 0.9796 and saved no time, so it stays float.

    The published rows took 200 pairs, and 300: ``--calibration minmax_200``. Of shapes_tiny's images 64, 200 and 300
    make the mean cosine 0.99945, 0.99951 and 0.99956, in 2.2, 3.1 and 5.3 s of processor time; its texts 64 and 200
    make it 0.99960 and 0.99963. A full-size tower's 64 take up to 25 s (reports/), and grow with the rows.
    """

    model_type: str = "transformer"
    stem: str = "float"
    smooth_quant_alpha: float = 0.6
    samples: int = 64
    ranges: str = "minmax"
    mask: float = onnx_file.MASK


INT8_NNCF = Nncf()


def build(graph: Graph, precision: Precision) -> Artifact:
    """The IR of *graph*: fp32 and bf16 share one file (bf16 is how it is executed), fp16 holds float16 weights."""
    if precision in {Precision.FP32, Precision.BF16}:
        return _derived(graph, {"step": "ir", "weights": "float32"}, _plain)
    if precision is Precision.FP16:
        return _derived(graph, {"step": "ir", "weights": "float16"}, _half)
    if precision is Precision.INT8_NNCF:
        return _quantized(graph)
    raise no_recipe(precision, Format.OPENVINO_IR)


def _derived(graph: Graph, details: Mapping[str, object], make: Callable[[Path, Path], None]) -> Artifact:
    parent = onnx_file.build(graph, Precision.FP32)
    recipe = {**details, "parent": parent.key, "openvino": version("openvino")}
    return graph.store.get(recipe, lambda folder: make(parent.file(onnx_file.NAME), folder / NAME), parent)


def _plain(source: Path, path: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=False)


def _half(source: Path, path: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=True)


def recipe_of(variant: Variant) -> Nncf:
    """The recipe of a cell: Intel's, with the ranges and the number of rows that the *variant* has in their place.

    Raises:
        UnsupportedError: NNCF has no such way to find ranges.
    """
    if not variant.calibration:
        return INT8_NNCF
    method, _, rows = variant.calibration.rpartition("_")
    if method not in RANGES:
        msg = f"NNCF finds no ranges by {method}: {' or '.join(RANGES)}"
        raise UnsupportedError(msg)
    return replace(INT8_NNCF, ranges=method, samples=int(rows))


def _quantized(graph: Graph) -> Artifact:
    recipe, calibration = recipe_of(graph.variant), graph.calibration()
    recipe = recipe if graph.mask is None else replace(recipe, mask=graph.mask)
    details = {
        "step": Precision.INT8_NNCF,
        **asdict(recipe),
        "nncf": version("nncf"),
        "calibration_sha256": calibration.sha256,
    }

    def make(source: Path, path: Path) -> None:
        import onnx
        import openvino

        rows = onnx_file.rows(graph, calibration, recipe.samples)
        with TemporaryDirectory() as scratch:
            masked = Path(scratch) / onnx_file.NAME
            onnx.save(rewrites.finite_mask(source, recipe.mask), masked)
            model = openvino.convert_model(masked)
            openvino.save_model(_quantize(model, recipe, rows), path, compress_to_fp16=False)

    return _derived(graph, details, make)


def _quantize(model: openvino.Model, recipe: Nncf, rows: list[onnx_file.Row]) -> openvino.Model:
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

    stem = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"][:1]
    smooth = nncf.AdvancedSmoothQuantParameters(matmul=recipe.smooth_quant_alpha)
    name = RANGES[recipe.ranges]
    ranges = getattr(RangeEstimatorParametersSet, name) if name else RangeEstimatorParameters()
    logging.getLogger("nncf").setLevel(logging.WARNING)
    # Its bars are no line of a command's answer, and no line at all of a log.
    with (
        Path(os.devnull).open("w", encoding="utf-8") as log,
        redirect_stdout(sys.stderr if sys.stderr.isatty() else log),
    ):
        return nncf.quantize(
            model,
            nncf.Dataset(rows),
            model_type=nncf.ModelType(recipe.model_type),
            subset_size=len(rows),
            ignored_scope=nncf.IgnoredScope(names=stem),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=smooth, activations_range_estimator_params=ranges
            ),
        )
