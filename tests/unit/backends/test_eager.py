"""PyTorch: which layers are quantized, which device is used, and what compiling needs."""

import contextlib
import re
import shutil

import numpy as np
import pytest
import torch as library

from clip_bench import graphs
from clip_bench.backends import Found, Options, torch
from clip_bench.errors import UnavailableError
from clip_bench.specs import Format, Precision, Tower, Variant

WHOLE = Options(precision=Precision.FP32, threads=1)
DYNAMIC = Options(precision=Precision.INT8_DYNAMIC, threads=1)
CAPTURED = Options(precision=Precision.FP32, threads=1, variant=Variant(cuda_graphs=True))
FAST = Options(precision=Precision.FP32, threads=1, variant=Variant(compiled=True))


@pytest.fixture(scope="module")
def artifact(shapes):
    return graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.TORCH_EXPORT)


def layers(artifact):
    program = library.export.load(artifact.file(".pt2"))
    return sum(node.target is library.ops.aten.linear.default for node in program.graph.nodes)


def test_a_float_program_executes_in_float32_on_the_processor(artifact):
    where = torch.load(artifact, torch.CPU, WHOLE).placement()

    assert set(where.nodes) == {"cpu"}
    assert set(where.dtypes) == {"float32"}
    assert where.note == ""


def test_a_bfloat16_program_computes_in_bfloat16_up_to_its_edge(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.BF16, Format.TORCH_EXPORT)

    where = torch.load(artifact, torch.CPU, Options(precision=Precision.BF16, threads=1)).placement()

    assert where.dtypes["float32"] == 1
    assert where.dtypes.total() == where.dtypes["bfloat16"] + 1 == where.nodes["cpu"]


@pytest.mark.parametrize("tower", list(Tower), ids=["vision", "language", "fused"])
def test_every_linear_layer_is_quantized_and_the_note_says_what_is_not(shapes, tower):
    artifact = graphs.build(shapes.graph(tower), Precision.INT8_DYNAMIC, Format.TORCH_EXPORT)

    where = torch.load(artifact, torch.CPU, DYNAMIC).placement()

    (told,) = re.findall(r"(\d+) linear layers in int8", where.note)
    assert where.dtypes["int8"] == int(told) == layers(artifact) > 0
    assert where.dtypes["float32"] > 0
    for part in ("patch embedding", "token table", "attention products", "LayerNorm", "last projection"):
        assert part in where.note


def test_a_quantized_layer_computes_otherwise_than_the_float_one(shapes, artifact):
    call = shapes.fed.calls(Tower.IMAGE)[0]

    whole = torch.load(artifact, torch.CPU, WHOLE).run(call)
    quantized = torch.load(artifact, torch.CPU, DYNAMIC).run(call)

    assert not np.array_equal(whole["image_embedding"], quantized["image_embedding"])


def test_quantizing_needs_a_package_of_its_own(artifact, monkeypatch):
    monkeypatch.setattr(torch, "find_spec", lambda name: None if name == "torchao" else name)

    with pytest.raises(UnavailableError, match=r"int8_dynamic on torch needs torchao: pip install"):
        torch.load(artifact, torch.CPU, DYNAMIC)


def test_the_threads_are_those_asked_for(artifact):
    before = library.get_num_threads()

    torch.load(artifact, torch.CPU, Options(precision=Precision.FP32, threads=before + 1))
    found = library.get_num_threads()
    library.set_num_threads(before)

    assert found == before + 1


def test_without_an_nvidia_device_the_reason_says_what_is_needed(artifact, monkeypatch):
    monkeypatch.setattr(library.cuda, "is_available", lambda: False)

    assert torch.devices({})[torch.CUDA].missing == "no CUDA device: needs an NVIDIA GPU with its driver"
    with pytest.raises(UnavailableError, match="needs an NVIDIA GPU"):
        torch.load(artifact, torch.CUDA, WHOLE)


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_a_faster_program_answers_what_the_plain_one_does(shapes, artifact):
    calls = shapes.fed.calls(Tower.IMAGE)[:3]
    plain = torch.load(artifact, torch.CPU, WHOLE)
    fast = torch.load(artifact, torch.CPU, FAST)

    ours, theirs = ([session.run(call)["image_embedding"] for call in calls] for session in (fast, plain))
    fast.close()

    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_faster_program_needs_a_compiler(artifact, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(UnavailableError, match="needs a C\\+\\+ compiler: install"):
        torch.load(artifact, torch.CPU, FAST)
    assert torch.load(artifact, torch.CPU, WHOLE).outputs == ("image_embedding",)


@pytest.mark.parametrize("tower", list(Tower), ids=["vision", "language", "fused"])
def test_a_moved_program_leaves_nothing_behind(shapes, tower):
    """Weights, constants and the devices that nodes name: what stays would be computed on the processor, or not at all."""
    artifact = graphs.build(shapes.graph(tower), Precision.FP32, Format.TORCH_EXPORT)

    module = torch._module(artifact.file(".pt2"), "meta")

    results = [node.meta["val"] for node in module.graph.nodes if isinstance(node.meta.get("val"), library.Tensor)]
    named = [str(each) for node in module.graph.nodes for each in (*node.args, *node.kwargs.values())]
    held = [each.device.type for each in (*module.parameters(), *module.buffers(), *results)]
    assert set(held) == {"meta"}
    assert "cpu" not in named


class Graph:
    """A CUDA graph on the processor: what is called while it is captured is called again in each replay."""

    def __init__(self):
        self.replayed = 0

    def replay(self):
        self.replayed += 1
        self.into.copy_(self.program(*self.given))


@pytest.fixture
def capturing(monkeypatch):
    """Streams and graphs that do nothing, on a machine without a card; the graphs that are made."""
    made = []

    class Stream:
        def wait_stream(self, other):
            pass

    @contextlib.contextmanager
    def nothing(_):
        yield

    def graph():
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(library.cuda, "Stream", Stream)
    monkeypatch.setattr(library.cuda, "current_stream", Stream)
    monkeypatch.setattr(library.cuda, "stream", nothing)
    monkeypatch.setattr(library.cuda, "graph", nothing)
    monkeypatch.setattr(library.cuda, "CUDAGraph", graph)
    return made


def test_a_program_is_captured_once_and_replayed_in_every_call(capturing):
    calls = []

    def program(given):
        calls.append(given.data_ptr())
        return given * 2

    captured = torch.Captured(program, "cpu")
    captured._capture((library.ones(3),))
    (graph,) = capturing
    graph.program, graph.given, graph.into = program, captured.inputs, captured.outputs
    warmed = len(calls)
    asked = library.full((3,), 5.0)

    found = [captured(each).clone() for each in (asked, library.zeros(3))]

    assert warmed == torch.WARM_UPS + 1
    assert graph.replayed == 2
    assert [each.tolist() for each in found] == [[10.0] * 3, [0.0] * 3]
    assert asked.tolist() == [5.0] * 3
    assert len(set(calls)) == 1  # one buffer for all


def test_every_float_may_be_captured_on_a_card_or_made_faster():
    assert set(torch.VARIANTS[torch.CUDA]) == {FAST.variant, CAPTURED.variant}
    assert set(torch.VARIANTS[torch.CUDA].values()) == {torch.TARGETS[torch.CUDA]}


def test_tf32_is_switched_off_and_the_record_says_so(monkeypatch):
    monkeypatch.setattr(library.backends.cudnn, "allow_tf32", True)
    before = library.get_float32_matmul_precision()
    library.set_float32_matmul_precision("high")

    told = torch._exact()
    now = (library.backends.cuda.matmul.allow_tf32, library.backends.cudnn.allow_tf32)
    library.set_float32_matmul_precision(before)

    assert now == (False, False)
    assert set(told.values()) == {"highest", "False"}


def test_without_a_metal_device_the_reason_says_what_is_needed(monkeypatch):
    monkeypatch.setattr(library.backends.mps, "is_available", lambda: False)

    assert torch.devices({})[torch.MPS].missing.startswith("no Metal device: needs a Mac")


@pytest.mark.parametrize(("given", "refused"), [(None, False), ("0", False), ("1", True)], ids=["unset", "off", "on"])
def test_the_way_back_from_metal_to_the_processor_must_be_off(artifact, monkeypatch, given, refused):
    monkeypatch.setattr(library.backends.mps, "is_available", lambda: True)
    monkeypatch.delenv(torch.FALLBACK, raising=False)
    if given is not None:
        monkeypatch.setenv(torch.FALLBACK, given)

    missing = torch.devices({})[torch.MPS].missing

    assert missing.startswith("unset PYTORCH_ENABLE_MPS_FALLBACK") == refused
    if refused:
        with pytest.raises(UnavailableError, match="unset PYTORCH_ENABLE"):
            torch.load(artifact, torch.MPS, WHOLE)


def test_compiling_for_a_card_needs_triton_too(artifact, monkeypatch):
    monkeypatch.setattr(torch, "_cuda", lambda: Found(device="a card"))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(torch, "find_spec", lambda name: None if name == "triton" else name)

    with pytest.raises(UnavailableError, match="needs Triton"):
        torch.load(artifact, torch.CUDA, FAST)
