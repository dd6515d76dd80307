"""NVIDIA's GPUs under ONNX Runtime: CUDA and TensorRT inside onnxruntime-gpu, TensorRT for RTX as a plugin.

The first two are made by name: onnxruntime-gpu (1.31) has them inside, lists them on machines without any GPU, and its
discovery of devices needs what containers and WSL lack (https://github.com/microsoft/onnxruntime/issues/27286). So the
driver is asked whether there is a GPU, and a session of one node whether the provider starts. No engine is cached:
each load builds its own, inside the load's time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import Provider
from clip_bench.errors import UnavailableError
from clip_bench.specs import Device, Format, Precision, Target, Variant

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
RTX, RTX_MODULE = "NvTensorRTRTXExecutionProvider", "onnxruntime_ep_nv_tensorrt_rtx"
NO_GPU = "needs an NVIDIA GPU with its driver"
NO_RTX = "needs an NVIDIA RTX GPU of compute capability 8.6, 8.9, 12.0 or later, with its driver"
HALF_IO, GRAPHS = Variant(half_io=True), Variant(cuda_graphs=True)
FLOATS, HALF = frozenset({Precision.FP32, Precision.FP16}), frozenset({Precision.FP16})
EXACT = "NVIDIA_TF32_OVERRIDE"  # 0: no NVIDIA library of the process computes float32 products in TF32


@cache
def gpu() -> str:
    """Name of the first GPU and the CUDA version of its driver, as the driver tells; empty where there is none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ""
    count, name, version = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_int()
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGetCount(ctypes.byref(count))
        or driver.cuDeviceGetName(name, len(name), 0)
        or driver.cuDriverGetVersion(ctypes.byref(version))
    )
    if failed or not count.value:
        return ""
    return f"{name.value.decode()}, driver for CUDA {version.value // 1000}.{version.value % 1000 // 10}"


@cache
def _starts(provider: str) -> str:
    """Why *provider* cannot start here, tried with the model of one node that ONNX Runtime brings; empty if it can."""
    import onnxruntime
    from onnxruntime.datasets import get_example

    with redirect_stdout(StringIO()):  # it prints what it does not find; the session says what that means
        onnxruntime.preload_dlls()
    if provider == TENSORRT and find_spec("tensorrt"):
        import_module("tensorrt")  # its libraries, where pip installed them; else the loader's path has them
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        onnxruntime.InferenceSession(get_example("mul_1.onnx"), settings, providers=[(provider, {})], enable_fallback=0)
    except Exception as exc:  # noqa: BLE001  a class for each status code, and RuntimeError where libraries are missing
        return f"{provider} does not start: its libraries are missing or of another version ({type(exc).__name__})"
    return ""


def _lacks(provider: str, extra: str) -> str:
    if not gpu():
        return NO_GPU
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return _install(extra)
    reason = _starts(provider)
    return reason and f"{reason}; {_install(extra)}"


def _install(extra: str) -> str:
    return f"install onnxruntime-gpu in place of onnxruntime: pip install 'clip-bench[{extra}]'"


def cuda_options(options: Options) -> Mapping[str, str]:
    """No TF32, the convolution searched exhaustively, and a captured graph where the variant wants it."""
    return {
        "device_id": str(options.device_id or 0),
        "use_tf32": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "enable_cuda_graph": str(int(options.variant.cuda_graphs)),
    }


def tensorrt_options(options: Options) -> Mapping[str, str]:
    """Float16 only for a float16 graph; engines and timings are cached nowhere.

    Raises:
        UnavailableError: fp32, and TF32 is not switched off for the process: TensorRT has no option for it here.
    """
    _exact(options)
    return {
        "device_id": str(options.device_id or 0),
        "trt_fp16_enable": str(int(options.precision is Precision.FP16)),
        "trt_engine_cache_enable": "0",
        "trt_timing_cache_enable": "0",
        "trt_cuda_graph_enable": "0",
    }


def rtx_options(options: Options) -> Mapping[str, str]:
    """The graph's own types: TensorRT for RTX is strongly typed.

    Raises:
        UnavailableError: as with TensorRT.
    """
    _exact(options)
    return {"enable_cuda_graph": "0"}


def _exact(options: Options) -> None:
    if options.precision is Precision.FP32 and os.environ.get(EXACT) != "0":
        msg = f"fp32 on TensorRT is TF32 unless {EXACT}=0 is set before the start: set it in the environment"
        raise UnavailableError(msg)


def _rtx_library() -> str:
    return str(import_module(RTX_MODULE).get_library_path())


PROVIDERS: Mapping[Target, Provider] = {
    Target(backend="onnxruntime", provider="cuda", device=Device.GPU): Provider(
        name=CUDA,
        hardware="GPU",
        precisions=FLOATS,
        install=_install("cuda"),
        needs=NO_GPU,
        in_session=True,
        named=gpu,
        bound="cuda",
        format=Format.ONNX_GPU,
        variants={GRAPHS: FLOATS},
        lacks=lambda _: _lacks(CUDA, "cuda"),
        options=cuda_options,
    ),
    Target(backend="onnxruntime", provider="tensorrt", device=Device.GPU): Provider(
        name=TENSORRT,
        hardware="GPU",
        precisions=frozenset({Precision.FP32}),
        install=_install("tensorrt"),
        needs=NO_GPU,
        in_session=True,
        named=gpu,
        bound="cuda",
        format=Format.ONNX_GPU,
        variants={HALF_IO: HALF},
        lacks=lambda _: _lacks(TENSORRT, "tensorrt"),
        options=tensorrt_options,
    ),
    Target(backend="onnxruntime", provider="trtrtx", device=Device.GPU): Provider(
        name=RTX,
        hardware="GPU",
        precisions=frozenset({Precision.FP32}),
        install="install NVIDIA's plugin for ONNX Runtime: pip install 'clip-bench[trtrtx]'",
        needs=NO_RTX,
        module=RTX_MODULE,
        library=_rtx_library,
        format=Format.ONNX_GPU,
        variants={HALF_IO: HALF},
        lacks=lambda _: "" if gpu() else NO_RTX,  # the plugin cannot even be loaded without the driver
        options=rtx_options,
    ),
}
