"""Rockchip: what is found, how a board is started, and where the layers are; a stand-in takes the board's place."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from clip_bench.backends import Options, rknn
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.graphs import rknn as toolchain
from clip_bench.specs import Precision
from clip_bench.store import Artifact

PIXELS, TOKENS = np.zeros((1, 3, 4, 4), np.float32), np.ones((1, 5), np.int64)
ANSWER = np.ones((1, 8), np.float32)


class Board:
    """RKNNLite's interface: it tells what it is asked, and answers as the test says."""

    def __init__(self, told, answers):
        self.told, self.answers = told, answers

    def load_rknn(self, path):
        self.told.append(("load_rknn", path))
        return self.answers.get("load_rknn", 0)

    def init_runtime(self, **given):
        self.told.append(("init_runtime", given))
        if self.answers.get("init_runtime", 0):
            sys.stdout.write("E Exception: Can not find dynamic library on RK3588!\nW WARN(0)\n")
        return self.answers.get("init_runtime", 0)

    def inference(self, inputs, data_format):
        sys.stdout.write(self.answers.get("noise", ""))
        self.told.append(("inference", [each.dtype.name for each in inputs], data_format))
        return self.answers.get("inference", [ANSWER])

    def release(self):
        self.told.append(("release",))


@pytest.fixture
def board(monkeypatch, tmp_path):
    """A function that makes this machine a board; it gives the list of what its runtime will be told."""

    def made(chip="rk3588", packages=("rknn-toolkit-lite2",), **answers):
        told, module = [], ModuleType("rknnlite.api")
        module.RKNNLite = lambda: Board(told, answers)
        module.RKNN = module.RKNNLite
        for name in ("rknnlite", "rknn"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            monkeypatch.setitem(sys.modules, f"{name}.api", module)
        monkeypatch.setattr(toolchain, "installed", lambda package: "2.5.0" if package in packages else "")
        tree = tmp_path / "compatible"
        tree.write_bytes(b"radxa,rock-5b\0rockchip," + chip.encode() + b"\0")
        monkeypatch.setattr(rknn, "TREE", tree)
        return told

    return made


@pytest.fixture
def built(tmp_path):
    """A function that gives an artifact of layers, written as operator, type and unit."""

    def artifact(*layers, inputs=("image",)):
        rows = [dict(zip(("op", "dtype", "unit"), layer.split(), strict=True)) for layer in layers]
        folder = tmp_path / "artifact"
        folder.mkdir()
        (folder / "layers.json").write_text(json.dumps(rows))
        (folder / "model.rknn").write_bytes(b"RKNN")
        recipe = {"inputs": inputs, "outputs": ("image_embedding",)}
        return Artifact(path=folder, key="", sha256="", size_bytes=4, built_s=0.0, recipe=recipe)

    return artifact


def load(artifact, target=rknn.NPU, **settings):
    return rknn.load(artifact, target, Options(precision=Precision.FP16, threads=1, settings=settings))


def found(**settings):
    return rknn.devices({"rknn": settings})


def test_without_board_and_package_both_are_asked_for(board, monkeypatch, tmp_path):
    board(packages=())
    monkeypatch.setattr(rknn, "TREE", tmp_path / "nowhere")

    here = found()

    assert here[rknn.NPU].missing.startswith("no Rockchip NPU: needs a board with one of rk3588, rk3576, ")
    assert here[rknn.EMULATED].missing.endswith("tox run -e rknn-emulated installs it")


def test_a_board_without_its_runtime_is_told_what_to_install(board, built):
    board(packages=())

    assert found()[rknn.NPU].missing == rknn.RUNTIME
    with pytest.raises(UnavailableError, match="install RKNN-Toolkit-Lite2"):
        load(built("Conv FLOAT16 NPU"))


def test_a_board_is_named_with_the_version_of_its_runtime(board):
    board(chip="rk3588s")

    assert found()[rknn.NPU].device == "rk3588, RKNN-Toolkit-Lite2 2.5.0"


def test_a_board_of_another_chip_is_told_the_option(board):
    board(chip="rk3576")

    assert found()[rknn.NPU].missing == "this board has an rk3576: give --option rknn.platform=rk3576"
    assert found(platform="rk3576")[rknn.NPU].device == "rk3576, RKNN-Toolkit-Lite2 2.5.0"


def test_a_board_with_another_maker_s_chip_is_none(board):
    board(chip="rk3399")

    assert found()[rknn.NPU].missing == rknn.BOARD


def test_a_connected_board_needs_the_toolkit_and_its_id_is_not_told(board):
    board(packages=())
    assert found(device="0123456789ABCDEF")[rknn.NPU].missing == toolchain.PACKAGE

    board(packages=("rknn-toolkit2",))
    assert found(device="0123456789ABCDEF")[rknn.NPU].device == "rk3588 over adb, RKNN-Toolkit2 2.5.0"


@pytest.mark.parametrize(
    ("key", "others"), [pytest.param("platform", "rk3588", id="chip"), pytest.param("cores", "auto, 0", id="cores")]
)
def test_an_option_that_cannot_be_is_refused_with_what_could_be(key, others):
    with pytest.raises(UsageError, match=rf"--option rknn\.{key}=strange: one of {others}"):
        rknn.targets({"rknn": {key: "strange"}})


def test_options_that_can_be_change_no_target_and_their_help_tells_them():
    assert rknn.targets({"rknn": {"platform": "rk3576", "cores": "0_1"}}) == rknn.TARGETS
    assert [chip for chip in toolchain.PLATFORMS if chip not in rknn.OPTIONS["rknn"]["platform"]] == []
    assert [name for name in rknn.CORES if name not in rknn.OPTIONS["rknn"]["cores"]] == []


def test_a_board_runs_the_built_file_on_the_cores_that_were_asked_for(board, built):
    told, artifact = board(), built("Conv FLOAT16 NPU")

    session = load(artifact, cores="0_1_2")
    answers = session.run({"image": PIXELS})
    session.close()

    assert told == [
        ("load_rknn", str(artifact.file(".rknn"))),
        ("init_runtime", {"core_mask": 7}),
        ("inference", ["float32"], ["nchw"]),
        ("release",),
    ]
    np.testing.assert_array_equal(answers["image_embedding"], ANSWER)
    assert session.placement().options == {"platform": "rk3588", "cores": "0_1_2"}


def test_a_connected_board_is_asked_for_by_its_id_which_is_not_recorded(board, built):
    told = board(packages=("rknn-toolkit2",))

    session = load(built("Conv FLOAT16 NPU"), device="0123456789ABCDEF")

    assert told[1] == ("init_runtime", {"target": "rk3588", "device_id": "0123456789ABCDEF"})
    assert session.placement().options == {"platform": "rk3588", "cores": "auto"}


def test_a_graph_is_fed_in_its_own_order_and_tokens_as_they_are(board, built):
    told = board()
    session = load(built("Conv FLOAT16 NPU", inputs=("image", "tokens")))

    session.run({"tokens": TOKENS, "image": PIXELS})

    assert told[-1] == ("inference", ["float32", "int64"], ["nchw", "nhwc"])


def test_a_runtime_that_does_not_start_is_unavailable_with_its_reason_and_released(board, built):
    told = board(init_runtime=-1)

    with pytest.raises(
        UnavailableError, match=r"does not start: E Exception: Can not find dynamic library on RK3588!$"
    ):
        load(built("Conv FLOAT16 NPU"))

    assert told[-1] == ("release",)


def test_a_file_that_the_runtime_cannot_read_is_unavailable_with_its_status(board, built):
    told = board(load_rknn=-1)

    with pytest.raises(UnavailableError, match="cannot read the built file: status -1"):
        load(built("Conv FLOAT16 NPU"))

    assert [name for name, *_ in told] == ["load_rknn"]


def test_no_answer_is_an_error(board, built):
    board(inference=None)
    session = load(built("Conv FLOAT16 NPU"))

    with pytest.raises(RuntimeError, match="no answer"):
        session.run({"image": PIXELS})


def test_layers_are_counted_by_unit_and_type(board, built):
    board()

    where = load(built("Conv INT8 NPU", "exNorm FLOAT16 NPU", "Reshape INT8 NPU")).placement()

    assert where.nodes == {"NPU": 3}
    assert where.dtypes == {"int8": 2, "float16": 1}
    assert where.fault(Precision.INT8_VENDOR) == ""


def test_a_layer_of_floats_on_the_processor_is_a_fault(board, built):
    board()

    where = load(built(*["Conv FLOAT16 NPU"] * 99, "Softmax FLOAT16 CPU")).placement()

    assert where.fault(Precision.FP16) == "asked for NPU, and the runtime placed 99 nodes on NPU, 1 nodes on CPU"


def test_a_graph_on_tokens_may_look_them_up_on_the_processor_and_no_more(board, built):
    board()
    few = ["ArgMax INT64 CPU", "Gather FLOAT16 CPU"]

    session = load(built(*["Conv FLOAT16 NPU"] * 18, *few))

    assert session.placement().fault(Precision.FP16) == ""
    session.layers = [*session.layers, toolchain.Layer(op="Softmax", dtype="FLOAT16", unit="CPU")]
    assert "where 12% may run elsewhere" in session.placement().fault(Precision.FP16)


def test_the_simulator_builds_the_graph_again_in_silence(board, built, monkeypatch, capfd):
    told, layers = board(packages=("rknn-toolkit2",)), [toolchain.Layer(op="Conv", dtype="FLOAT16", unit="NPU")]
    artifact, simulator = built(), Board([], {"noise": "W inference: noise"})
    monkeypatch.setattr(toolchain, "compiled", lambda *given: told.append(given) or (simulator, layers))

    session = load(artifact, rknn.EMULATED, platform="rk3576")
    answers = session.run({"image": PIXELS})

    assert told == [(artifact.path, "rk3576", Precision.FP16)]
    assert simulator.told[0] == ("init_runtime", {})
    np.testing.assert_array_equal(answers["image_embedding"], ANSWER)
    assert session.placement().nodes == {"NPU": 1}
    assert capfd.readouterr().out == ""
