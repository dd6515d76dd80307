"""OpenVINO: the execution precision is pinned, one stream for least latency, and one line where it refuses."""

from types import SimpleNamespace

import numpy as np
import openvino as library
import pytest

from clip_bench import graphs
from clip_bench.backends import Options, openvino
from clip_bench.backends.openvino import session
from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.specs import Device, Format, Precision, Tower
from clip_bench.store import Store

CAPABILITIES = library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
FLOATS = {"f32", "f16", "bf16"}


def load(shapes, precision, tower=Tower.IMAGE, **more):
    artifact = graphs.build(shapes.graph(tower), precision, Format.OPENVINO_IR)
    return openvino.load(artifact, openvino.CPU, Options(precision=precision, threads=1, **more))


class Without:
    """A core on a processor that has no bfloat16."""

    available_devices = ("CPU",)

    def get_property(self, *_):
        return ["FP32", "INT8"]


def test_float32_executes_in_float32_even_where_bfloat16_is_the_default(shapes):
    where = load(shapes, Precision.FP32).placement()

    assert set(where.nodes) == {"CPU"}
    assert FLOATS & set(where.dtypes) == {"f32"}
    assert where.note == ""


@pytest.mark.skipif("BF16" not in CAPABILITIES, reason="needs a processor with bfloat16")
def test_bfloat16_executes_in_bfloat16_where_the_processor_has_it(shapes):
    where = load(shapes, Precision.BF16).placement()

    assert where.dtypes["bf16"] > where.dtypes["f32"]


def test_bfloat16_is_unavailable_where_the_processor_has_none(shapes, monkeypatch):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.BF16, Format.OPENVINO_IR)
    monkeypatch.setattr(library, "Core", Without)

    with pytest.raises(UnavailableError, match="no bfloat16 for OpenVINO on this CPU"):
        openvino.load(artifact, openvino.CPU, Options(precision=Precision.BF16, threads=1))


def test_a_quantized_file_executes_its_products_in_eight_bits_and_the_rest_in_float32(shapes):
    where = load(shapes, Precision.INT8_NNCF).placement()

    assert where.dtypes["i8"] + where.dtypes["u8"] > 10
    assert FLOATS & set(where.dtypes) == {"f32"}
    assert where.note == "nodes that stay float execute in f32"


def test_only_nodes_that_execute_are_counted(shapes):
    loaded = load(shapes, Precision.FP32)
    kinds = [node.get_rt_info()["layerType"].astype(str) for node in loaded.compiled.get_runtime_model().get_ops()]

    where = loaded.placement()

    assert where.nodes["CPU"] == where.dtypes.total() == sum(kind not in session.IDLE for kind in kinds) < len(kinds)


def test_weights_in_half_the_bits_execute_in_float32_and_the_note_says_so(shapes):
    where = load(shapes, Precision.FP16).placement()

    assert FLOATS & set(where.dtypes) == {"f32"}
    assert where.note == "18 nodes take weights in half the bits, and execute in float32"


def test_weights_in_half_the_bits_give_what_the_same_numbers_in_float32_give(shapes):
    """Executed in float16 the answers differ in the third digit, as the last lines show where a processor can."""
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP16, Format.OPENVINO_IR)
    widened = library.Core().read_model(artifact.file(".xml"))
    for op in widened.get_ops():
        inside = op.input_value(0).get_node() if op.get_type_name() == "Convert" else None
        if (
            inside is not None
            and inside.get_type_name() == "Constant"
            and inside.get_element_type() == library.Type.f16
        ):
            op.output(0).replace(library.op.Constant(inside.get_data().astype(np.float32)).output(0))
    call = shapes.fed.calls(Tower.IMAGE)[0]
    pinned = {"INFERENCE_PRECISION_HINT": "f32"}

    ours = load(shapes, Precision.FP16).run(call)["image_embedding"]
    theirs = library.Core().compile_model(widened, "CPU", pinned)(call)["image_embedding"]

    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    if "FP16" in CAPABILITIES:
        half = library.Core().compile_model(widened, "CPU", {"INFERENCE_PRECISION_HINT": "f16"})(call)
        assert np.abs(half["image_embedding"] - theirs).max() > 1e-4


def test_what_a_device_was_given_is_kept_and_not_made_again(shapes, tmp_path, monkeypatch):
    """On a processor, in place of the devices that take long to compile for."""
    monkeypatch.setattr(openvino, "KEPT", {Device.CPU})
    store, call = Store(tmp_path), shapes.fed.calls(Tower.IMAGE)[0]
    plain = load(shapes, Precision.FP32, store=Store(tmp_path / "other"))

    first = load(shapes, Precision.FP32, store=store)
    with monkeypatch.context() as patched:
        patched.setattr(library.Core, "compile_model", lambda *_: pytest.fail("compiled again"))
        second = load(shapes, Precision.FP32, store=store)

    assert first.notes == second.notes
    assert second.notes[0].startswith("compiled in ")
    assert second.placement().nodes == plain.placement().nodes
    assert np.array_equal(second.run(call)["image_embedding"], plain.run(call)["image_embedding"])


def test_a_driver_is_told_with_its_version_where_the_plugin_knows_it():
    facts = {"SUPPORTED_PROPERTIES": ["NPU_DRIVER_VERSION"], "NPU_DRIVER_VERSION": 1778, "FULL_DEVICE_NAME": "AI Boost"}
    core = SimpleNamespace(available_devices=["NPU"], get_property=lambda _, key: facts[key])

    found = openvino._found(core, "NPU")

    assert found.device == f"AI Boost driver 1778, OpenVINO {library.__version__}"


def test_a_cell_runs_on_one_stream_with_the_threads_asked_for(shapes):
    compiled = load(shapes, Precision.FP32).request.get_compiled_model()

    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("PERFORMANCE_HINT") == "LATENCY"
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == library.Type.f32


def test_every_precision_of_every_target_has_an_execution_type():
    offered = {(target.device, precision) for target, several in openvino.TARGETS.items() for precision in several}

    assert offered == set(openvino.EXECUTED)


def test_an_absent_device_says_which_driver_it_needs(shapes, monkeypatch):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP16, Format.OPENVINO_IR)
    monkeypatch.setattr(library, "Core", Without)

    missing = {target: here.missing for target, here in openvino.devices({}).items()}

    assert missing[openvino.CPU] == ""
    for target in (openvino.GPU, openvino.NPU):
        assert missing[target] == openvino.DRIVERS[target.device]
        with pytest.raises(UnavailableError, match="for OpenVINO: needs an Intel"):
            openvino.load(artifact, target, Options(precision=Precision.FP16, threads=1))


def test_a_numbered_device_counts_as_its_kind(monkeypatch):
    names = ["CPU", "GPU.0", "GPU.1"]
    told = {"get_property": lambda name, key: [] if key == "SUPPORTED_PROPERTIES" else f"a {name}"}
    monkeypatch.setattr(library, "Core", lambda: SimpleNamespace(available_devices=names, **told))

    here = openvino.devices({})

    assert here[openvino.GPU].device.startswith("a GPU, OpenVINO ")
    assert [here[target].missing == "" for target in (openvino.CPU, openvino.GPU, openvino.NPU)] == [True, True, False]


def test_a_refused_graph_is_one_line_with_the_reason_and_not_the_place_in_the_source(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("<net/>")

    with pytest.raises(UnsupportedError, match=r"^OpenVINO \S+ refuses the graph on openvino-cpu: \w") as caught:
        openvino.load(SimpleNamespace(file=lambda _: path), openvino.CPU, Options(precision=Precision.FP32, threads=1))

    assert "\n" not in str(caught.value)
    assert "Exception from" not in str(caught.value)
