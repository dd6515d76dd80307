"""Qualcomm's HTP by ONNX Runtime's QNN plugin: the NPU of a Snapdragon, and the emulator that comes with the plugin.

Both run a context binary that is compiled once for a chip and kept in the store.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.compile import compiled
from clip_bench.backends.onnxruntime.provider import Provider
from clip_bench.errors import UsageError
from clip_bench.specs import Device, Format, Precision, Target
from clip_bench.store import Artifact

NAME = "QNNExecutionProvider"
NPU = Target(backend="onnxruntime", provider="qnn", device=Device.NPU)
EMULATED = Target(backend="onnxruntime", provider="qnn", device=Device.EMULATED)

# QNN's numbers of chips: the enum QcomChipset of ExecuTorch (backends/qualcomm/serialization/qc_schema.py), and for
# SC8380XP, which is not in it, what the provider logs of a session with that number (soc_type=SC8380XP, v73).
SOCS: Mapping[str, str] = {
    "SC8380XP": "60",  # Snapdragon X Elite
    "SM8450": "36",
    "SM8550": "43",
    "SM8650": "57",
    "SM8750": "69",
    "SM8850": "87",
}
EMULATED_SOC = "SC8380XP"  # that of the published Qualcomm rows
HELP = {
    "soc": f"the chip to compile for, {', '.join(SOCS)} or QNN's number of another; by default {EMULATED_SOC} on the "
    "emulator, and on a device its own"
}
PRECISIONS = frozenset({Precision.FP16, Precision.INT8_QDQ, Precision.A16W8})
# enable_htp_fp16_precision, by which float graphs execute in float16, is on by default; to ask for it makes
# onnxruntime-qnn 2.7.0 refuse a session that names no chip.
HTP = {
    "backend_type": "htp",
    "htp_graph_finalization_optimization_mode": "3",  # the longest search for the fastest graph
}
INSTALL = "install ONNX Runtime's QNN provider: pip install 'clip-bench[qnn]'"
EMULATOR_NEEDS = "the emulator is in the x86-64 package of onnxruntime-qnn alone; use the NPU cells on this machine"


def soc_model(chip: str) -> str:
    """QNN's number of *chip*, a name or such a number.

    Raises:
        UsageError: nobody here knows the name.
    """
    if chip.isdecimal():
        return chip
    if chip.upper() not in SOCS:
        msg = f"--option qnn.soc={chip}: no such chip; there are {', '.join(SOCS)}, or give QNN's number of another"
        raise UsageError(msg)
    return SOCS[chip.upper()]


def _on_device(options: Options) -> Mapping[str, str]:
    chip = {"soc_model": soc_model(options.settings["soc"])} if "soc" in options.settings else {}
    return {**HTP, "htp_performance_mode": "burst", **chip}


def _emulated(options: Options) -> Mapping[str, str]:
    return {**HTP, "soc_model": soc_model(options.settings.get("soc", EMULATED_SOC))}


def _device_model(artifact: Artifact, options: Options) -> Path:
    here = "" if "soc" in options.settings else PROVIDERS[NPU].found(options.settings).device
    return compiled(artifact, PROVIDERS[NPU], options, here).file(".onnx")


def _emulated_model(artifact: Artifact, options: Options) -> Path:
    return compiled(artifact, PROVIDERS[EMULATED], options).file(".onnx")


def _no_emulator(settings: Mapping[str, str]) -> str:  # noqa: ARG001  the signature of a row's function
    return "" if platform.machine().lower() in {"x86_64", "amd64"} else EMULATOR_NEEDS


def _library() -> str:
    import onnxruntime_qnn

    return str(onnxruntime_qnn.get_library_path())


_DEVICE = Provider(
    name=NAME,
    hardware="NPU",
    precisions=PRECISIONS,
    install=INSTALL,
    needs="no Qualcomm NPU here: the cell needs a Snapdragon with an HTP, and its driver",
    module="onnxruntime_qnn",
    library=_library,
    format=Format.ONNX_QNN,
    help=HELP,
    options=_on_device,
    model=_device_model,
    note="the HTP executes one context binary; float graphs in float16",
)
PROVIDERS: Mapping[Target, Provider] = {
    NPU: _DEVICE,
    EMULATED: replace(
        _DEVICE,
        hardware="CPU",
        needs=EMULATOR_NEEDS,
        lacks=_no_emulator,
        options=_emulated,
        model=_emulated_model,
        note="the emulated HTP executes one context binary; float graphs in float16",
    ),
}
