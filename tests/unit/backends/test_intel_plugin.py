"""OpenVINO's provider: all of a graph on the device asked for, in the type asked for, or a reason why not."""

import json
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import onnxruntime as library
import pytest

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import ovep, provider
from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.specs import Device, Format, Precision, Target, Tower

TARGETS = {device: Target(backend="onnxruntime", provider="ovep", device=device) for device in ovep.NEEDS}
ROW = ovep.PROVIDERS[TARGETS[Device.CPU]]
BARE = SimpleNamespace(ep_metadata={"ov_device": "GPU.1", "OPTIMIZATION_CAPABILITIES": "FP32 FP16"})
HERE = find_spec(ovep.MODULE) is not None and not ROW.found({}).missing
BRAIN = HERE and "BF16" in ROW.devices()[0].ep_metadata["OPTIMIZATION_CAPABILITIES"].split()
needs_plugin = pytest.mark.skipif(not HERE, reason="needs the package of OpenVINO's provider")
needs_bfloat16 = pytest.mark.skipif(HERE and not BRAIN, reason="needs a processor with bfloat16")


def load(shapes, precision, device=Device.CPU, tower=Tower.IMAGE):
    artifact = graphs.build(shapes.graph(tower), precision, Format.ONNX)
    return onnxruntime.load(artifact, TARGETS[device], Options(precision=precision, threads=1))


def apart(shapes, session):
    """How far the first answer is from ONNX Runtime's own float32 one, at most."""
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)
    own = onnxruntime.load(artifact, onnxruntime.CPU, Options(precision=Precision.FP32, threads=1))
    call = shapes.fed.calls(Tower.IMAGE)[0]
    found = session.run(call)["image_embedding"], own.run(call)["image_embedding"]
    own.close()
    return float(np.abs(found[0] - found[1]).max())


@needs_plugin
@pytest.mark.parametrize("tower", list(Tower), ids=["vision", "language", "fused"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8_QDQ], ids=["whole", "qdq"])
def test_every_node_is_on_the_plugin(shapes, precision, tower):
    session = load(shapes, precision, tower=tower)

    where = session.placement()
    session.close()

    assert set(where.nodes) == {where.asked} == {ovep.NAME}
    assert where.nodes[ovep.NAME] > 50


@needs_plugin
def test_float32_is_pinned_and_differs_by_rounding_alone(shapes):
    session = load(shapes, Precision.FP32)

    distance, where = apart(shapes, session), session.placement()

    assert distance < 1e-5
    told = json.loads(where.options["load_config"])["CPU"]
    assert told["INFERENCE_PRECISION_HINT"] == "f32"
    assert (told["INFERENCE_NUM_THREADS"], told["NUM_STREAMS"]) == ("1", "1")


@needs_plugin
@needs_bfloat16
def test_bfloat16_differs_by_as_much_as_its_eight_bits_do(shapes):
    session = load(shapes, Precision.BF16)

    assert 1e-3 < apart(shapes, session) < 1e-1
    session.close()


@needs_plugin
@needs_bfloat16
def test_what_is_told_under_another_name_than_the_device_s_own_is_ignored_in_silence(shapes, monkeypatch):
    """Why the row asks the plugin for the name: float32 pinned under a wrong one would be timed in bfloat16."""
    wrong = {"load_config": json.dumps({"GPU": {"INFERENCE_PRECISION_HINT": "f32"}})}
    monkeypatch.setitem(onnxruntime.PROVIDERS, TARGETS[Device.CPU], replace(ROW, options=lambda _: wrong))

    session = load(shapes, Precision.FP32)

    assert apart(shapes, session) > 1e-3
    session.close()


def test_a_device_is_told_under_its_own_name(monkeypatch):
    monkeypatch.setattr(provider.Provider, "devices", lambda _: [BARE])
    row = ovep.PROVIDERS[TARGETS[Device.GPU]]

    told = json.loads(row.options(Options(precision=Precision.INT8_QDQ, threads=3))["load_config"])

    assert told == {"GPU.1": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"}}


def test_bfloat16_is_unavailable_where_the_plugin_finds_none(monkeypatch):
    monkeypatch.setattr(provider.Provider, "devices", lambda _: [BARE])

    with pytest.raises(UnavailableError, match="no bfloat16 for OpenVINO's provider on this CPU"):
        ROW.options(Options(precision=Precision.BF16, threads=1))


@needs_plugin
def test_a_device_that_is_absent_is_told_although_a_policy_would_take_the_processor_for_it(shapes, monkeypatch):
    """ONNX Runtime's PREFER_NPU gives the processor where there is no such device; a named device never does."""
    here = [device for device in library.get_ep_devices() if device.device.type.name == "CPU"]
    monkeypatch.setattr(library, "get_ep_devices", lambda: here)
    settings = library.SessionOptions()
    settings.set_provider_selection_policy(library.OrtExecutionProviderDevicePolicy.PREFER_NPU)
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)

    chosen = library.InferenceSession(artifact.file(".onnx"), settings).get_input_epdevices()[0]

    assert chosen.device.type.name == "CPU"
    for device in (Device.GPU, Device.NPU):
        assert ovep.PROVIDERS[TARGETS[device]].found({}).missing == ovep.NEEDS[device]
        with pytest.raises(UnavailableError, match=f"no {device.upper()} for OpenVINO's provider: needs an Intel"):
            load(shapes, Precision.FP16, device)


@needs_plugin
def test_an_option_that_the_plugin_refuses_ends_the_cell(shapes, monkeypatch):
    wrong = {"load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f33"}})}
    monkeypatch.setitem(onnxruntime.PROVIDERS, TARGETS[Device.CPU], replace(ROW, options=lambda _: wrong))

    with pytest.raises(UnsupportedError, match="refuses the graph on onnxruntime-ovep-cpu"):
        load(shapes, Precision.FP32)


def test_a_lost_library_is_told_in_one_line(tmp_path, monkeypatch):
    def lost():
        raise FileNotFoundError

    monkeypatch.setattr(provider, "find_spec", lambda name: name)
    monkeypatch.setattr(ovep, "import_module", lambda _: SimpleNamespace(get_library_path=lost))
    gone = replace(ROW, library=lambda: str(tmp_path / "gone.so"))

    assert ROW.found({}).missing.startswith("the package of OpenVINO's provider has lost its library")
    assert "cannot load gone.so of OpenVINOExecutionProvider" in gone.found({}).missing


def test_without_its_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(provider, "find_spec", lambda name: None if name == ovep.MODULE else name)

    missing = {onnxruntime.devices({})[target].missing for target in TARGETS.values()}

    assert missing == {ovep.PACKAGE}
