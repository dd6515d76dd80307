"""OpenVINO's provider for ONNX Runtime: a plugin for the onnxruntime package, on an Intel CPU, GPU or NPU.

What it executes in is pinned by ``load_config``, since it takes bfloat16 on processors with AMX, for float32 too. The
plugin ignores in silence what ``load_config`` says of a device under any other name than its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import Provider
from clip_bench.errors import UnavailableError
from clip_bench.specs import Device, Precision, Target

NAME = "OpenVINOExecutionProvider"
MODULE = "onnxruntime_ep_openvino"
PACKAGE = "install OpenVINO's provider for ONNX Runtime: pip install 'clip-bench[ovep]'"
NOTE = "the provider tells no types of its inside: load_config pins them"
NEEDS = {
    Device.CPU: "no CPU for OpenVINO's provider: needs an Intel or compatible x86-64 processor",
    Device.GPU: "no GPU for OpenVINO's provider: needs an Intel GPU with its compute runtime",
    Device.NPU: "no NPU for OpenVINO's provider: needs an Intel Core Ultra with the NPU driver",
}

# What float nodes execute in, by device and precision; fp16 and bf16 execute the float32 file.
EXECUTED = {
    (Device.CPU, Precision.FP32): "f32",
    (Device.CPU, Precision.BF16): "bf16",
    (Device.CPU, Precision.INT8_QDQ): "f32",
    (Device.GPU, Precision.FP32): "f32",
    (Device.GPU, Precision.FP16): "f16",
    (Device.GPU, Precision.INT8_QDQ): "f16",
    (Device.NPU, Precision.FP16): "f16",
    (Device.NPU, Precision.INT8_QDQ): "f16",
}


def _library() -> str:
    try:
        path: str = import_module(MODULE).get_library_path()
    except FileNotFoundError as exc:
        msg = f"the package of OpenVINO's provider has lost its library: {PACKAGE} --force-reinstall"
        raise UnavailableError(msg) from exc
    return path


def _told(device: Device) -> Callable[[Options], Mapping[str, str]]:
    """The provider options of *device*: least latency on one stream, and the type of float nodes.

    Raises:
        UnavailableError: a CPU without bfloat16 for bf16.
    """

    def options(options: Options) -> Mapping[str, str]:
        found = PROVIDERS[Target(backend="onnxruntime", provider="ovep", device=device)].devices()[0].ep_metadata
        kind = EXECUTED[device, options.precision]
        if kind == "bf16" and "BF16" not in found["OPTIMIZATION_CAPABILITIES"].split():
            msg = "no bfloat16 for OpenVINO's provider on this CPU: needs AVX-512 BF16 or AMX, else it executes float32"
            raise UnavailableError(msg)
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": kind}
        if device is Device.CPU:
            settings |= {"INFERENCE_NUM_THREADS": str(options.threads), "NUM_STREAMS": "1"}
        return {"load_config": json.dumps({found["ov_device"]: settings})}

    return options


PROVIDERS: Mapping[Target, Provider] = {
    Target(backend="onnxruntime", provider="ovep", device=device): Provider(
        name=NAME,
        hardware=device.upper(),
        precisions=frozenset(precision for place, precision in EXECUTED if place is device),
        install=PACKAGE,
        needs=NEEDS[device],
        module=MODULE,
        library=_library,
        options=_told(device),
        note=NOTE,
    )
    for device in (Device.CPU, Device.GPU, Device.NPU)
}
