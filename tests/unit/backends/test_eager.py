"""PyTorch: which layers are quantized, which device is used, and what compiling needs."""

import re
import shutil

import numpy as np
import pytest
import torch as library

from clip_bench import graphs
from clip_bench.backends import Options, torch
from clip_bench.errors import UnavailableError
from clip_bench.specs import Format, Precision, Tower, Variant

WHOLE = Options(precision=Precision.FP32, threads=1)
DYNAMIC = Options(precision=Precision.INT8_DYNAMIC, threads=1)
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
