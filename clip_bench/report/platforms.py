"""Targets and machines in the words of published hardware tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUNTIMES = {
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "rknn": "RKNN",
    "sophon": "SAIL",
    "vastai": "VastStreamX",
}
LINKS = {
    "torch": "https://pytorch.org",
    "onnxruntime": "https://onnxruntime.ai",
    "openvino": "https://docs.openvino.ai",
    "rknn": "https://github.com/airockchip/rknn-toolkit2",
    "sophon": "https://github.com/sophgo/sophon-demo",
    "vastai": "https://www.vastaitech.com",
}
PROVIDERS = {
    "coreml": "Core ML",
    "cuda": "CUDA",
    "auto": "AUTO",
    "directml": "DirectML",
    "hetero": "HETERO",
    "migraphx": "MIGraphX",
    "mps": "Metal",
    "ovep": "OpenVINO provider",
    "qnn": "QNN",
    "tensorrt": "TensorRT",
    "trtrtx": "TensorRT for RTX",
    "vitisai": "Vitis AI",
    "xpu": "XPU",
}
VENDORS = {
    "coreml": "Apple",
    "cuda": "NVIDIA",
    "migraphx": "AMD",
    "mps": "Apple",
    "openvino": "Intel",
    "ovep": "Intel",
    "qnn": "Qualcomm",
    "rknn": "Rockchip",
    "sophon": "SOPHON",
    "tensorrt": "NVIDIA",
    "trtrtx": "NVIDIA RTX",
    "vastai": "Vastai",
    "vitisai": "AMD",
    "xpu": "Intel",
}
DEVICES = {
    "cpu": "CPU",
    "gpu": "GPU",
    "npu": "NPU",
    "emulated": "NPU, emulated",
    "numerics": "NPU's graph, numerics only",
}
EMULATED, NUMERICS = "emulated", "numerics"
NOT_HARDWARE = frozenset({EMULATED, NUMERICS})
NULL = "null"
GIB = 2**30

# What decides the speed of a quantized or half-precision MatMul; the rest of a flag list is noise here.
ISA_PREFIXES = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "i8mm", "neon", "sme", "sve", "vnni")


def backend(target: str) -> str:
    """The first word of a target: ``onnxruntime`` of ``onnxruntime-qnn-npu``."""
    return target.partition("-")[0]


def device(target: str) -> str:
    """The last word of a target: ``npu`` of ``onnxruntime-qnn-npu``."""
    return target.rpartition("-")[2]


def title(target: str) -> str:
    """A target as hardware tables head it: ``onnxruntime-qnn-npu`` is 'Qualcomm NPU, ONNX Runtime QNN'."""
    runtime, providers, place = backend(target), target.split("-")[1:-1], device(target)
    maker = "" if place == "cpu" else next((VENDORS[word] for word in (*providers, runtime) if word in VENDORS), "")
    hardware = f"{maker} {DEVICES.get(place, place)}".strip()
    software = [RUNTIMES.get(runtime, runtime), *(PROVIDERS.get(word, word) for word in providers)]
    return f"{hardware}, {' '.join(software)}"


def machine_name(machine: Mapping[str, Any]) -> str:
    """What the machine is called, 'unknown' where the run does not say."""
    return str(machine.get("name") or "unknown")


def chip(machine: Mapping[str, Any], place: str) -> str:
    """The chip behind a device: an accelerator for a GPU where one is listed, else the processor (with its NPU)."""
    processor = str(machine.get("cpu") or "unknown chip")
    return ", ".join(accelerators(machine)) or processor if place == "gpu" else processor


def accelerators(machine: Mapping[str, Any]) -> list[str]:
    """The names of the machine's accelerators; each is listed as a name or as an object with a ``name``."""
    listed = machine.get("accelerators")
    items = listed if isinstance(listed, list) else []
    names = [item.get("name") if isinstance(item, Mapping) else item for item in items]
    return [str(name) for name in names if name]


def ram(machine: Mapping[str, Any]) -> str:
    """Memory as vendors print it, '16.0 GB RAM', where GB is 2^30 bytes; empty where unknown."""
    size = machine.get("ram_bytes")
    return f"{size / GIB:.1f} GB RAM" if isinstance(size, int | float) else ""


def facts(machine: Mapping[str, Any]) -> dict[str, str]:
    """What a reader must know of a machine, by label; '-' where the run does not say."""
    cores = [f"{machine[key]} {word}" for key, word in _CORES.items() if machine.get(key)]
    isa = machine.get("isa")
    sets = [str(word) for word in isa if str(word).lower().startswith(ISA_PREFIXES)] if isinstance(isa, list) else []
    runtimes = machine.get("runtimes")
    versions = [f"{name} {version}" for name, version in sorted(runtimes.items())] if isinstance(runtimes, dict) else []
    told = {
        "CPU": ", ".join([str(machine.get("cpu") or ""), *cores]).strip(", "),
        "Instruction sets": ", ".join(sets),
        "RAM": ram(machine).removesuffix(" RAM"),
        "Accelerators": ", ".join(accelerators(machine)),
        "OS": str(machine.get("os") or ""),
        "Python": str(machine.get("python") or ""),
        "Runtimes": ", ".join(versions),
        "Threads": str(machine.get("threads") or ""),
    }
    return {label: text or "-" for label, text in told.items()}


_CORES = {"cores_physical": "cores", "cores_logical": "logical processors"}
