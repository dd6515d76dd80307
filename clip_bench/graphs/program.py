"""A tower as a ``torch.export`` program (.pt2): what torch runs, and what every other format is made from."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from clip_bench.graphs import Graph, no_recipe
from clip_bench.models import towers
from clip_bench.models.feeds import normalisation
from clip_bench.models.rewrites import REVISION
from clip_bench.specs import Format, Precision, Rewrite, Tower
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import torch

NAME = "program.pt2"

# The type of weights and activations; int8_dynamic is quantized by the torch backend when it loads the float program.
DTYPES = {
    Precision.FP32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    Precision.INT8_DYNAMIC: "float32",
}


def build(graph: Graph, precision: Precision) -> Artifact:
    """The program of *graph* with weights and activations in the type that *precision* names."""
    if precision not in DTYPES:
        raise no_recipe(precision, Format.TORCH_EXPORT)
    dtype = DTYPES[precision]
    recipe = {
        "step": "program",
        "model": graph.source.spec.architecture,
        "weights_sha256": graph.source.sha256(),
        "tower": graph.tower,
        "batch": graph.batch,
        "dtype": dtype,
        "inputs": towers.INPUTS[graph.tower],
        "outputs": towers.OUTPUTS[graph.tower],
        "torch": version("torch"),
        "open_clip_torch": version("open_clip_torch"),
        **_rewritten(graph),
    }
    return graph.store.get(recipe, lambda folder: _export(graph, dtype, folder / NAME))


def _rewritten(graph: Graph) -> dict[str, object]:
    """What *graph*'s rewrites add to its recipe; nothing where it has none, nor for those of the ONNX file."""
    chosen = [each for each in graph.variant.rewrites if each is not Rewrite.OPTIMISED]
    told: dict[str, object] = {"rewrites": chosen, "revision": REVISION} if chosen else {}
    return told | ({"normalisation": normalisation(graph.source.spec)} if Rewrite.FOLDED in chosen else {})


def _export(graph: Graph, dtype: str, path: Path) -> None:
    import torch

    spec, rewrites = graph.source.spec, graph.variant.rewrites
    statistics = normalisation(spec) if Rewrite.FOLDED in rewrites else ((), ())
    module = towers.module(graph.source.model(), graph.tower, getattr(torch, dtype), rewrites, statistics)
    traced = 1 if graph.tower is Tower.PAIR else 2  # torch takes a size of 1 for a constant
    inputs = towers.example(spec, graph.tower, graph.batch or traced, rewrites)
    with torch.no_grad():
        exported = torch.export.export(module, inputs, dynamic_shapes=_dynamic(graph))
    with path.open("wb") as stream:
        patient = _Patient(stream)
        torch.export.save(exported, cast("BinaryIO", patient))
    if patient.failed is not None:
        raise patient.failed


class _Patient(io.RawIOBase):
    """A stream whose writes never fail: the first error is kept instead.

    torch's writer ends the process (``std::terminate``, out of its destructor) where a write fails, as on a full disk:
    https://github.com/pytorch/pytorch/blob/v2.9.0/caffe2/serialize/inline_container.cc
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.failed: OSError | None = None

    def writable(self) -> bool:
        """As whoever asks a stream expects."""
        return True

    def seekable(self) -> bool:
        """As whoever asks a stream expects."""
        return True

    def seek(self, offset: int, _whence: int = 0, /) -> int:
        """Nothing: torch goes back to the start when it has written all, for whoever reads a buffer."""
        return offset

    def write(self, data: Any, /) -> int:  # noqa: ANN401  any buffer
        """All of *data*, or so it says."""
        if self.failed is None:
            try:
                self.stream.write(data)
            except OSError as exc:
                self.failed = exc
        return len(memoryview(data))


def _dynamic(graph: Graph) -> tuple[dict[int, torch.export.Dim], ...] | None:
    """A free batch dimension where the graph has none of its own, and a free length where its texts are trimmed.

    A pair keeps one image and frees its texts.
    """
    import torch

    free: dict[str, dict[int, torch.export.Dim]] = {"image": {}, "tokens": {}}
    if graph.batch is None:
        batch = torch.export.Dim("batch")
        free = {"image": {} if graph.tower is Tower.PAIR else {0: batch}, "tokens": {0: batch}}
    if Rewrite.TRIMMED in graph.variant.rewrites:
        free["tokens"][1] = torch.export.Dim("length", min=2, max=graph.source.spec.context)
    chosen = tuple(free[name] for name in towers.INPUTS[graph.tower])
    return chosen if any(chosen) else None
