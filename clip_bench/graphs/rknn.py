"""A tower for Rockchip's NPUs: an ONNX file that RKNN-Toolkit2 loads, its calibration rows, and what it builds of them.

The built file runs on a board and nowhere else: the toolkit's simulator takes a graph that it built itself, in the
same process. So the ONNX file and the rows are part of the artifact, and :func:`compiled` makes the same of them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs import Graph, no_recipe, onnx_file, rewrites
from clip_bench.graphs.hush import hushed
from clip_bench.models import towers
from clip_bench.specs import Format, Precision
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from rknn.api import RKNN

SOURCE = "model.onnx"
ROWS = "rows.npz"
BUILT = "model.rknn"
LAYERS = "layers.json"
OPSET = 19  # the newest that RKNN-Toolkit2 2.5.0 loads
TOOLKIT, ON_BOARD = "rknn-toolkit2", "rknn-toolkit-lite2"  # released together, under one version
PLATFORMS = ("rk3588", "rk3576", "rk3562", "rk3566", "rk3568", "rv1126b")  # with float16, and a Python runtime
PACKAGE = (
    "needs RKNN-Toolkit2 beside this suite, on Linux with Python 3.11 or 3.12: tox run -e rknn-emulated installs it"
)

# A row of the table that a verbose build prints: number, operator, data type, and the unit that executes it.
LAYER = re.compile(r"D RKNN: \[[\d:.]+\]\s+\d+\s+(?P<op>\w+)\s+(?P<dtype>[A-Z]+\d*)\s+(?P<unit>NPU|CPU|GPU)\s")
EDGES = {"InputOperator", "OutputOperator"}  # in the table, but nothing to execute


@dataclass(frozen=True, slots=True, kw_only=True)
class W8A8:
    """RKNN-Toolkit2's 8-bit recipe, in its own words.

    Over 200 images and 200 texts of shapes_tiny, ``normal`` (ranges from minimum and maximum) had a mean cosine of
    0.9989 and 0.9987; ``kl_divergence`` 0.9981 and 0.9986, and ``mmse``, on 32 rows for its cost, 0.9980 and 0.9987.
    """

    quantized_dtype: str = "w8a8"
    quantized_algorithm: str = "normal"
    quantized_method: str = "channel"
    samples: int = 64


RECIPES: Mapping[Precision, W8A8 | None] = {Precision.FP16: None, Precision.INT8_VENDOR: W8A8()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a built graph: the toolkit's operator, the type it executes in, and the unit that executes it."""

    op: str
    dtype: str
    unit: str


def platform_of(settings: Mapping[str, str]) -> str:
    """The chip that the user builds for.

    Raises:
        UsageError: the toolkit has no such chip, or none that runs this suite.
    """
    name = settings.get("platform", PLATFORMS[0])
    if name not in PLATFORMS:
        msg = f"--option rknn.platform={name}: one of {', '.join(PLATFORMS)}"
        raise UsageError(msg)
    return name


def build(graph: Graph, precision: Precision) -> Artifact:
    """What *graph* becomes at *precision* on the chip of its settings: fp16 as it is, int8_vendor from calibration.

    Raises:
        UnavailableError: it is not in the store, and RKNN-Toolkit2 is not here to build it.
        UnsupportedError: no recipe makes that precision, or the toolkit refuses the graph.
    """
    if precision not in RECIPES:
        raise no_recipe(precision, Format.RKNN)
    chosen, chip = RECIPES[precision], platform_of(graph.settings)
    parent = onnx_file.build(graph, Precision.FP32)
    rows: list[onnx_file.Row] = []
    quantized: dict[str, object] = {}
    if chosen is not None:
        calibration = graph.calibration()
        rows = onnx_file.rows(graph, calibration, chosen.samples)
        quantized = {**asdict(chosen), "calibration_sha256": calibration.sha256}
    recipe = {
        "step": "rknn",
        "precision": precision,
        "parent": parent.key,
        "platform": chip,
        "opset": OPSET,
        "mask": onnx_file.MASK,
        "toolkit": released(),
        "inputs": towers.INPUTS[graph.tower],
        "outputs": towers.OUTPUTS[graph.tower],
        **quantized,
    }

    def make(folder: Path) -> None:
        _convert(parent.file(onnx_file.NAME), folder / SOURCE)
        if rows:
            np.savez(folder / ROWS, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[arg-type]  # no array is called allow_pickle
        _write(folder, chip, precision)

    return graph.store.get(recipe, make, parent)


def _write(folder: Path, platform: str, precision: Precision) -> None:
    """Put what the toolkit builds of *folder* beside what it is built of."""
    toolkit, layers = compiled(folder, platform, precision)
    try:
        with hushed():
            _accepted("export", lambda: toolkit.export_rknn(str(folder / BUILT)))
    finally:
        with hushed():
            toolkit.release()
    (folder / LAYERS).write_text(json.dumps([asdict(layer) for layer in layers], indent=1), encoding="utf-8")


def layers_of(artifact: Artifact) -> list[Layer]:
    """The layers of the file for the board, as its build told them."""
    return [Layer(**row) for row in json.loads(artifact.file(LAYERS).read_text(encoding="utf-8"))]


def installed(package: str) -> str:
    """The version of *package*; empty where it is not here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def released() -> str:
    """The version of the toolkit, or of the runtime on a board that has no toolkit; empty where there is neither."""
    return installed(TOOLKIT) or installed(ON_BOARD)


def compiled(folder: Path, platform: str, precision: Precision) -> tuple[RKNN, list[Layer]]:
    """A toolkit that has built the ONNX file in *folder* for *platform*, and where and how its layers execute.

    Raises:
        UnavailableError: RKNN-Toolkit2 is not here, or something that it needs.
        UnsupportedError: it refuses the graph.
        PlacementError: it does not tell where the layers execute.
    """
    with hushed() as printed:
        try:
            from rknn.api import RKNN

            toolkit = RKNN(verbose=True)
        except ImportError as exc:
            msg = f"RKNN-Toolkit2 does not start ({exc}): {PACKAGE}"
            raise UnavailableError(msg) from exc
        try:
            _make(toolkit, folder, platform, RECIPES[precision])
        except BaseException:
            toolkit.release()
            raise
    layers = [Layer(**found.groupdict()) for found in LAYER.finditer(printed.text) if found["op"] not in EDGES]
    if not layers:
        toolkit.release()
        msg = f"RKNN-Toolkit2 {released()} does not tell where layers execute: no table in what its build prints"
        raise PlacementError(msg)
    return toolkit, layers


def _make(toolkit: RKNN, folder: Path, platform: str, recipe: W8A8 | None) -> None:
    source, rows = (folder / SOURCE).resolve(), (folder / ROWS).resolve()
    told = {} if recipe is None else {key: value for key, value in asdict(recipe).items() if key != "samples"}
    with TemporaryDirectory() as scratch, chdir(scratch):  # a verbose build leaves files where it stands
        dataset = None if recipe is None else _listed(rows)
        _accepted("config", lambda: toolkit.config(target_platform=platform, **told))
        _accepted("load_onnx", lambda: toolkit.load_onnx(str(source)))
        _accepted("build", lambda: toolkit.build(do_quantization=recipe is not None, dataset=dataset))


def _accepted(step: str, call: Callable[[], int]) -> None:
    if told := failure(call):
        msg = f"RKNN-Toolkit2 {released()} refuses the graph in {step}: {told}"
        raise UnsupportedError(msg)


def failure(call: Callable[[], int]) -> str:
    """Why a call of the toolkit failed, as it tells: by its status, or by a traceback as a message; empty if it did not."""
    try:
        status = call()
    except ValueError as exc:
        return next((line.strip() for line in reversed(str(exc).splitlines()) if line.strip()), "no reason given")
    return f"status {status}" if status else ""


def _convert(source: Path, path: Path) -> None:
    """The graph at the toolkit's opset, with a mask of finite numbers."""
    import onnx
    from onnx import version_converter

    onnx.save(version_converter.convert_version(rewrites.finite_mask(source, onnx_file.MASK), OPSET), path)


def _listed(rows: Path) -> str:
    """Write, here, what the toolkit calibrates from: a line of .npy files, one per input, for every row; its name."""
    with np.load(rows) as stored:
        arrays = dict(stored)
    lines = []
    for i in range(len(next(iter(arrays.values())))):
        for name, values in arrays.items():
            np.save(f"{name}_{i}.npy", values[i])
        lines.append(" ".join(f"{name}_{i}.npy" for name in arrays))
    dataset = Path("dataset.txt")
    dataset.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(dataset)
