"""Apple's neural engine under ONNX Runtime, through Core ML: an ML program on the engine and, where it must, the CPU.

ONNX Runtime tells which nodes Core ML took, and none may stay with its own CPU provider. Core ML itself divides what it
took between the engine, which has no float32, and the CPU, without a switch against that, and does not say how.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import PACKAGE, Provider
from clip_bench.specs import Device, Format, Precision, Target, Variant

UNITS = "CPUAndNeuralEngine"


def _chip() -> str:
    return f"Apple neural engine, macOS {platform.mac_ver()[0]}"


def _lacks(settings: Mapping[str, str]) -> str:  # noqa: ARG001  the signature of a row's function
    if sys.platform != "darwin":
        return "needs macOS: Core ML is a part of it"
    return "" if platform.machine() == "arm64" else "needs Apple silicon: other Macs have no neural engine"


def told(options: Options) -> Mapping[str, str]:  # noqa: ARG001  the signature of a row's function
    """An ML program of fixed shapes for the neural engine, compiled anew at every load: no cache is named."""
    return {"ModelFormat": "MLProgram", "MLComputeUnits": UNITS, "RequireStaticInputShapes": "1"}


PROVIDERS: Mapping[Target, Provider] = {
    Target(backend="onnxruntime", provider="coreml", device=Device.NPU): Provider(
        name="CoreMLExecutionProvider",
        hardware="NPU",
        precisions=frozenset(),
        install=PACKAGE,
        needs=PACKAGE,
        in_session=True,
        named=_chip,
        format=Format.ONNX_GPU,
        variants={Variant(half_io=True): frozenset({Precision.FP16})},  # the standard's operators alone, in float16
        lacks=_lacks,
        options=told,
        note=f"Core ML with {UNITS}: it may run parts on the CPU, and does not tell ONNX Runtime which",
    ),
}
