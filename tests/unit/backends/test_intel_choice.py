"""OpenVINO chooses a device only where the user names a choice, and what served each call is told."""

from types import SimpleNamespace

import numpy as np
import openvino as library
import pytest

from clip_bench import graphs, memory, pipeline
from clip_bench.backends import Options, openvino, setting_of
from clip_bench.backends.openvino.session import OpenVinoSession
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.record import Record
from clip_bench.specs import Case, Device, Format, Precision, Target, Tower

FIRST = Target(backend="openvino", provider="auto", device=Device.CPU)
DIVIDED = Target(backend="openvino", provider="hetero", device=Device.CPU)
NUMBERED = [f"case_{number}" for number in range(7)]
CHOICES = [pytest.param(FIRST, "AUTO:CPU", id="first_that_can"), pytest.param(DIVIDED, "HETERO:CPU", id="divided")]


def load(shapes, target, choice="", precision=Precision.FP32):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), precision, Format.OPENVINO_IR)
    settings = setting_of(target, {"openvino": {"device": choice}})
    return openvino.load(artifact, target, Options(precision=precision, threads=1, settings=settings))


def told(devices, *, choice="", planned=None, asked="NPU", nodes=0):
    """A session whose runtime names the next of *devices* each time it is asked, and a runtime model of *nodes*."""
    info = {name: SimpleNamespace(astype=lambda _, word=word: word) for name, word in NODE.items()}
    model = SimpleNamespace(get_ops=lambda: [SimpleNamespace(get_rt_info=lambda: info)] * nodes)
    after = iter(devices)
    compiled = SimpleNamespace(get_property=lambda _: next(after), get_runtime_model=lambda: model)
    return OpenVinoSession(
        compiled=compiled, request=None, asked=asked, notes=(), told={}, choice=choice, planned=planned or {}
    )


NODE = {"layerType": "FullyConnected", "runtimePrecision": "f16", "primitiveType": "gemm__f16"}


def test_no_choice_is_offered_unless_it_is_named():
    assert openvino.targets({}) == openvino.TARGETS
    assert {target.provider for target in openvino.TARGETS} == {""}


def test_a_named_choice_is_a_target_of_its_first_device_with_what_all_of_them_can():
    offered = openvino.targets({"openvino": {"device": "AUTO:NPU,CPU"}})

    (added,) = set(offered) - set(openvino.TARGETS)
    assert str(added) == "openvino-auto-npu"
    assert offered[added] == {Precision.FP16, Precision.INT8_NNCF}


@pytest.mark.parametrize(
    "text", ["AUTO", "AUTO:", "MULTI:GPU,CPU", "BATCH:CPU", "GPU", "auto:cpu", "AUTO:TPU"], ids=NUMBERED
)
def test_a_choice_among_no_named_devices_is_refused(text):
    with pytest.raises(UsageError, match="AUTO: or HETERO: and devices among CPU, GPU, NPU"):
        openvino.targets({"openvino": {"device": text}})


def test_spreading_calls_over_devices_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="no time would be that of one"):
        openvino.targets({"openvino": {"device": "MULTI:GPU,CPU"}})


@pytest.mark.parametrize(("target", "choice"), CHOICES)
def test_a_choice_of_one_answers_what_the_plain_device_answers(shapes, target, choice):
    call = shapes.fed.calls(Tower.IMAGE)[0]
    plain, chosen = load(shapes, openvino.CPU), load(shapes, target, choice)

    where = chosen.placement()

    assert np.array_equal(chosen.run(call)["image_embedding"], plain.run(call)["image_embedding"])
    assert where.dtypes == plain.placement().dtypes
    assert set(where.nodes) == {"CPU"}
    assert (where.asked, where.share) == ("CPU", 1.0)
    assert where.note == f"{choice} was served by CPU"
    assert where.options["device"] == choice
    assert where.options["CPU.INFERENCE_PRECISION_HINT"] == "f32"


def test_a_choice_needs_every_device_that_it_names(shapes, monkeypatch):
    core = SimpleNamespace(available_devices=["CPU"], get_property=lambda *_: [])
    monkeypatch.setattr(library, "Core", lambda: core)
    target = Target(backend="openvino", provider="auto", device=Device.NPU)

    assert openvino.devices({"openvino": {"device": "AUTO:NPU,CPU"}})[target].missing == openvino.DRIVERS[Device.NPU]
    with pytest.raises(UnavailableError, match="no NPU for OpenVINO"):
        load(shapes, target, "AUTO:NPU,CPU", Precision.FP16)


def test_a_refused_choice_is_one_line_too(shapes, monkeypatch):
    def refuse(*_):
        msg = "Exception from auto.cpp:1:\nno device can compile it"
        raise RuntimeError(msg)

    monkeypatch.setattr(library.Core, "compile_model", refuse)

    with pytest.raises(UnsupportedError, match=r"refuses the graph on openvino-auto-cpu: no device can compile it$"):
        load(shapes, FIRST, "AUTO:CPU")


def test_a_device_that_changes_after_the_first_call_ends_a_plain_cell():
    session = told([["NPU"], ["CPU"]], nodes=3)

    before, after = session.placement(), session.placement()

    assert before.fault(Precision.FP16) == ""
    assert after.fault(Precision.FP16) == "asked for NPU, and the runtime placed 3 nodes on CPU"
    assert after.note == "NPU was served by NPU, then by CPU"


def test_a_device_that_changes_in_a_named_choice_is_told():
    """``(CPU)`` is OpenVINO's word for the processor that helps out while another device compiles."""
    session = told([["(CPU)"], ["NPU"]], choice="AUTO:NPU,CPU", nodes=3)

    notes = [session.placement().note for _ in range(2)]
    where = told([["(CPU)"]], choice="AUTO:NPU,CPU", nodes=3).placement()

    assert notes[1] == "AUTO:NPU,CPU was served by (CPU), then by NPU"
    assert where.nodes == {"(CPU)": 3}
    assert where.fault(Precision.FP16) == ""


@pytest.mark.parametrize("named", [["GPU.0"], "GPU.0", ["GPU"]], ids=["numbered", "one_word", "plain"])
def test_a_numbered_device_is_the_one_that_was_asked_for(named):
    where = told([named], asked="GPU", nodes=2).placement()

    assert where.nodes == {"GPU": 2}
    assert where.fault(Precision.FP16) == ""


def test_a_plugin_that_tells_of_no_nodes_has_one():
    where = told([["NPU"]]).placement()

    assert (where.nodes, where.dtypes) == ({"NPU": 1}, {})


@pytest.mark.parametrize(
    ("executing", "nodes"),
    [
        pytest.param([["GPU.0", "CPU"]], {"GPU": 40, "CPU": 2}, id="as_planned"),
        pytest.param([["CPU"]], {"CPU": 5}, id="otherwise"),
        pytest.param([[]], {"unknown": 5}, id="untold"),
    ],
)
def test_a_divided_graph_is_counted_by_its_plan_only_if_its_devices_are_those(executing, nodes):
    session = told(executing, choice="HETERO:GPU,CPU", planned={"GPU": 40, "CPU": 2}, asked="GPU", nodes=5)

    assert session.placement().nodes == nodes


@pytest.mark.parametrize("choice", ["AUTO:CPU", "CPU"], ids=["chosen", "plain"])
def test_a_session_elsewhere_than_its_target_never_gets_as_far_as_a_call(shapes, choice):
    """Deliberately mis-set: compiled for a processor, under the name of another device."""
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.OPENVINO_IR)
    compiled = library.Core().compile_model(artifact.file(".xml"), choice, {"INFERENCE_PRECISION_HINT": "f32"})
    session = OpenVinoSession(compiled=compiled, request=None, asked="GPU", notes=(), told={})
    case = Case(model=shapes.source.spec, tower=Tower.IMAGE, target=openvino.GPU, precision=Precision.FP32)
    prepared = pipeline.Prepared(
        case=case, record=Record.empty(case), session=session, calls=[], samples=0, watch=memory.Watch.start()
    )

    with pytest.raises(PlacementError, match=r"asked for GPU, and the runtime placed \d+ nodes on CPU"):
        pipeline.judge(prepared, None)


def test_float32_that_executes_in_another_type_is_a_fault(shapes):
    """What OpenVINO does by itself on a processor with bfloat16 arithmetic, or as here, where it is told to."""
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.OPENVINO_IR)
    compiled = library.Core().compile_model(artifact.file(".xml"), "CPU", {"INFERENCE_PRECISION_HINT": NARROW})
    session = OpenVinoSession(compiled=compiled, request=None, asked="CPU", notes=(), told={})

    assert session.placement().fault(Precision.FP32).startswith("asked for fp32, and the runtime executed ")


NARROW = "bf16" if "BF16" in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f16"
