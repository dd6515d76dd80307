"""AMD's NPU by its Vitis AI provider, and the same quantized graph on the processor, for its numerics alone.

The provider is part of AMD's own build of ONNX Runtime, in Ryzen AI Software, which no package index has. It is
chosen by name, as AMD documents it, and ONNX Runtime may place nothing on the CPU. The provider itself may, unseen by
ONNX Runtime: how many nodes that are stands in a report of its own, without which no cell is timed. Its options are
those that AMD documents (https://ryzenai.docs.amd.com/en/latest/modelrun.html, and inst.html for Phoenix).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import PACKAGE, Provider
from clip_bench.errors import PlacementError
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
REPORT = "vitisai_ep_report.json"
INSIDE = "VITIS_EP_CPU"  # what the report calls the provider's own fallback, which ONNX Runtime does not see
INSTALL = (
    "this ONNX Runtime has no VitisAIExecutionProvider: install AMD's Ryzen AI Software (ryzenai.docs.amd.com), which "
    "brings an ONNX Runtime of its own, and install clip-bench in its environment without the onnxruntime extra"
)


def _lacks(settings: Mapping[str, str]) -> str:
    """The first file among the user's options that is not there, in words."""
    gone = [key for key in FILES if key in settings and not Path(settings[key]).is_file()]
    return f"--option {NAME}.{gone[0]}={settings[gone[0]]}: no such file" if gone else ""


def _options(options: Options) -> Mapping[str, str]:
    """What the user tells the provider, and a cache on disk whose entry no other version or option shares.

    The provider finds an entry by its name alone (https://ryzenai.docs.amd.com/en/latest/modelrun.html), and writes
    its report beside it.
    """
    told = {key: options.settings[key] for key in HELP if key in options.settings}
    return {
        "cache_dir": str(options.store.root / NAME),
        "enable_cache_file_io_in_mem": "0",
        **told,
        "cache_key": f"{told.get('cache_key', 'clip_bench')}_{_digest(told)}",
    }


def _digest(told: Mapping[str, str]) -> str:
    """A short hash of what changes what the provider makes of a graph."""
    parts = [_version(), json.dumps(told, sort_keys=True)]
    files = [Path(told[key]).read_bytes() for key in FILES if key in told]
    return sha256(b"".join([*(part.encode() for part in parts), *files])).hexdigest()[:16]


def _version() -> str:
    """The version of the ONNX Runtime that has the provider, whatever its package is called."""
    import onnxruntime

    version: str = onnxruntime.__version__
    return version


def elsewhere(told: Mapping[str, str]) -> Mapping[str, int]:
    """The nodes that the provider took and runs on the CPU itself, by its own report of the graph.

    Raises:
        PlacementError: there is no such report, so that nothing tells where the nodes run.
    """
    path = Path(told["cache_dir"], told["cache_key"], REPORT)
    try:
        told_of = json.loads(path.read_text(encoding="utf-8"))["deviceStat"]
        counts = {place["name"]: int(place["nodeNum"]) for place in told_of}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        msg = f"Vitis AI left no {REPORT} that can be read ({type(exc).__name__}): nothing tells where its nodes run"
        raise PlacementError(msg) from exc
    return {INSIDE: counts[INSIDE]} if counts.get(INSIDE) else {}


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
        environ={"XLNX_ONNX_EP_REPORT_FILE": REPORT},
        elsewhere=elsewhere,
        share=0.02,  # AMD's own quicktest, a ResNet, leaves 2 of 400 nodes to the provider's CPU
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
