"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Options, Placement
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError
from clip_bench.specs import Device, Precision, Target
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import onnxruntime

CPU = Target(backend="onnxruntime", device=Device.CPU)
PROVIDER = "CPUExecutionProvider"
TARGETS = {
    CPU: frozenset({Precision.FP32, Precision.INT8_DYNAMIC, Precision.INT8_QDQ, Precision.A16W8}),
}
PACKAGE = "install ONNX Runtime: pip install 'clip-bench[onnxruntime]'"


def devices() -> Mapping[Target, str]:
    """Per target, what this machine lacks; empty where it can run."""
    return dict.fromkeys(TARGETS, "" if find_spec("onnxruntime") else PACKAGE)


def load(artifact: Artifact, target: Target, options: Options) -> OnnxRuntimeSession:
    """Load the ONNX file on the CPU provider, all graph optimizations on.

    Raises:
        UnavailableError: ONNX Runtime is not installed.
        UnsupportedError: it refuses the graph.
        PlacementError: a node was assigned to another provider.
    """
    if reason := devices()[target]:
        raise UnavailableError(reason)
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(artifact.file(".onnx"), settings, providers=[PROVIDER])
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoKernel) as exc:
        told = str(exc).splitlines()[0].rpartition(" failed:")[2]  # before it stands the path on this machine
        msg = f"ONNX Runtime {onnxruntime.__version__} refuses the graph: {told}"
        raise UnsupportedError(msg) from exc
    outputs = [output.name for output in session.get_outputs()]
    return OnnxRuntimeSession(session=session, outputs=outputs, where=_placement(session))


def _placement(session: onnxruntime.InferenceSession) -> Placement:
    """Nodes per provider, from the runtime's own assignment record."""
    nodes: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] += len(part.get_nodes())
    if others := sorted(set(nodes) - {PROVIDER}):
        msg = f"ONNX Runtime assigned nodes to {', '.join(others)}, not to {PROVIDER} alone"
        raise PlacementError(msg)
    return Placement(nodes=nodes, dtypes={})


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntimeSession:
    """An ONNX graph on the CPU provider."""

    session: onnxruntime.InferenceSession
    outputs: list[str]
    where: Placement

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once; ONNX Runtime returns when the results are on the host."""
        return dict(zip(self.outputs, self.session.run(self.outputs, feeds), strict=True))

    def placement(self) -> Placement:
        """Nodes per provider."""
        return self.where

    def close(self) -> None:
        """Nothing to do: the session is freed with its last reference."""
