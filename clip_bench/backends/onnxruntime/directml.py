"""Any GPU of Windows under ONNX Runtime, through DirectML: discovered as a device, and never the CPU.

ONNX Runtime copies inputs to the device and outputs back inside the run; it switches off the memory patterns that
DirectML cannot have by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from clip_bench.backends.onnxruntime.provider import Provider
from clip_bench.specs import Device, Format, Precision, Target

INSTALL = "install onnxruntime-directml in place of onnxruntime: pip install 'clip-bench[directml]'"


def _lacks(settings: Mapping[str, str]) -> str:  # noqa: ARG001  the signature of a row's function
    return "" if sys.platform == "win32" else "needs Windows: DirectML is a part of it"


PROVIDERS: Mapping[Target, Provider] = {
    Target(backend="onnxruntime", provider="directml", device=Device.GPU): Provider(
        name="DmlExecutionProvider",
        hardware="GPU",
        precisions=frozenset({Precision.FP32, Precision.FP16}),
        install=INSTALL,
        needs="needs a GPU with a DirectX 12 driver",
        format=Format.ONNX_GPU,
        lacks=_lacks,
    ),
}
