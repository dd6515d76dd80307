"""What RKNN-Toolkit2 is given, what is kept of it, and how it fails; a stand-in takes its place."""

import json
import os
import re
import sys
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from clip_bench import graphs
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs import onnx_file, rknn
from clip_bench.models import towers
from clip_bench.quality import metrics
from clip_bench.specs import Format, Precision, Tower

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
# As RKNN-Toolkit2 2.5.0 prints it, cut in the middle and at the right; then a row of its table of memory.
TABLE = b"""\
D RKNN: [03:07:38.226] ID   OpType             DataType Target InputShape                               OutputShape
D RKNN: [03:07:38.226] 0    InputOperator      INT64    CPU    \\                                        (1,24)
D RKNN: [03:07:38.226] 1    Gather             FLOAT16  CPU    (49408,128),(1,24)                       (1,24,128)
D RKNN: [03:07:38.226] 3    ArgMax             INT64    CPU    (1,24,1,1)                               (1,1,1,1)
D RKNN: [03:07:38.226] 13   exSDPAttention     FLOAT16  NPU    (4,32,1,24),(4,32,1,24),(4,32,1,24),...  (4,32,1,24)
D RKNN: [03:07:38.226] 46   OutputOperator     FLOAT16  CPU    (1,128)                                  \\
D RKNN: [03:08:02.143] 6   exNorm         cat_sw-rs              FLOAT16   NC1HWC2      (1,128,1,65)
"""
PINNED = re.compile(r"^([\w-]+)==(\S+)", re.MULTILINE)
VERSIONS = count()
LAYERS = [
    {"op": "Gather", "dtype": "FLOAT16", "unit": "CPU"},
    {"op": "ArgMax", "dtype": "INT64", "unit": "CPU"},
    {"op": "exSDPAttention", "dtype": "FLOAT16", "unit": "NPU"},
]
TRACEBACK = 'Traceback (most recent call last):\n  File "rknn_base.py"\nValueError: Unsupport onnx opset 21!\n\n'


class Toolkit:
    """Its interface: it tells what it is asked, and answers as the test says."""

    def __init__(self, told, answers, table, *, verbose):
        assert verbose, "else it prints no table"
        self.told, self.answers, self.table = told, answers, table

    def _answer(self, name, **given):
        self.told.append((name, given))
        answer = self.answers.get(name, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def config(self, **given):
        return self._answer("config", **given)

    def load_onnx(self, model):
        return self._answer("load_onnx", opset=onnx.load(model).opset_import[0].version)

    def build(self, *, do_quantization, dataset):
        lines = Path(dataset).read_text(encoding="utf-8").splitlines() if dataset else []
        rows = [[np.load(name) for name in line.split()] for line in lines]
        sys.stdout.write("I rknn building ...\n")
        os.write(1, self.table)
        return self._answer("build", do_quantization=do_quantization, rows=rows)

    def export_rknn(self, path):
        Path(path).write_bytes(b"RKNN")
        return self._answer("export_rknn")

    def release(self):
        self._answer("release")


@pytest.fixture
def toolkit(monkeypatch):
    """A function that puts the stand-in in the toolkit's place; it gives the list of what it will be told."""

    def placed(table=TABLE, **answers):
        told, module = [], ModuleType("rknn.api")
        module.RKNN = partial(Toolkit, told, answers, table)
        monkeypatch.setitem(sys.modules, "rknn", ModuleType("rknn"))
        monkeypatch.setitem(sys.modules, "rknn.api", module)
        monkeypatch.setattr(rknn, "released", lambda: f"0.{next(VERSIONS)}")  # so that nothing is in the store
        return told

    return placed


def build(graph, precision):
    return graphs.build(graph, precision, Format.RKNN)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_toolkit_is_given_a_graph_that_it_loads_with_the_same_answers(shapes, tower, tmp_path):
    source = onnx_file.build(shapes.graph(tower), Precision.FP32).file(onnx_file.NAME)

    rknn._convert(source, tmp_path / rknn.SOURCE)

    model = onnx.load(tmp_path / rknn.SOURCE)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 19)]
    assert all(np.isfinite(onnx.numpy_helper.to_array(each)).all() for each in model.graph.initializer)
    session = onnxruntime.InferenceSession(tmp_path / rknn.SOURCE)
    assert [each.name for each in session.get_inputs()] == list(towers.INPUTS[tower])
    answers = shapes.answers(SimpleNamespace(run=lambda feeds: named(session, tower, feeds)), tower)
    for name, expected in shapes.reference.outputs(shapes.fed, tower).items():
        assert metrics.cosine(answers[name], expected).min() > 0.999999


def named(session, tower, feeds):
    return dict(zip(towers.OUTPUTS[tower], session.run(towers.OUTPUTS[tower], dict(feeds)), strict=True))


def test_half_precision_is_built_without_calibration(shapes, toolkit):
    told = toolkit()

    artifact = build(shapes.graph(Tower.IMAGE), Precision.FP16)

    assert told == [
        ("config", {"target_platform": "rk3588"}),
        ("load_onnx", {"opset": 19}),
        ("build", {"do_quantization": False, "rows": []}),
        ("export_rknn", {}),
        ("release", {}),
    ]
    assert {path.name for path in artifact.path.iterdir()} == {
        "model.onnx",
        "model.rknn",
        "layers.json",
        "manifest.json",
    }
    assert json.loads(artifact.file("layers.json").read_text()) == LAYERS


def test_eight_bits_are_calibrated_on_rows_that_are_kept_and_part_of_the_recipe(shapes, toolkit):
    told = toolkit()

    artifact = build(shapes.graph(Tower.PAIR), Precision.INT8_VENDOR)

    given = dict(told)
    assert given["config"] == {
        "target_platform": "rk3588",
        "quantized_dtype": "w8a8",
        "quantized_algorithm": "normal",
        "quantized_method": "channel",
    }
    assert given["build"]["do_quantization"] is True
    with np.load(artifact.file(".npz")) as kept:
        assert {name: each.shape for name, each in kept.items()} == {
            "image": (64, 1, 3, 64, 64),
            "tokens": (64, 10, 24),
        }
        for name, fed in zip(towers.INPUTS[Tower.PAIR], zip(*given["build"]["rows"], strict=True), strict=True):
            np.testing.assert_array_equal(np.stack(fed), kept[name])
    assert artifact.recipe["calibration_sha256"] == shapes.calibration.sha256
    assert artifact.recipe["samples"] == 64


def test_another_chip_is_another_artifact(shapes, toolkit):
    told = toolkit()

    artifact = build(replace(shapes.graph(Tower.IMAGE), settings={"platform": "rk3576"}), Precision.FP16)

    assert dict(told)["config"] == {"target_platform": "rk3576"}
    assert artifact.recipe["platform"] == "rk3576"


def test_a_chip_that_the_toolkit_has_not_is_refused_with_those_it_has(shapes):
    with pytest.raises(UsageError, match=r"rknn\.platform=rk9999: one of rk3588, rk3576"):
        build(replace(shapes.graph(Tower.IMAGE), settings={"platform": "rk9999"}), Precision.FP16)


def test_a_precision_without_a_recipe_is_refused(shapes):
    with pytest.raises(UnsupportedError, match="no recipe makes bf16 in the rknn format"):
        build(shapes.graph(Tower.IMAGE), Precision.BF16)


def test_without_the_toolkit_one_is_told_how_to_install_it(shapes, toolkit, monkeypatch):
    toolkit()
    monkeypatch.setitem(sys.modules, "rknn.api", None)

    with pytest.raises(UnavailableError, match=r"^RKNN-Toolkit2 does not start .*: needs .* tox run -e rknn-emulated"):
        build(shapes.graph(Tower.IMAGE), Precision.FP16)


@pytest.mark.parametrize(
    ("step", "answer", "reason"),
    [
        pytest.param(
            "load_onnx", ValueError(TRACEBACK), "load_onnx: ValueError: Unsupport onnx opset 21!", id="raised"
        ),
        pytest.param("build", -1, "build: status -1", id="returned"),
        pytest.param("export_rknn", -1, "export: status -1", id="last"),
    ],
)
def test_a_failure_of_the_toolkit_is_told_in_a_line_and_the_toolkit_released(shapes, toolkit, step, answer, reason):
    told = toolkit(**{step: answer})

    with pytest.raises(UnsupportedError, match=rf"^RKNN-Toolkit2 0\.\d+ refuses the graph in {reason}$"):
        build(shapes.graph(Tower.IMAGE), Precision.FP16)

    assert told[-1] == ("release", {})


def test_a_build_that_does_not_tell_where_layers_execute_is_refused(shapes, toolkit):
    told = toolkit(table=b"I rknn building done.\n")

    with pytest.raises(PlacementError, match="does not tell where layers execute"):
        build(shapes.graph(Tower.IMAGE), Precision.FP16)

    assert told[-1] == ("release", {})


def test_a_build_leaves_nothing_where_it_is_started(shapes, toolkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toolkit()

    build(shapes.graph(Tower.TEXT), Precision.INT8_VENDOR)

    assert list(tmp_path.iterdir()) == []


def test_what_enters_recipes_has_one_version_in_every_environment(pytestconfig):
    """Else artifacts and references that are made beside the toolkit are not those of the other environments."""
    files = (pytestconfig.rootpath / name for name in ("constraints.txt", "constraints-rknn.txt"))
    both = [dict(PINNED.findall(path.read_text(encoding="utf-8"))) for path in files]

    shared = ("torch", "torchvision", "open-clip-torch", "timm", "onnxscript", "onnx-ir", "pillow")
    assert [{name: pins[name] for name in shared} for pins in both] == [{name: both[0][name] for name in shared}] * 2
