"""Every cell that a CPU can run: right names and shapes, near the reference, and nothing shared between calls."""

import itertools
import sys

import numpy as np
import pytest

from clip_bench import backends, graphs
from clip_bench.backends import Options, onnxruntime, openvino, torch
from clip_bench.backends.onnxruntime import provider
from clip_bench.errors import UnavailableError
from clip_bench.models import towers
from clip_bench.quality import gates, metrics
from clip_bench.specs import Format, Precision, Tower

RUNTIMES = {"eager": torch, "microsoft": onnxruntime, "intel": openvino}
WORDS = {
    Precision.FP32: "whole",
    Precision.FP16: "half",
    Precision.BF16: "brain",
    Precision.INT8_DYNAMIC: "dynamic",
    Precision.INT8_QDQ: "qdq",
    Precision.INT8_NNCF: "nncf",
    Precision.A16W8: "sixteen",
}
TOWERS = {Tower.IMAGE: "vision", Tower.TEXT: "language", Tower.PAIR: "fused"}
CELLS = [
    pytest.param(RUNTIMES[runtime], precision, tower, id=f"{runtime}-{WORDS[precision]}-{TOWERS[tower]}")
    for runtime, tower in itertools.product(RUNTIMES, TOWERS)
    for precision in Precision
    if precision in RUNTIMES[runtime].TARGETS[RUNTIMES[runtime].CPU]
]
ONE_EACH = [
    pytest.param(torch, Precision.FP32, id="eager-whole"),
    pytest.param(torch, Precision.INT8_DYNAMIC, id="eager-dynamic"),
    pytest.param(onnxruntime, Precision.INT8_QDQ, id="microsoft-qdq"),
    pytest.param(openvino, Precision.FP32, id="intel-whole"),
    pytest.param(openvino, Precision.INT8_NNCF, id="intel-nncf"),
]


def load(shapes, backend, precision, tower, **more):
    """A session of *tower* at *precision* on one thread: two would wait for each other where cores are scarce."""
    artifact = graphs.build(shapes.graph(tower), precision, backends.format_of(backend, backend.CPU))
    try:
        return backend.load(artifact, backend.CPU, Options(precision=precision, threads=1, **more))
    except UnavailableError as exc:  # a processor without bfloat16
        pytest.skip(str(exc))


@pytest.mark.parametrize(("backend", "precision", "tower"), CELLS)
def test_a_cell_answers_what_the_reference_answers(shapes, backend, precision, tower):
    expected = shapes.reference.outputs(shapes.fed, tower)
    floors = gates.FLOORS[precision]

    found = shapes.answers(load(shapes, backend, precision, tower), tower)

    assert tuple(found) == towers.OUTPUTS[tower]
    for name, reference in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == reference.shape
        cosines = metrics.cosine(found[name], reference)
        assert cosines.mean() >= floors.mean
        assert cosines.min() >= floors.minimum


@pytest.mark.parametrize(("backend", "precision"), ONE_EACH)
@pytest.mark.parametrize("tower", TOWERS, ids=list(TOWERS.values()))
def test_a_call_gives_the_same_again_and_shares_nothing_with_the_next(shapes, backend, precision, tower):
    session = load(shapes, backend, precision, tower)
    one, other = shapes.fed.calls(tower)[0], shapes.fed.calls(tower)[-1]
    asked = {name: array.copy() for name, array in one.items()}

    first = session.run(one)
    kept = {name: array.copy() for name, array in first.items()}
    between = session.run(other)
    again = session.run(one)

    for name, array in kept.items():
        assert np.array_equal(first[name], array)
        assert np.array_equal(again[name], array)
        assert not np.array_equal(between[name], array)
    assert all(np.array_equal(one[name], array) for name, array in asked.items())


@pytest.mark.parametrize(("backend", "precision"), ONE_EACH)
def test_an_answer_outlives_its_session_and_may_be_written_to(shapes, backend, precision):
    call = shapes.fed.calls(Tower.IMAGE)[0]
    session = load(shapes, backend, precision, Tower.IMAGE)

    answer = session.run(call)["image_embedding"]
    kept = answer.copy()
    again = session.run(call)["image_embedding"]
    session.close()
    del session
    answer += 1

    assert np.array_equal(again, kept)
    assert np.array_equal(answer, kept + 1)


@pytest.mark.parametrize("backend", RUNTIMES.values(), ids=list(RUNTIMES))
def test_it_runs_here_and_says_what_is_missing_of_every_other_device(backend):
    here = backend.devices({})

    assert set(here) == set(backend.TARGETS)
    assert here[backend.CPU].missing == ""
    assert here[backend.CPU].device
    assert all(bool(found.device) != bool(found.missing) for found in here.values())


@pytest.mark.parametrize(
    ("backend", "package", "extra"),
    [
        pytest.param(torch, "torch", "torch", id="eager"),
        pytest.param(onnxruntime, "onnxruntime", "onnxruntime", id="microsoft"),
        pytest.param(openvino, "openvino", "openvino", id="intel"),
    ],
)
def test_without_its_package_every_target_says_what_to_install(shapes, monkeypatch, backend, package, extra):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, backends.format_of(backend, backend.CPU))
    module = provider if backend is onnxruntime else backend
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == package else name)
    monkeypatch.setitem(sys.modules, package, None)  # to load it now is an ImportError

    missing = {target: here.missing for target, here in backend.devices({}).items()}

    assert len(missing) == len(backend.TARGETS)
    assert all(f"pip install 'clip-bench[{extra}]'" in reason for reason in missing.values())
    with pytest.raises(UnavailableError, match="pip install"):
        backend.load(artifact, backend.CPU, Options(precision=Precision.FP32, threads=1))


def test_the_formats_are_those_that_the_runtimes_load():
    found = [backends.format_of(backend, backend.CPU) for backend in RUNTIMES.values()]

    assert found == [Format.TORCH_EXPORT, Format.ONNX, Format.OPENVINO_IR]
