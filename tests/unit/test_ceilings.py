"""A ceiling is what a product really reaches, through the door that the cells take; what cannot run says why."""

import json
import math
from dataclasses import asdict, replace
from functools import partial, reduce
from types import SimpleNamespace

import numpy as np
import pytest

from clip_bench import backends, ceilings, graphs
from clip_bench.__main__ import main
from clip_bench.errors import UnavailableError
from clip_bench.models.product import Shape
from clip_bench.specs import Device, Format, Precision, Target, Tower, Variant
from clip_bench.store import Store
from clip_bench.timing import bandwidth

TINY = Shape(rows=64, inner=48, outer=64, times=2)
OWN = ("torch", "onnxruntime", "openvino")
# Of the norm of the answer. Eight bits lose about 1 % per product of the chain of four.
ERROR = {
    Precision.FP32: 1e-5,
    Precision.FP16: 2e-3,
    Precision.BF16: 2e-2,
    Precision.INT8_DYNAMIC: 6e-2,
    Precision.INT8_QDQ: 6e-2,
    Precision.INT8_NNCF: 6e-2,
    Precision.A16W8: 6e-2,
}


@pytest.fixture(scope="module")
def runtimes():
    """The backends whose packages the suite brings."""
    found = backends.discover()
    return {name: found[name] for name in OWN}


@pytest.fixture(scope="module")
def offers(small, runtimes):
    """What each of them has on the processor, without plugins."""
    return {
        (each.target.backend, each.precision): each
        for each in ceilings._offers(small, runtimes)
        if each.target.device is Device.CPU and not each.target.provider
    }


def expected(settings):
    """The chain as numpy computes it, in float64."""
    model = ceilings._source(TINY, settings.cache).model()
    weights = [weight.detach().numpy().T.astype(np.float64) for weight in model.parameters()]
    rows = ceilings.rows(TINY).reshape(TINY.rows, TINY.inner).astype(np.float64)
    assert len(weights) == 4
    return reduce(np.matmul, weights, rows)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("torch", Precision.FP32),
        ("torch", Precision.BF16),
        ("torch", Precision.INT8_DYNAMIC),
        ("onnxruntime", Precision.FP32),
        ("onnxruntime", Precision.INT8_DYNAMIC),
        ("onnxruntime", Precision.INT8_QDQ),
        ("onnxruntime", Precision.A16W8),
        ("openvino", Precision.FP32),
        ("openvino", Precision.FP16),
        ("openvino", Precision.BF16),
        ("openvino", Precision.INT8_NNCF),
    ],
    ids=[
        *("eager", "eager_brain", "eager_narrow", "microsoft", "microsoft_narrow", "microsoft_static"),
        *("microsoft_wide", "intel", "intel_half", "intel_brain", "intel_narrow"),
    ],
)
def test_every_recipe_makes_a_product_that_answers_what_numpy_answers(small, offers, backend, precision):
    try:
        session = ceilings.load(small, offers[backend, precision], TINY)
    except UnavailableError as exc:
        pytest.skip(str(exc))

    (answer,) = session.run({"image": ceilings.rows(TINY)}).values()
    session.close()

    right = expected(small)
    assert answer.shape == (TINY.rows, TINY.inner)
    assert np.linalg.norm(answer - right) / np.linalg.norm(right) < ERROR[precision]


@pytest.mark.parametrize(
    ("precision", "variant"),
    [(Precision.FP32, Variant()), (Precision.FP16, Variant()), (Precision.FP16, Variant(half_io=True))],
    ids=["whole", "half", "half_edge"],
)
def test_the_recipe_for_graphics_cards_takes_a_product_too(small, precision, variant):
    graph = graphs.Graph(
        source=ceilings._source(replace(TINY, times=8, tied=True), small.cache),
        tower=Tower.IMAGE,
        store=Store(small.cache),
        calibration=lambda: pytest.fail("nothing here is calibrated"),
        batch=TINY.rows,
        variant=variant,
    )

    artifact = graphs.build(graph, precision, Format.ONNX_GPU)

    assert artifact.file(".onnx").stat().st_size < 4 * 4 * TINY.inner * TINY.outer  # each weight once


@pytest.fixture
def little(monkeypatch):
    """Memory of which little is free, so that its reading takes no second."""
    monkeypatch.setattr(ceilings.bandwidth, "measure", partial(bandwidth.measure, available=1 << 26))


@pytest.mark.usefixtures("little")
def test_ceilings_are_positive_and_finite_and_json(small, runtimes):
    wanted = {(Device.CPU, Precision.FP32), (Device.CPU, Precision.INT8_DYNAMIC)}
    told = []

    found = ceilings.measure(small, runtimes, wanted, told.append, {Device.CPU: [TINY]})

    assert {(each.device, each.precision) for each in found.arithmetic} == wanted
    assert all(math.isfinite(each.flops_s) and each.flops_s > 0 for each in found.arithmetic)
    assert all(each.shape == "64×48×64, 4 in a chain" for each in found.arithmetic)
    assert found.absent == ()
    assert math.isfinite(found.memory.read_bytes_s)
    assert found.conditions.window_s > 0
    assert len(told) >= 3
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["arithmetic"][0]["by"] in told[0] + told[1] + told[2]


def fake(settings, *, missing="", fault="", fails="", wrong=0.0):
    """A backend of one target whose sessions take no time to speak of."""
    target = Target(backend="fake", device=Device.CPU)
    answer = ceilings.answer_of(TINY, settings.cache) * np.float32(1 + wrong)
    session = SimpleNamespace(
        run=lambda _: {"answer": answer},
        placement=lambda: backends.Placement(nodes={"here": 1}, dtypes={}, asked="elsewhere" if fault else "here"),
        close=lambda: closed.append(1),
    )
    closed = []

    def load(*_):
        if fails:
            raise RuntimeError(fails)
        return session

    return SimpleNamespace(
        TARGETS={target: frozenset({Precision.FP32})},
        devices=lambda _: {target: backends.Found(missing=missing)},
        load=load,
        closed=closed,
    )


@pytest.fixture
def unread(monkeypatch):
    """Without the reading of memory, which takes seconds."""
    monkeypatch.setattr(ceilings.bandwidth, "measure", lambda _: None)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"missing": "buy a new one"}, "fake-cpu: buy a new one"),
        ({"fails": "segment\n  lost"}, "fake-cpu: segment lost"),
        ({"fault": "elsewhere"}, "fake-cpu: asked for elsewhere, and the runtime placed 1 nodes on here"),
        ({"wrong": 0.6}, f"fake-cpu: its answer to {TINY} is wrong: an error of 0.6 of the answer's norm"),
        ({"wrong": math.nan}, f"fake-cpu: its answer to {TINY} is wrong: an error of nan of the answer's norm"),
    ],
    ids=["missing", "failing", "misplaced", "wrong", "no_number"],
)
def test_a_runtime_that_fails_is_left_out_with_its_reason(small, faults, reason):
    broken, wanted, told = fake(small, **faults), {(Device.CPU, Precision.FP32)}, []

    alone = ceilings.measure(small, {"fake": broken}, wanted, told.append, {Device.CPU: [TINY]})
    beside = ceilings.measure(small, {"a": broken, "b": fake(small)}, wanted, told.append, {Device.CPU: [TINY]})

    assert alone.arithmetic == ()
    assert [each.reason for each in alone.absent] == [reason]
    assert told[0] == f"cpu fp32: without {reason}"
    assert [each.by for each in beside.arithmetic] == ["fake-cpu"]
    assert beside.absent == ()


@pytest.mark.usefixtures("unread")
def test_a_precision_that_nobody_has_is_absent_with_the_reason(small):
    wanted = {(Device.CPU, Precision.BF16), (Device.NPU, Precision.FP16)}

    found = ceilings.measure(small, {"fake": fake(small)}, wanted, lambda _: None)

    assert [(each.device, each.reason) for each in found.absent] == [
        (Device.CPU, "no runtime has it"),
        (Device.NPU, "no runtime has it"),
    ]


def test_what_replays_answers_has_no_ceiling(small):
    found = backends.discover()

    assert ceilings._offers(small, {"null": found["null"]}) == []


def test_every_session_is_closed_and_the_best_shape_wins(small, monkeypatch):
    shapes = [TINY, replace(TINY, times=3), replace(TINY, times=4)]
    times = {shapes[0]: 1.0, shapes[1]: 1.0, shapes[2]: 2.0}
    monkeypatch.setattr(ceilings, "_shortest_s", lambda _session, _precision, shape, _root: times[shape])
    backend = fake(small)

    (offer,) = ceilings._offers(small, {"fake": backend})
    found = ceilings._best(small, offer, shapes)

    assert (found.flops_s, found.shape) == (shapes[1].flops, str(shapes[1]))
    assert len(backend.closed) == 3


def test_a_shape_that_would_take_too_long_is_left_out(small, monkeypatch):
    monkeypatch.setattr(ceilings, "_shortest_s", lambda *_: 1.0)
    backend = fake(small)

    (offer,) = ceilings._offers(small, {"fake": backend})
    found = ceilings._best(small, offer, [TINY, replace(TINY, times=5)])

    assert found.shape == str(TINY)
    assert len(backend.closed) == 1


@pytest.mark.usefixtures("little")
def test_the_command_prints_a_table(monkeypatch, cache, capsys):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    measure = ceilings.measure
    monkeypatch.setattr(ceilings, "measure", lambda *arguments: measure(*arguments, shapes={Device.CPU: [TINY]}))

    assert main(["ceilings", "--precision", "fp32", "--device", "cpu"]) == 0

    head, row, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["device", "precision", "GFLOP/s", "by"]
    assert row.split()[:2] == ["cpu", "fp32"]
    assert float(row.split()[2]) >= 0
    assert rest[0].startswith("memory is read at ")
