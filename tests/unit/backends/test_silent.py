"""ONNX Runtime's silent ways back to the host: each is walked on purpose, and none ends in a session that passes.

The runtime has one switch against them; where it is off, what the nodes were assigned to must tell the same. The
provider is Qualcomm's plugin, which runs here on the emulator that it brings.
"""

from dataclasses import replace

import onnx
import pytest
from onnx import helper

from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import qnn
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.specs import Precision
from clip_bench.store import Store

pytest.importorskip("onnxruntime_qnn", reason="install onnxruntime-qnn")
if qnn.PROVIDERS[qnn.EMULATED].lacks({}):
    pytest.skip(qnn.EMULATOR_NEEDS, allow_module_level=True)

ROW = qnn.PROVIDERS[qnn.EMULATED]
DIED = "no such device"
SWITCH = "session.disable_cpu_ep_fallback"
HOST = "1 nodes on CPUExecutionProvider"
CREATED_WRONG = {  # the provider cannot be created, and ONNX Runtime goes on without it
    "no_such_library": {"backend_path": "libNowhere.so"},
    "a_part_that_is_not_there": {"backend_type": "gpu"},
    "no_such_chip": {"backend_type": "htp", "soc_model": "999"},
}


def as_built(artifact, _):
    return artifact.file(".onnx")


def model(store, *operators):
    """A chain of *operators* on one matrix, as an artifact."""
    nodes = [helper.make_node(name, [f"t{i}"], [f"t{i + 1}"]) for i, name in enumerate(operators)]
    shapes = [(1, 8, 8), (1,) if operators[-1] == "Det" else (1, 8, 8)]
    names = ("t0", f"t{len(operators)}")
    first, last = (helper.make_tensor_value_info(n, 1, shape) for n, shape in zip(names, shapes, strict=True))
    made = helper.make_model(
        helper.make_graph(nodes, "made_up", [first], [last]), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    return store.get({"operators": operators}, lambda folder: onnx.save(made, folder / "model.onnx"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def load(store, monkeypatch):
    """Load a chain of operators where Qualcomm's emulator is asked for, the provider's row changed."""

    def loaded(*operators, settings=None, **changes):
        row = replace(ROW, **changes)
        for module in (onnxruntime, qnn):
            monkeypatch.setattr(module, "PROVIDERS", {**module.PROVIDERS, qnn.EMULATED: row})
        options = Options(precision=Precision.FP16, threads=1, store=store, settings=settings or {})
        return onnxruntime.load(model(store, *operators), qnn.EMULATED, options)

    return loaded


@pytest.fixture
def no_switch(monkeypatch):
    """The runtime without its one switch: what a release that ignores it, or a typing error, would be."""
    import onnxruntime as runtime

    class Lax(runtime.SessionOptions):
        def add_session_config_entry(self, key, value):
            if key != SWITCH:
                super().add_session_config_entry(key, value)

    monkeypatch.setattr(runtime, "SessionOptions", Lax)


@pytest.fixture
def no_flag(monkeypatch):
    """The runtime's compiler without its flag against files in which nothing is compiled."""
    import onnxruntime as runtime

    real = runtime.ModelCompiler

    def unflagged(*given, flags, **named):
        assert flags == runtime.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED
        return real(*given, **named)

    monkeypatch.setattr(runtime, "ModelCompiler", unflagged)


def fault(session):
    found = session.placement().fault(Precision.FP16)
    session.close()
    return found


def test_what_is_placed_as_asked_passes(load):
    assert fault(load("Relu")) == ""
    assert fault(load("Relu", model=as_built)) == ""


def test_a_plugin_named_in_a_list_of_providers_is_refused(load):
    with pytest.raises(PlacementError, match="fallback to CPU EP has been explicitly disabled"):
        load("Relu", in_session=True, model=as_built)


@pytest.mark.usefixtures("no_switch")
def test_a_plugin_named_in_a_list_of_providers_is_told_by_where_its_nodes_are(load):
    session = load("Relu", in_session=True, model=as_built)

    assert fault(session) == f"asked for {qnn.NAME}, and the runtime placed 0 nodes on {qnn.NAME}, {HOST}"


def test_a_graph_of_which_nothing_is_placed_is_refused(load):
    with pytest.raises(PlacementError, match="fallback to CPU EP has been explicitly disabled"):
        load("Det", model=as_built)


@pytest.mark.usefixtures("no_switch")
def test_a_graph_of_which_nothing_is_placed_is_told_although_the_provider_is_in_the_session(load):
    session = load("Det", model=as_built)

    assert qnn.NAME in session.session.get_providers()
    assert fault(session).endswith(HOST)


def test_a_graph_of_which_a_part_is_placed_is_refused(load):
    with pytest.raises(PlacementError, match="fallback to CPU EP has been explicitly disabled"):
        load("Relu", "Det")


@pytest.mark.usefixtures("no_switch")
def test_a_graph_of_which_a_part_is_placed_is_told(load):
    session = load("Relu", "Det", model=as_built)

    assert fault(session).endswith(f"placed 1 nodes on {qnn.NAME}, {HOST}")


@pytest.mark.usefixtures("no_switch")
def test_a_graph_of_which_a_part_is_made_ready_is_told_before_it_is_loaded(load):
    with pytest.raises(PlacementError, match=rf"{qnn.NAME} compiled 1 parts of the graph and left 1 Det"):
        load("Relu", "Det")


@pytest.mark.parametrize("told", [pytest.param(told, id=name) for name, told in CREATED_WRONG.items()])
def test_a_provider_that_cannot_be_created_is_refused(load, told):
    with pytest.raises(PlacementError, match="fallback to CPU EP has been explicitly disabled"):
        load("Relu", model=as_built, options=lambda _: told)
    with pytest.raises(UnsupportedError, match="Unable to compile any nodes"):
        load("Relu", options=lambda _: told)


@pytest.mark.usefixtures("no_switch", "no_flag")
@pytest.mark.parametrize("told", [pytest.param(told, id=name) for name, told in CREATED_WRONG.items()])
def test_a_provider_that_cannot_be_created_is_told(load, told):
    assert fault(load("Relu", model=as_built, options=lambda _: told)).endswith(HOST)
    with pytest.raises(PlacementError, match="compiled 0 parts of the graph and left 1 Relu"):
        load("Relu", options=lambda _: told)


def test_the_runtime_is_not_let_try_again_on_the_host(load, monkeypatch):
    """Its Python class answers a creation that failed with a session on the host, if it may."""
    import onnxruntime as runtime

    tries = []

    def failing(*given):
        tries.append(given)
        raise RuntimeError(DIED)

    monkeypatch.setattr(runtime.InferenceSession, "_create_inference_session", failing)

    for changes in ({"in_session": True}, {}):
        with pytest.raises(RuntimeError, match=DIED):
            load("Relu", model=as_built, **changes)
    assert len(tries) == 2


def test_a_chip_that_nobody_knows_is_refused(load):
    with pytest.raises(UnsupportedError, match="Unable to compile any nodes"):
        load("Relu", settings={"soc": "999"})
    with pytest.raises(UsageError, match=r"qnn.soc=SM9999: no such chip; there are SC8380XP, "):
        load("Relu", settings={"soc": "SM9999"})


def test_a_machine_without_the_device_is_told_although_the_plugin_finds_another(store):
    """Policies such as PREFER_NPU choose what there is."""
    row = qnn.PROVIDERS[qnn.NPU]
    row.devices()

    import onnxruntime as runtime

    kinds = {found.device.type.name for found in runtime.get_ep_devices() if found.ep_name == qnn.NAME}
    if "NPU" in kinds:
        pytest.skip("there is such a device here")
    assert kinds == {"CPU"}
    with pytest.raises(UnavailableError, match="needs a Snapdragon"):
        onnxruntime.load(model(store, "Relu"), qnn.NPU, Options(precision=Precision.FP16, threads=1, store=store))
