"""Rockchip: what RKNN-Toolkit2 builds, on the NPU of a board, or in the toolkit's simulator on a computer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.graphs import rknn
from clip_bench.graphs.hush import hushed
from clip_bench.specs import Device, Format, Precision, Target
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from rknn.api import RKNN
    from rknnlite.api import RKNNLite

FORMAT = Format.RKNN
NAME = "rknn"
NPU = Target(backend=NAME, device=Device.NPU)
EMULATED = Target(backend=NAME, device=Device.EMULATED)
TARGETS = dict.fromkeys((NPU, EMULATED), frozenset(rknn.RECIPES))
CORES = {"auto": 0, "0": 1, "1": 2, "2": 4, "0_1": 3, "0_1_2": 7, "all": 0xFFFF}  # NPU_CORE_* of both packages
OPTIONS = {
    NAME: {
        "platform": f"the chip to build for: {', '.join(rknn.PLATFORMS)} (default: {rknn.PLATFORMS[0]})",
        "cores": f"the NPU's cores, on rk3588 and rk3576: {', '.join(CORES)} (default: auto)",
        "device": "a board that is connected to this computer, by the id that adb devices tells",
    }
}
BOARD = (
    "no Rockchip NPU: needs a board with one of "
    + ", ".join(rknn.PLATFORMS)
    + (", or one that is connected over adb, by --option rknn.device=ID")
)
RUNTIME = "install RKNN-Toolkit-Lite2 beside this suite (Python 3.11 or 3.12), and librknnrt.so: tox run -e rknn"
IMAGE_AXES = 4
TREE = Path("/proc/device-tree/compatible")

SHARE = 0.12
"""The part of a graph on integers that the toolkit leaves to the processor, with no switch against it: the NPU has no
integer indices, so looking tokens up, finding each text's end and taking its row (5 of the 45 layers of shapes_tiny's
text tower, 7 to 10 of the 115 of its pair). A graph of floats alone runs on the NPU whole, save on rk3566 and rk3568:
there every softmax, with the layers around it, is the processor's, which is a fallback."""


def targets(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, frozenset[Precision]]:
    """:data:`TARGETS`, where the user's options can be used.

    Raises:
        UsageError: no such chip, or no such cores.
    """
    mine = settings.get(NAME, {})
    rknn.platform_of(mine)
    if mine.get("cores", "auto") not in CORES:
        msg = f"--option rknn.cores={mine['cores']}: one of {', '.join(CORES)}"
        raise UsageError(msg)
    return TARGETS


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """The board that this is, or that is connected to it; and the simulator."""
    version = rknn.installed(rknn.TOOLKIT)
    simulator = Found(device=f"RKNN-Toolkit2 {version}'s simulator") if version else Found(missing=rknn.PACKAGE)
    return {NPU: _board(settings.get(NAME, {})), EMULATED: simulator}


def _board(mine: Mapping[str, str]) -> Found:
    asked = rknn.platform_of(mine)
    if "device" in mine:
        version = rknn.installed(rknn.TOOLKIT)
        return Found(device=f"{asked} over adb, RKNN-Toolkit2 {version}") if version else Found(missing=rknn.PACKAGE)
    chip = _chip()
    if not chip:
        return Found(missing=BOARD)
    if chip != asked:
        return Found(missing=f"this board has an {chip}: give --option rknn.platform={chip}")
    version = rknn.installed(rknn.ON_BOARD)
    return Found(device=f"{chip}, RKNN-Toolkit-Lite2 {version}") if version else Found(missing=RUNTIME)


def _chip() -> str:
    """The name of this board's chip, where it is one of :data:`rknn.PLATFORMS`."""
    try:
        names = TREE.read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(rf"rockchip,({'|'.join(rknn.PLATFORMS)})", names)
    return found[1] if found else ""


def load(artifact: Artifact, target: Target, options: Options) -> RknnSession:
    """Load the built file on the NPU; or build the graph again, for the simulator takes no file.

    Raises:
        UnavailableError: the package or the board is not here, or its runtime does not start.
        UnsupportedError: the toolkit refuses the graph.
        PlacementError: it does not tell where the layers execute.
    """
    if reason := devices({NAME: options.settings})[target].missing:
        raise UnavailableError(reason)
    if target == EMULATED:
        chip = rknn.platform_of(options.settings)
        runtime, layers = rknn.compiled(artifact.path, chip, options.precision)
        told, note = {"platform": chip}, "the toolkit's simulator; layers by the unit that it builds them for"
        _start(runtime, {})
    else:
        runtime, told = _on_board(artifact, options.settings)
        layers, note = rknn.layers_of(artifact), ""
    return RknnSession(
        runtime=runtime,
        inputs=artifact.names("inputs"),
        outputs=artifact.names("outputs"),
        layers=layers,
        told=told,
        note=note,
        silent=target == EMULATED,
    )


def _on_board(artifact: Artifact, settings: Mapping[str, str]) -> tuple[RKNN | RKNNLite, dict[str, str]]:
    """The runtime of this board, or of the one that is connected, with the file loaded; and what it was told."""
    chip, cores = rknn.platform_of(settings), settings.get("cores", "auto")
    chosen: dict[str, object] = {} if cores == "auto" else {"core_mask": CORES[cores]}
    with hushed():
        if "device" in settings:
            from rknn.api import RKNN

            runtime: RKNN | RKNNLite = RKNN()
            chosen |= {"target": chip, "device_id": settings["device"]}
        else:
            from rknnlite.api import RKNNLite

            runtime = RKNNLite()
        told = rknn.failure(lambda: runtime.load_rknn(str(artifact.file(rknn.BUILT))))
    if told:
        msg = f"RKNN-Toolkit cannot read the built file: {told}"
        raise UnavailableError(msg)
    _start(runtime, chosen)
    return runtime, {"platform": chip, "cores": cores}


def _start(runtime: RKNN | RKNNLite, chosen: Mapping[str, object]) -> None:
    with hushed() as printed:
        told = rknn.failure(lambda: runtime.init_runtime(**chosen))
        if told:
            runtime.release()
    if told:
        errors = [line for line in printed.text.splitlines() if re.search(r"Exception|Error|\bE RKNN", line)]
        msg = f"Rockchip's runtime does not start: {errors[-1].strip() if errors else told}"
        raise UnavailableError(msg)


@dataclass(slots=True, kw_only=True)
class RknnSession:
    """A graph in the simulator, which is made ``silent``, or on the NPU, where nothing stands inside the clock but the call.

    ``inputs`` and ``outputs`` are names in the runtime's order, ``layers`` what the build told; ``told`` is what the runtime
    was told, ``note`` what a reader must know.
    """

    runtime: RKNN | RKNNLite
    inputs: Sequence[str]
    outputs: Sequence[str]
    layers: Sequence[rknn.Layer]
    told: Mapping[str, str]
    note: str
    silent: bool

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once; the results are on the host. Pictures are given channels first, as everywhere in this suite."""
        if not self.silent:
            return self._run(feeds)
        with hushed():
            return self._run(feeds)

    def _run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        arrays = [feeds[name] for name in self.inputs]
        layouts = ["nchw" if array.ndim == IMAGE_AXES else "nhwc" for array in arrays]
        answers = self.runtime.inference(inputs=arrays, data_format=layouts)
        if answers is None:  # RKNN-Toolkit-Lite2 prints why
            msg = "the NPU gave no answer"
            raise RuntimeError(msg)
        return dict(zip(self.outputs, answers, strict=True))

    def placement(self) -> Placement:
        """Layers by the unit and the type that they were built for: the runtime moves none, and tells no more."""
        nodes = Counter(layer.unit for layer in self.layers)
        dtypes = Counter(layer.dtype.lower() for layer in self.layers)
        share = SHARE if any(name.startswith("int64") for name in dtypes) else 0.0
        return Placement(nodes=nodes, dtypes=dtypes, asked="NPU", share=share, note=self.note, options=self.told)

    def close(self) -> None:
        """Release the runtime."""
        with hushed():
            self.runtime.release()
