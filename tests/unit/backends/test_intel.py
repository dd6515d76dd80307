"""OpenVINO: the execution precision is pinned, one stream for least latency, and one line where it refuses."""

from types import SimpleNamespace

import openvino as library
import pytest

from clip_bench import graphs
from clip_bench.backends import Options, openvino
from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.specs import Format, Precision, Tower

CAPABILITIES = library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
FLOATS = {"f32", "f16", "bf16"}


def load(shapes, precision, tower=Tower.IMAGE):
    artifact = graphs.build(shapes.graph(tower), precision, Format.OPENVINO_IR)
    return openvino.load(artifact, openvino.CPU, Options(precision=precision, threads=1))


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
    session = load(shapes, Precision.FP32)
    kinds = [
        node.get_rt_info()["layerType"].astype(str)
        for node in session.request.get_compiled_model().get_runtime_model().get_ops()
    ]

    where = session.placement()

    assert where.nodes["CPU"] == where.dtypes.total() == sum(kind not in openvino.IDLE for kind in kinds) < len(kinds)


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
        assert missing[target] == openvino.DRIVERS[target]
        with pytest.raises(UnavailableError, match="for OpenVINO: needs an Intel"):
            openvino.load(artifact, target, Options(precision=Precision.FP16, threads=1))


def test_a_numbered_device_counts_as_its_kind(monkeypatch):
    names = ["CPU", "GPU.0", "GPU.1"]
    told = {"get_property": lambda name, _: f"a {name}"}
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
