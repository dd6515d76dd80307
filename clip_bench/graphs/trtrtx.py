"""Evidence that TensorRT for RTX compiles a graph: an engine built without a GPU, and never run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.store import sha256_file

if TYPE_CHECKING:
    import tensorrt_rtx

ADA = "SM89"  # GeForce RTX 40: a compute capability to build for where no GPU tells its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What was built: for which compute capability, by which version, from which graph, and how long it took."""

    capability: str
    tensorrt_rtx: str
    onnx_sha256: str
    sha256: str
    size_bytes: int
    build_s: float


def compiles(onnx: Path, out: Path, capability: str = ADA) -> Engine:
    """Build the engine of the ONNX file and write it to *out*; each type is the graph's own, float32 without TF32.

    Raises:
        UnavailableError: no tensorrt-rtx, or it does not know the compute capability.
        UnsupportedError: it refuses the graph.
    """
    if find_spec("tensorrt_rtx") is None:
        msg = "building an engine needs TensorRT for RTX: pip install tensorrt-rtx"
        raise UnavailableError(msg)
    import tensorrt_rtx as trt

    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    if capability not in known:
        msg = f"TensorRT for RTX {trt.__version__} builds for {', '.join(known)}, and for no {capability}"
        raise UnavailableError(msg)
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = _network(builder, logger, onnx)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.__members__[capability], 0)
    began = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    build_s = time.perf_counter() - began
    if engine is None:
        msg = f"TensorRT for RTX {trt.__version__} makes no engine of the graph for {capability}"
        raise UnsupportedError(msg)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(engine)
    return Engine(
        capability=capability,
        tensorrt_rtx=trt.__version__,
        onnx_sha256=sha256_file(onnx),
        sha256=sha256_file(out),
        size_bytes=out.stat().st_size,
        build_s=build_s,
    )


def _network(builder: tensorrt_rtx.Builder, logger: tensorrt_rtx.Logger, onnx: Path) -> tensorrt_rtx.INetworkDefinition:
    """The graph as the parser understands it; the parser's first complaint is the error."""
    import tensorrt_rtx as trt

    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        told = str(parser.get_error(0)).splitlines()[0] if parser.num_errors else "no reason given"
        msg = f"TensorRT for RTX {trt.__version__} refuses the graph: {told}"
        raise UnsupportedError(msg)
    return network
