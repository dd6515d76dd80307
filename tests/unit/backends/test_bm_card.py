"""SOPHON's bmodels, with stand-ins for its library and for its compiler: what is asked of them, and the host's part.

The stand-ins say nothing of a card. They hold the calls to the documentation and the answers to the FP32 reference.
"""

import importlib.util
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from open_clip import CustomTextCLIP
from open_clip.transformer import text_global_pool

from clip_bench import graphs
from clip_bench.backends import Options, sophon
from clip_bench.backends.sophon import card, cmodel, host
from clip_bench.errors import UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs import bmodel, tpu_mlir, unpooled
from clip_bench.quality import gates
from clip_bench.quality.noise import Noise
from clip_bench.specs import Format, Precision, Tower

STANDINS = Path(__file__).parent.parent / "standins"
QUIET = Noise(again=np.zeros(9), batch=np.full(9, 1e-13), threads=np.full(9, 1e-14))
BATCH = "8"
TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for an interpreter is a shell script")


@pytest.fixture(scope="module")
def standin():
    spec = importlib.util.spec_from_file_location("bm_card_sail", STANDINS / "sail.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sail(standin, monkeypatch):
    return standin.installed(monkeypatch)


@pytest.fixture(scope="module")
def bmodels(shapes, tmp_path_factory):
    """A user's folder: what stands for bmodels of 1 and 8 pictures and of 4 texts, with the texts' compiled graph."""
    folder = tmp_path_factory.mktemp("bmodels")
    for tower, batch in ((Tower.IMAGE, "1"), (Tower.IMAGE, BATCH), (Tower.TEXT, "1")):
        graph = replace(shapes.graph(tower), settings={"batch": batch})
        file = folder / bmodel.names(graph)[0]
        file.write_bytes(bmodel.exported(graph).file(".onnx").read_bytes())
    return folder


@pytest.fixture(scope="module")
def interpreters(tmp_path_factory):
    """Stand-ins for interpreters that the user names, by kind."""
    folder = tmp_path_factory.mktemp("interpreters")
    for kind in ("whole", "--old", "--failing", "--dying"):
        path = folder / kind.strip("-")
        words = [sys.executable, str(STANDINS / "tpu_mlir_python.py"), *([kind] if kind.startswith("-") else [])]
        path.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n', encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def build(shapes, tower, **settings):
    return graphs.build(replace(shapes.graph(tower), settings=settings), Precision.FP16, Format.BMODEL)


def load(shapes, tower, target=sophon.NPU, **settings):
    options = Options(precision=Precision.FP16, threads=1, settings=settings)
    return sophon.load(build(shapes, tower, **settings), target, options)


def asked(shapes, session, tower):
    """Answers to every sample, in calls of as many sizes as there may be: one, fewer than a batch, and more."""
    rows, cuts = {"image": shapes.fed.image, "tokens": shapes.fed.tokens}, [0, 1, 4, 13]
    if tower is Tower.PAIR:
        return shapes.answers(session, tower)
    name = "image" if tower is Tower.IMAGE else "tokens"
    answers = [session.run({name: part}) for part in np.split(rows[name], cuts[1:])]
    return {output: np.concatenate([answer[output] for answer in answers]) for output in answers[0]}


def failures(shapes, session, tower):
    """What the suite's own gate says of every answer."""
    expected = shapes.reference.outputs(shapes.fed, tower)
    noise = dict.fromkeys(expected, QUIET)
    return gates.assess(Precision.FP16, asked(shapes, session, tower), expected, noise).failures


@pytest.mark.usefixtures("sail")
@pytest.mark.parametrize("tower", TOWERS)
def test_a_cards_answers_pass_the_gate(shapes, bmodels, tower):
    session = load(shapes, tower, bmodels=str(bmodels), batch=BATCH)

    assert failures(shapes, session, tower) == ()


@pytest.mark.usefixtures("sail")
def test_pictures_one_at_a_time_pass_the_gate(shapes, bmodels):
    session = load(shapes, Tower.IMAGE, bmodels=str(bmodels))

    assert failures(shapes, session, Tower.IMAGE) == ()
    assert session.placement().options == {"image_batch": "1"}


def untouched(self, rows):
    return self._engine.process(self._graph, {self._input: rows})[self._output]


MUTANTS = {
    "unpadded": (Tower.IMAGE, host, "padded", lambda rows, _: rows.astype(np.float32)),
    "with_its_filling": (Tower.IMAGE, host, "trimmed", lambda answers, _: answers),
    "last row": (Tower.TEXT, host.Head, "pick", lambda _, rows, __: rows[:, -1]),
    "first row": (Tower.TEXT, host.Head, "pick", lambda _, rows, __: rows[:, 0]),
    "lowest id": (Tower.TEXT, host.Head, "pick", lambda _, rows, ids: rows[np.arange(len(ids)), ids.argmin(axis=-1)]),
    "unprojected": (Tower.TEXT, host.Head, "project", lambda _, picked: picked),
    "turned projection": (Tower.TEXT, host.Head, "project", lambda self, picked: picked @ self.matrix.T),
    "integers": (Tower.TEXT, host, "padded", lambda rows, batch: np.resize(rows, (batch, *rows.shape[1:]))),
    "absent device": (Tower.IMAGE, card, "number", lambda _: 1),
    "kept buffer": (Tower.IMAGE, card.Card, "call", untouched),
    "reversed batch": (Tower.IMAGE, host, "padded", lambda rows, batch: turned(rows, batch)[::-1].copy()),
    "blue first": (Tower.IMAGE, host, "padded", lambda rows, batch: turned(rows[:, ::-1], batch)),
    "channels last": (Tower.IMAGE, host, "padded", lambda rows, batch: turned(np.moveaxis(rows, 1, -1), batch)),
    "swapped captions": (
        Tower.PAIR,
        host.Head,
        "embed",
        lambda self, rows, ids: self.project(self.pick(rows[::-1], ids)),
    ),
}
turned = host.padded


@pytest.mark.usefixtures("sail")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_caught_by_the_stand_in_or_by_the_gate(shapes, bmodels, monkeypatch, mutant):
    """Of the first ten, stated before the backend was written, and of four more; each is the backend but for a line."""
    tower, owner, name, wrong = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, wrong)
    monkeypatch.setattr(card, "found", lambda _: sophon.Found())

    try:
        session = load(shapes, tower, bmodels=str(bmodels), batch=BATCH)
        caught = failures(shapes, session, tower)
    except (RuntimeError, TypeError, UnsupportedError) as exc:
        caught = (str(exc),)

    assert caught, f"{mutant}: nobody noticed"


def test_what_lies_in_the_projection_file_is_open_clips_own(shapes):
    matrix, shift = unpooled.projection(shapes.source.model())

    assert np.array_equal(matrix, shapes.source.model().text_projection.detach().numpy())
    assert not shift.any()


def test_a_tower_of_another_shape_is_cut_at_the_same_place():
    """As SigLIP's: a class of its own, the last row, a layer with a bias, attention both ways."""
    vision = {"image_size": 8, "patch_size": 4, "layers": 1, "width": 8, "head_width": 8}
    words = {"context_length": 5, "vocab_size": 30, "layers": 1, "width": 8, "heads": 2, "no_causal_mask": True}
    model = CustomTextCLIP(6, vision, {**words, "pool_type": "last", "proj_bias": True}).eval()
    ids = torch.randint(1, 30, (3, 5), generator=torch.Generator().manual_seed(0))
    matrix, shift = unpooled.projection(model)
    head = host.Head(matrix=matrix, shift=shift, **unpooled.pooling(model), scale=None, bias=0.0)

    with torch.no_grad():
        rows, expected = unpooled.module(model)(ids), model.encode_text(ids)

    assert rows.shape == (3, 5, 8)
    assert np.allclose(head.embed(rows.numpy(), ids.numpy()), expected.numpy(), atol=1e-6)


def test_a_tower_that_ends_otherwise_has_no_bmodel():
    with pytest.raises(UnsupportedError, match="does not end in a row of tokens"):
        unpooled.pooling(SimpleNamespace(text=SimpleNamespace(pool_type="mean")))


@pytest.mark.parametrize("pool", unpooled.POOLS)
def test_the_hosts_row_is_open_clips_row(pool):
    draw = np.random.default_rng(0)
    rows, ids = draw.normal(size=(5, 7, 3)).astype(np.float32), draw.permuted(np.tile(np.arange(7), (5, 1)), axis=1)
    eye, none = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    head = host.Head(matrix=eye, shift=none, pool=pool, eos=4, scale=None, bias=0.0)

    expected = text_global_pool(torch.from_numpy(rows), torch.from_numpy(ids), pool, eos_token_id=4)

    assert np.array_equal(head.pick(rows, ids), expected.numpy())


def test_the_work_is_where_the_engine_says_it_is(shapes, sail, bmodels, monkeypatch):
    session = load(shapes, Tower.TEXT, bmodels=str(bmodels))

    here = session.placement()
    monkeypatch.setattr(sail.Engine, "get_device_id", lambda _: 1)
    there = session.placement()

    assert (here.nodes, here.asked, here.fault(Precision.FP16)) == ({"BM1684X 0": 1}, "BM1684X 0", "")
    assert here.options == {"text_batch": "4"}
    for told in ("tells nothing of its layers", "pooling and projection are the host's", "text: padded to 4 rows"):
        assert told in here.note
    assert "1 nodes on BM1684X 1" in there.fault(Precision.FP16)


@pytest.mark.usefixtures("sail")
@pytest.mark.parametrize(("chip", "fault"), [("TPU_STATIC", ""), ("CPU", "on host (CPU)")], ids=["chip", "layers left"])
def test_layers_that_the_compiler_leaves_to_the_host_are_a_fault(shapes, bmodels, tmp_path, chip, fault):
    graph = shapes.graph(Tower.IMAGE)
    name, told = bmodel.names(graph)
    (tmp_path / name).write_bytes((bmodels / name).read_bytes())
    compiled = f'func.func @subfunc_0(%a) attributes {{mode = #tpu<run_mode {chip}>}} {{\n%1 = "tpu.MatMul"(%a) -> tensor<1x8xf16>'
    (tmp_path / told).write_text(compiled, encoding="utf-8")

    where = load(shapes, Tower.IMAGE, bmodels=str(tmp_path)).placement()

    assert where.dtypes == {"f16": 1}
    assert where.fault(Precision.FP16).endswith(fault)
    assert bool(where.fault(Precision.FP16)) == bool(fault)


@pytest.mark.usefixtures("sail")
def test_a_bmodel_of_two_answers_is_none_of_a_tower(tmp_path):
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xyz"]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in "yz"]
    graph = helper.make_graph(nodes, "two", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.bmodel")

    with pytest.raises(UnsupportedError, match=r"two\.bmodel takes x and gives y, z"):
        card.Card(tmp_path / "two.bmodel", device=0)


def test_a_bmodel_that_the_card_does_not_take_is_told_without_its_folder(shapes, sail, bmodels, monkeypatch):
    opened = sail.Engine

    def taking(file, *given):
        if Path(file).name.startswith("text"):
            message = f"cannot load the bmodel {file}"
            raise RuntimeError(message)
        return opened(file, *given)

    monkeypatch.setattr(sail, "Engine", taking)

    with pytest.raises(
        UnsupportedError, match=r"SAIL refuses the bmodel on card 0: cannot load the bmodel text\.bmodel"
    ):
        load(shapes, Tower.PAIR, bmodels=str(bmodels))
    assert not list(sail.engines)  # the other tower's is let go


def test_a_closed_session_holds_no_engine(shapes, sail, bmodels):
    session = load(shapes, Tower.PAIR, bmodels=str(bmodels))
    before = len(list(sail.engines))

    session.close()

    assert (before, len(list(sail.engines))) == (2, 0)


def test_a_machine_without_the_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sophon", None)

    found = sophon.devices({})

    assert "install SOPHON's SAIL" in found[sophon.NPU].missing
    assert "--option sophon.tpu_mlir_python=PYTHON" in found[sophon.EMULATED].missing


def test_a_library_that_does_not_load_says_why(monkeypatch):
    broken = ModuleType("sophon")
    broken.__path__ = []
    monkeypatch.setitem(sys.modules, "sophon", broken)
    monkeypatch.setattr(card, "import_module", lambda _: (_ for _ in ()).throw(ImportError("libbmrt.so.1: no file")))

    assert "libbmrt.so.1: no file" in sophon.devices({})[sophon.NPU].missing


@pytest.mark.parametrize(
    ("cards", "device", "told"),
    [
        pytest.param(0, "0", "SAIL counts none", id="no card"),
        pytest.param(2, "2", "no SOPHON card 2: SAIL counts 2", id="card too high"),
        pytest.param(2, "1", "", id="second card"),
    ],
)
def test_the_card_that_the_user_names_is_found_or_missed(standin, monkeypatch, cards, device, told):
    standin.installed(monkeypatch, cards=cards)

    found = sophon.devices({"sophon": {"device": device}})[sophon.NPU]

    assert told in found.missing
    assert found.device.startswith("SOPHON BM1684X, SAIL") == (not told)


def test_another_chip_is_no_place_for_these_bmodels(sail, monkeypatch):
    monkeypatch.setattr(sail, "CHIP", "BM1688")

    assert "card 0 is a BM1688" in sophon.devices({})[sophon.NPU].missing


@pytest.mark.usefixtures("sail")
def test_a_card_is_named_by_a_number():
    with pytest.raises(UsageError, match=r"sophon\.device=first"):
        sophon.devices({"sophon": {"device": "first"}})


@posix
@pytest.mark.parametrize("tower", TOWERS)
def test_what_is_built_answers_from_a_process_of_its_own(shapes, interpreters, tower):
    session = load(shapes, tower, sophon.EMULATED, tpu_mlir_python=str(interpreters / "whole"))

    try:
        where = session.placement()
        assert failures(shapes, session, tower) == ()
    finally:
        session.close()
    towers = 2 if tower is Tower.PAIR else 1
    assert (where.nodes, where.asked) == ({"libcmodel_bm1684x.so": 2 * towers}, "libcmodel_bm1684x.so")
    assert where.dtypes == {"f16": towers, "f32": towers}


@posix
def test_a_process_that_ends_tells_its_last_words(shapes, interpreters):
    session = load(shapes, Tower.IMAGE, sophon.EMULATED, tpu_mlir_python=str(interpreters / "dying"))

    try:
        with pytest.raises(RuntimeError, match="an instruction that it does not know"):
            session.run({"image": shapes.fed.image[:1]})
    finally:
        session.close()


@posix
def test_a_bmodel_that_the_chips_model_does_not_take_is_told_in_its_last_words(interpreters, tmp_path):
    (tmp_path / "odd.bmodel").write_bytes(b"no model")

    with pytest.raises(UnsupportedError, match=r"TPU-MLIR refuses the bmodel: .* has ended: .*INVALID_PROTOBUF"):
        cmodel.Cmodel(tmp_path / "odd.bmodel", str(interpreters / "whole"), threads=1)


@posix
@pytest.mark.usefixtures("sail")
def test_what_is_built_offline_is_found_by_its_name(shapes, interpreters, tmp_path):
    settings = {"tpu_mlir_python": str(interpreters / "whole")}
    wanted = [
        replace(shapes.graph(tower), settings={**settings, "batch": batch})
        for tower, batch in ((Tower.IMAGE, "1"), (Tower.IMAGE, BATCH), (Tower.TEXT, "1"))
    ]

    written = bmodel.compile_offline(wanted, tmp_path / "new")
    session = load(shapes, Tower.TEXT, bmodels=str(tmp_path / "new"))

    assert [path.name for path in written] == [
        "shapes_tiny_image_bm1684x_f16_1b.bmodel",
        "shapes_tiny_image_bm1684x_f16_1b.mlir",
        "shapes_tiny_image_bm1684x_f16_8b.bmodel",
        "shapes_tiny_image_bm1684x_f16_8b.mlir",
        "shapes_tiny_text_bm1684x_f16_4b.bmodel",
        "shapes_tiny_text_bm1684x_f16_4b.mlir",
        "shapes_tiny_text_projection.npz",
    ]
    assert all(path.exists() for path in written)
    assert failures(shapes, session, Tower.TEXT) == ()
    with pytest.raises(UnsupportedError, match="compile the image and the text tower"):
        bmodel.compile_offline([shapes.graph(Tower.PAIR)], tmp_path)


@posix
def test_a_compiler_that_refuses_is_told_in_its_own_last_words(shapes, interpreters):
    with pytest.raises(UnsupportedError, match=r"1\.30\.1's model_transform\.py refuses .*LpNormalization"):
        build(shapes, Tower.IMAGE, tpu_mlir_python=str(interpreters / "failing"))


@posix
def test_an_interpreter_without_the_compiler_is_told_what_to_install(interpreters):
    with pytest.raises(UnavailableError, match=r"lacks tpu_mlir: name a Python 3\.10 with TPU-MLIR \(.*pip install"):
        tpu_mlir.version(str(interpreters / "old"))


def test_this_very_interpreter_is_asked_as_any_other():
    with pytest.raises(UnavailableError, match=r"lacks .*tpu_mlir"):
        tpu_mlir.version(sys.executable)


def test_a_file_that_is_no_interpreter_is_told_by_its_name(tmp_path):
    with pytest.raises(UnavailableError, match=r"names python3\.10, which does not answer as a Python"):
        tpu_mlir.version(str(tmp_path / "python3.10"))


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        pytest.param({}, UnavailableError, "sophon.tpu_mlir_python=PYTHON", id="nothing named"),
        pytest.param(
            {"bmodels": "."}, UnavailableError, "no shapes_tiny_image_bm1684x_f16_1b.bmodel", id="bare folder"
        ),
        pytest.param({"bmodels": ".", "batch": "7"}, UsageError, "take 1, 8, 16, 32 pictures", id="odd batch"),
    ],
)
def test_what_cannot_be_built_says_what_to_name(shapes, settings, error, told):
    with pytest.raises(error, match=told):
        build(shapes, Tower.IMAGE, **settings)


def test_other_precisions_have_no_recipe(shapes):
    with pytest.raises(UnsupportedError, match="no recipe makes fp32"):
        graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.BMODEL)
