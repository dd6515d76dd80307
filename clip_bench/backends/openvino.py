"""OpenVINO: IR on the CPU, on an Intel GPU or on an Intel NPU, with the execution precision pinned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.specs import Device, Format, Precision, Target
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import openvino

FORMAT = Format.OPENVINO_IR
CPU = Target(backend="openvino", device=Device.CPU)
GPU = Target(backend="openvino", device=Device.GPU)
NPU = Target(backend="openvino", device=Device.NPU)
TARGETS = {
    CPU: frozenset({Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8_NNCF}),
    GPU: frozenset({Precision.FP32, Precision.FP16, Precision.INT8_NNCF}),
    NPU: frozenset({Precision.FP16, Precision.INT8_NNCF}),
}
NAMES = {Device.CPU: "CPU", Device.GPU: "GPU", Device.NPU: "NPU"}
PACKAGE = "install OpenVINO: pip install 'clip-bench[openvino]'"
DRIVERS = {
    GPU: "no GPU for OpenVINO: needs an Intel GPU with its compute runtime",
    NPU: "no NPU for OpenVINO: needs an Intel Core Ultra with the NPU driver",
}

# What float nodes execute in. Unset, OpenVINO takes bf16 on machines with AMX and calls it fp32.
EXECUTED = {
    (Device.CPU, Precision.FP32): "f32",
    (Device.CPU, Precision.FP16): "f32",
    (Device.CPU, Precision.BF16): "bf16",
    (Device.CPU, Precision.INT8_NNCF): "f32",
    (Device.GPU, Precision.FP32): "f32",
    (Device.GPU, Precision.FP16): "f16",
    (Device.GPU, Precision.INT8_NNCF): "f16",
    (Device.NPU, Precision.FP16): "f16",
    (Device.NPU, Precision.INT8_NNCF): "f16",
}
IDLE = {"Const", "Input", "Output"}  # in the runtime model, but nothing to execute


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:  # noqa: ARG001  it takes none
    """Per target, what this machine has of it."""
    if find_spec("openvino") is None:
        return dict.fromkeys(TARGETS, Found(missing=PACKAGE))
    import openvino

    core = openvino.Core()
    here = {name.partition(".")[0] for name in core.available_devices}
    return {
        target: _found(core, target) if NAMES[target.device] in here else Found(missing=DRIVERS[target])
        for target in TARGETS
    }


def _found(core: openvino.Core, target: Target) -> Found:
    import openvino

    name = NAMES[target.device]
    return Found(device=f"{core.get_property(name, 'FULL_DEVICE_NAME')}, OpenVINO {openvino.__version__}")


def load(artifact: Artifact, target: Target, options: Options) -> OpenVinoSession:
    """Compile the IR for least latency on one stream, with the execution precision pinned.

    Raises:
        UnavailableError: no OpenVINO, no such device, or a CPU without bfloat16 for bf16.
        UnsupportedError: the plugin refuses the graph.
    """
    if reason := devices({})[target].missing:
        raise UnavailableError(reason)
    import openvino

    core = openvino.Core()
    if options.precision is Precision.BF16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        msg = "no bfloat16 for OpenVINO on this CPU, which would execute float32: needs AVX-512 BF16 or AMX"
        raise UnavailableError(msg)
    precision = EXECUTED[target.device, options.precision]
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if target.device is Device.CPU:
        settings |= {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1}
    try:
        compiled = core.compile_model(artifact.file(".xml"), NAMES[target.device], settings)
    except RuntimeError as exc:
        lines = (line.strip() for line in str(exc).splitlines() if not line.startswith("Exception from "))
        msg = f"OpenVINO {openvino.__version__} refuses the graph on {target}: {' '.join(filter(None, lines))}"
        raise UnsupportedError(msg) from exc
    note = f"nodes that stay float execute in {precision}" if options.precision is Precision.INT8_NNCF else ""
    told = {name: str(value) for name, value in settings.items()}
    return OpenVinoSession(
        compiled=compiled, request=compiled.create_infer_request(), asked=NAMES[target.device], note=note, told=told
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoSession:
    """A compiled model with one inference request."""

    compiled: openvino.CompiledModel
    request: openvino.InferRequest
    asked: str
    note: str
    told: Mapping[str, str]

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once; the outputs are copied out of the request, inside the call."""
        results = self.request.infer(dict(feeds), share_inputs=True)
        return {port.get_any_name(): array for port, array in results.items()}

    def placement(self) -> Placement:
        """Nodes that execute, per device and precision, from the runtime model of the plugin."""
        device = ",".join(self.compiled.get_property("EXECUTION_DEVICES"))
        told = [node.get_rt_info() for node in self.compiled.get_runtime_model().get_ops()]
        types = [info["runtimePrecision"].astype(str) for info in told if info["layerType"].astype(str) not in IDLE]
        return Placement(
            nodes={device: len(types)}, dtypes=Counter(types), asked=self.asked, note=self.note, options=self.told
        )

    def close(self) -> None:
        """Nothing to do: the request is freed with its last reference."""
