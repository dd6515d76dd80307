"""From a model's tower to an artifact: export, exact rewrites, and the precision recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnsupportedError
from clip_bench.models.weights import Source
from clip_bench.specs import Format, Precision, Tower, Variant
from clip_bench.store import Artifact, Store

# Where a recipe takes a Variant's calibration, and by which methods.
CALIBRATED: Mapping[Format, frozenset[str]] = {
    **dict.fromkeys(
        (Format.ONNX, Format.ONNX_QNN, Format.ONNX_VITISAI), frozenset({"minmax", "percentile", "entropy"})
    ),
    Format.OPENVINO_IR: frozenset({"minmax", "percentile"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rows to calibrate on, never evaluated on: ``image`` (n, 3, h, w) float32, ``tokens`` (t, context) int64.

    Text i describes picture i, as far as there are texts; pictures may go on where texts end.
    """

    image: NDArray[np.float32]
    tokens: NDArray[np.int64]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What to build: a tower of a model, at a batch size (None: dynamic), and what a recipe may draw on.

    ``settings`` are the user's options for the target that the graph is for. ``mask`` is what a recipe that quantizes puts
    in the place of the attention mask's minus infinity; None for what the recipe says.
    """

    source: Source
    tower: Tower
    store: Store
    calibration: Callable[[], Calibration]
    batch: int | None = 1
    variant: Variant = field(default_factory=Variant)
    settings: Mapping[str, str] = field(default_factory=dict)
    mask: float | None = None


def build(graph: Graph, precision: Precision, format: Format) -> Artifact:  # noqa: A002  the house's word for it
    """The artifact of *graph* at *precision* in *format*, from the store or made now.

    Raises:
        UnsupportedError: nobody has a recipe for that precision in that format.
    """
    from clip_bench.graphs import bmodel, gpu, onnx_file, openvino_ir, program, qnn, rknn, vacc, vitisai

    made_by: Mapping[Format, Callable[[Graph, Precision], Artifact]] = {
        Format.TORCH_EXPORT: program.build,
        Format.ONNX: onnx_file.build,
        Format.ONNX_GPU: gpu.build,
        Format.ONNX_QNN: qnn.build,
        Format.ONNX_VITISAI: vitisai.build,
        Format.OPENVINO_IR: openvino_ir.build,
        Format.BMODEL: bmodel.build,
        Format.RKNN: rknn.build,
        Format.VACC: vacc.build,
    }
    if format not in made_by:
        msg = f"no recipe makes a graph in the {format} format"
        raise UnsupportedError(msg)
    return made_by[format](graph, precision)


def no_recipe(precision: Precision, format: Format) -> UnsupportedError:  # noqa: A002
    """The error of a builder that does not know *precision*."""
    return UnsupportedError(f"no recipe makes {precision} in the {format} format")
