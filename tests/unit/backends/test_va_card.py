"""VastStreamX's calls are those of the vendor's samples, and answer as the reference; no device is part of it.

The module is a stand-in that refuses every other call and computes with ONNX Runtime: tests/unit/standins.
"""

import gc
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from clip_bench.backends import Options, vastai
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs import onnx_file, vacc
from clip_bench.quality import gates
from clip_bench.quality.noise import Noise
from clip_bench.specs import Precision, Tower

HERE = Path(__file__).parents[1] / "standins"
DIE = 2  # of the second card, so that nothing passes by being 0
TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
GATE = ""  # the runtime takes it, and the gate does not take the answers; otherwise the rule that the call breaks
EMBEDDED = "graph.add_operators(*before, operator)"
SIX = "[ids, nothing, nothing, mask, nothing, nothing]"
MUTANTS = {
    "blue_first": (vastai, "send(picture.", "send(picture[::-1].", GATE),
    "transposed": (vastai, "send(picture.", "send(picture.swapaxes(1, 2).", GATE),
    "rows_reversed": (vastai, "for row in tokens]", "for row in tokens[::-1]]", GATE),
    "wide_pixels": (vastai, "send(picture.astype(np.float16))", "send(picture)", "the operator takes float16"),
    "half_a_patch": (
        vastai,
        'self.about["patch"], aligned',
        'self.about["patch"] // 2, aligned',
        "a matrix is aligned to 16",
    ),
    "columns_unpadded": (vacc, "CHANNELS = 4", "CHANNELS = 3", "a matrix of 64 × 256"),
    "vectors_unpadded": (
        vacc,
        "_aligned(graph.source.spec.context)}",
        "graph.source.spec.context}",
        "six vectors of 32",
    ),
    "wide_ids": (vastai, "np.zeros(length, np.int32)", "np.zeros(length, np.int64)", "there is no tensor of int64"),
    "mask_one_less": (vastai, "<= tokens.argmax()", "< tokens.argmax()", "the mask is 1 up to the end token"),
    "mask_one_more": (vastai, "<= tokens.argmax()", "<= tokens.argmax() + 1", "the mask is 1 up to the end token"),
    "mask_misplaced": (vastai, SIX, "[ids, nothing, mask, nothing, nothing, nothing]", "the other vectors are zeros"),
    "five_vectors": (vastai, SIX, "[ids, nothing, nothing, mask, nothing]", "six vectors of 32"),
    "thread_without_die": (
        vastai,
        "        self.die.enter()\n        names",
        "        names",
        "a thread calls set_device",
    ),
    "other_die": (
        vastai,
        "ascontiguousarray(array), self.number",
        "ascontiguousarray(array), 0",
        "a thread sends to the die that it set",
    ),
    "never_built": (vastai, "    stream.build()\n", "", "a stream is built before it runs"),
    "never_registered": (
        vastai,
        "    stream.register_operator_output(operator)\n",
        "",
        "after its output is registered",
    ),
    "ids_never_embedded": (vastai, EMBEDDED, "graph.add_operators(operator)", "are embedded before the model"),
    "embedded_after_model": (vastai, EMBEDDED, "graph.add_operators(operator, *before)", "the model comes last"),
}


@pytest.fixture(autouse=True)
def standin(monkeypatch):
    """The stand-in, fresh, where ``import vaststreamx`` finds it."""
    monkeypatch.syspath_prepend(str(HERE))
    importlib.invalidate_caches()
    yield importlib.import_module("vaststreamx")
    monkeypatch.undo()
    sys.modules.pop("vaststreamx", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Somebody with a card: a folder of models, and an operator's file."""

    shapes: object
    settings: dict

    def graph(self, tower):
        graph = self.shapes.graph(tower)
        return type(graph)(
            source=graph.source,
            tower=graph.tower,
            store=graph.store,
            calibration=graph.calibration,
            settings=self.settings,
        )

    def session(self, tower, *, adapter=vastai, maker=vacc, **settings):
        artifact = maker.build(self.graph(tower), Precision.FP16)
        told = {name: text for name, text in (self.settings | settings).items() if text}
        options = Options(precision=Precision.FP16, threads=1, store=self.shapes.store, settings=told)
        return adapter.load(artifact, vastai.NPU, options)

    def failures(self, session, tower):
        """What the gate says of what *session* answers to a thread that did not load it."""
        with ThreadPoolExecutor(1) as others:
            outputs = others.submit(self.shapes.answers, session, tower).result()
        expected = self.shapes.reference.outputs(self.shapes.fed, tower)
        assert all(rows.dtype == np.float32 for rows in outputs.values())
        still = dict.fromkeys(expected, Noise(**dict.fromkeys(("again", "batch", "threads"), np.zeros(9))))
        return gates.assess(Precision.FP16, outputs, expected, still).failures


@pytest.fixture
def owner(shapes, standin, tmp_path):
    """shapes_tiny, made for the stand-in as the messages tell a user to."""
    for tower, about in {
        Tower.IMAGE: {"kind": "matrix", "size": 64, "patch": 8},
        Tower.TEXT: {"kind": "tokens", "context": 24},
    }.items():
        graph = onnx_file.build(shapes.graph(tower), Precision.FP32).file(".onnx")
        standin.compiled(graph, str(tmp_path / "models" / f"shapes_tiny-{tower}-fp16" / "mod"), **about)
    (tmp_path / "space_to_depth").touch()
    settings = {"models": str(tmp_path / "models"), "space_to_depth": str(tmp_path / "space_to_depth"), "device": "2"}
    return Owner(shapes=shapes, settings=settings)


def mutated(module, old, new):
    """*module* with one piece of its source replaced."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1, old
    mutant = ModuleType(f"{module.__name__}_mutant")
    sys.modules[mutant.__name__] = mutant
    try:
        exec(compile(source.replace(old, new), module.__file__, "exec"), mutant.__dict__)  # noqa: S102  our own source
    finally:
        del sys.modules[mutant.__name__]
    return mutant


@pytest.mark.parametrize("tower", TOWERS)
def test_each_tower_answers_as_the_reference_does_in_a_thread_of_its_own(owner, tower):
    assert owner.failures(owner.session(tower), tower) == ()


@pytest.mark.parametrize("name", MUTANTS)
def test_an_adapter_with_one_mistake_is_found_out(owner, standin, name):
    module, old, new, rule = MUTANTS[name]
    place = "adapter" if module is vastai else "maker"

    def attempt():
        return owner.failures(owner.session(Tower.PAIR, **{place: mutated(module, old, new)}), Tower.PAIR)

    if rule == GATE:
        assert attempt() != ()
    else:
        with pytest.raises(standin.MisuseError, match=rule):
            attempt()


@pytest.mark.parametrize(
    ("size", "patch", "rows", "columns"),
    [(224, 32, 64, 4096), (224, 16, 208, 1024), (224, 14, 256, 784), (378, 14, 736, 784)],
    ids=["clip", "vit", "dinov2", "siglip"],
)
def test_the_matrix_of_patches_is_that_of_the_vendors_samples(size, patch, rows, columns):
    """VastStreamX-Samples: common/{clip_image,vit_model,dinov2_model,siglip_image}."""
    assert vacc.matrix(size, patch) == (rows, columns)


def test_a_row_of_ids_becomes_the_six_vectors_of_the_sample():
    row = np.array([49406, 320, 1929, 49407] + [0] * 73)

    six = vastai.vectors(row, 80)

    assert [(vector.dtype, vector.shape) for vector in six] == [(np.dtype(np.int32), (80,))] * 6
    assert six[0].tolist() == [*row, 0, 0, 0]
    assert six[3].tolist() == [1] * 4 + [0] * 76
    assert not any(six[place].any() for place in (1, 2, 4, 5))


def test_padding_that_is_no_zero_is_left_as_it_is_and_is_not_in_the_mask():
    six = vastai.vectors(np.array([1, 7, 9, 1, 1]), 16)

    assert six[0].tolist() == [1, 7, 9, 1, 1] + [0] * 11
    assert six[3].tolist() == [1, 1, 1] + [0] * 13


def test_a_machine_without_the_module_says_what_to_get(monkeypatch):
    monkeypatch.setattr(vastai, "find_spec", lambda _: None)

    assert vastai.devices({})[vastai.NPU].missing == vastai.PACKAGE


def test_a_module_that_does_not_load_says_what_to_get(monkeypatch, tmp_path):
    (tmp_path / "vaststreamx.py").write_text("raise ImportError('libvaststream.so')")
    monkeypatch.delitem(sys.modules, "vaststreamx")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert vastai.devices({})[vastai.NPU].missing == vastai.BROKEN


def test_a_machine_without_a_card_says_what_to_get(owner, standin, monkeypatch):
    monkeypatch.setattr(standin, "CARDS", [])

    with pytest.raises(UnavailableError, match="no VACC card"):
        owner.session(Tower.IMAGE)


def test_a_card_is_told_by_its_type_and_not_by_its_serial_number(owner):
    session = owner.session(Tower.IMAGE)

    found, where = vastai.devices({"vastai": owner.settings})[vastai.NPU], session.placement()

    assert (found.missing, found.device.partition(", vaststreamx")[0]) == ("", "stand-in, die 2")
    assert where.note.startswith("stand-in, die 2, ")
    assert where.options["device"] == "2"
    assert "SERIAL" not in f"{found}{where}"


def test_the_fused_tower_says_that_it_is_two_streams_and_that_the_host_computes_its_logits(owner):
    assert "two streams" in owner.session(Tower.PAIR).placement().note
    assert "two streams" not in owner.session(Tower.TEXT).placement().note


def test_a_die_that_is_gone_is_no_place_to_run(owner, standin, monkeypatch):
    session = owner.session(Tower.IMAGE)
    monkeypatch.setattr(standin, "CARDS", standin.CARDS[:1])

    for call in (session.placement, session.die.told, lambda: session.run(owner.shapes.fed.calls(Tower.IMAGE)[0])):
        with pytest.raises(PlacementError, match="die 2, where the cell is to run"):
            call()


def test_the_models_leave_the_die_when_the_session_is_closed(owner, standin):
    session = owner.session(Tower.PAIR)
    held = standin.Die(DIE).memory["used"]

    session.close()
    gc.collect()

    assert held > 0
    assert (standin.Die(DIE).memory["used"], len(standin.LIVE)) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        pytest.param({"device": "9"}, UnavailableError, "no die 9: give one of 0, 1, 2, 3", id="no_such_die"),
        pytest.param({"device": "first"}, UnavailableError, "no die first", id="no_number"),
        pytest.param({"hw_config": "none.json"}, UsageError, "no file none.json for", id="no_such_file"),
        pytest.param({"space_to_depth": ""}, UnavailableError, "--option vastai.space_to_depth=FILE", id="no_operator"),
    ],
)
def test_an_option_that_cannot_be_used_says_what_would_be(owner, settings, error, told):
    with pytest.raises(error, match=told):
        owner.session(Tower.IMAGE, **settings)


def test_a_model_that_is_not_there_is_named_with_the_file_to_make_it_from(owner, tmp_path):
    parent = onnx_file.build(owner.graph(Tower.IMAGE), Precision.FP32)
    (tmp_path / "models/shapes_tiny-image-fp16/mod.so").unlink()

    with pytest.raises(
        UnavailableError, match=f"{parent.key}/model.onnx of .* to shapes_tiny-image-fp16/mod .3 files."
    ):
        vacc.build(owner.graph(Tower.IMAGE), Precision.FP16)


def test_another_model_of_the_users_is_another_artifact(owner, tmp_path):
    one = vacc.build(owner.graph(Tower.TEXT), Precision.FP16)
    (tmp_path / "models/shapes_tiny-text-fp16/mod.so").write_bytes(b"another")

    other = vacc.build(owner.graph(Tower.TEXT), Precision.FP16)

    assert one.key != other.key
    assert one.sha256 != other.sha256
    assert {path.name for path in one.path.glob("text.*")} == {"text.json", "text.params", "text.so"}


def test_only_what_the_vendor_publishes_for_clip_is_offered(owner):
    """VastModelZOO, vlm/clip: fp16 alone."""
    with pytest.raises(UnsupportedError, match="no recipe makes int8_qdq in the vacc format"):
        vacc.build(owner.graph(Tower.IMAGE), Precision.INT8_QDQ)

    assert set(vastai.TARGETS[vastai.NPU]) == {Precision.FP16}


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (3, 3)], ids=["overlapping", "even", "elsewhere"])
def test_a_tower_that_does_not_begin_with_patches_is_refused(kernel, stride):
    name = "pixels" if kernel != stride else "features"
    node = onnx.helper.make_node("Conv", [name, "w"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2)
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3, 9, 9])

    with pytest.raises(UnsupportedError, match="does not begin with a patch embedding"):
        vacc._patch(onnx.helper.make_graph([node], "tower", [pixels], []))


def test_a_tower_without_an_end_token_is_refused(shapes, owner):
    """A vision tower's file serves: nothing in it looks for the largest id."""
    parent = onnx_file.build(shapes.graph(Tower.IMAGE), Precision.FP32)

    with pytest.raises(UnsupportedError, match="end token"):
        vacc._described(owner.graph(Tower.TEXT), parent)
