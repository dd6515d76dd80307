"""AMD's NPU by its Vitis AI provider, and the same quantized graph on the processor, for its numerics alone.

The provider is part of AMD's own build of ONNX Runtime, in Ryzen AI Software, which no package index has. It is
chosen by name, as AMD documents it, with the CPU as no way back. Its options are those that AMD documents
(https://ryzenai.docs.amd.com/en/latest/modelrun.html; ``target`` and ``xlnx_enable_py3_round`` since 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import PACKAGE, Provider
from clip_bench.specs import Device, Format, Precision, Target

NAME = "vitisai"
PRECISIONS = frozenset({Precision.INT8_QDQ, Precision.A16W8})
HELP = {
    "config_file": "the provider's configuration file (JSON)",
    "cache_dir": "folder for compiled graphs (default: the provider's own)",
    "cache_key": "beginning of a compiled graph's folder in it; the graph's own key follows (default: the provider's own)",
    "xclbin": "the NPU's configuration file, which Phoenix and Hawk Point need: 4x4.xclbin of Ryzen AI Software",
    "target": "the compiler for int8 graphs: X1 for Phoenix and Hawk Point, X2 (the provider's default) for later NPUs",
    "xlnx_enable_py3_round": "0 for Phoenix and Hawk Point",
}
FILES = ("config_file", "xclbin")
INSTALL = (
    "this ONNX Runtime has no VitisAIExecutionProvider: install AMD's Ryzen AI Software (ryzenai.docs.amd.com), which "
    "brings an ONNX Runtime of its own, and install clip-bench in its environment without the onnxruntime extra"
)


def _lacks(settings: Mapping[str, str]) -> str:
    """The first file among the user's options that is not there, in words."""
    gone = [key for key in FILES if key in settings and not Path(settings[key]).is_file()]
    return f"--option {NAME}.{gone[0]}={settings[gone[0]]}: no such file" if gone else ""


def _options(options: Options) -> Mapping[str, str]:
    """What the user tells the provider, as it is."""
    return {key: options.settings[key] for key in HELP if key in options.settings}


PROVIDERS: Mapping[Target, Provider] = {
    Target(backend="onnxruntime", provider=NAME, device=Device.NPU): Provider(
        name="VitisAIExecutionProvider",
        hardware="NPU",
        precisions=PRECISIONS,
        install=INSTALL,
        needs=INSTALL,
        in_session=True,
        format=Format.ONNX_VITISAI,
        help=HELP,
        lacks=_lacks,
        options=_options,
        keyed=frozenset({"cache_key"}),
    ),
    Target(backend="onnxruntime", provider=NAME, device=Device.NUMERICS): Provider(
        name="CPUExecutionProvider",
        hardware="CPU",
        precisions=PRECISIONS,
        install=PACKAGE,
        needs=PACKAGE,
        in_session=True,
        format=Format.ONNX_VITISAI,
        note="the graph's numerics, not the device's",
    ),
}
