"""A cell under a load: several instances, several samples per call, and blocks in turns with the reference cell."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from clip_bench import backends, loading, pipeline
from clip_bench.backends import null, onnxruntime, openvino, torch
from clip_bench.errors import UnavailableError
from clip_bench.models import catalog, feeds
from clip_bench.specs import BASELINE, Case, Inputs, Load, Pattern, Precision, Tower, Variant

TINY = catalog.find("shapes_tiny")
TARGETS = {"threads": onnxruntime.CPU, "queue": openvino.CPU, "eager": BASELINE}
(HERE,) = null.TARGETS
ALL = {"null": null, "onnxruntime": onnxruntime, "openvino": openvino, "torch": torch}


def cell(target, tower=Tower.IMAGE, **variant):
    return Case(model=TINY, tower=tower, target=target, precision=Precision.FP32, variant=Variant(**variant))


def many(instances=2, queue=1, **other):
    return Load(pattern=Pattern.THROUGHPUT, instances=instances, queue=queue, **other)


@pytest.fixture
def stopwatch(request):
    """pytest-benchmark's own fixture, outside its table."""
    fixture = request.getfixturevalue("benchmark")
    fixture.disabled = False
    fixture._add_stats = lambda _: None
    fixture.skipped = True
    return fixture


@pytest.fixture
def prepare(small):
    """Prepared cells, closed at the end."""
    opened = []

    def prepared(case, using=ALL):
        opened.append(pipeline.prepare(case, using, small))
        return opened[-1]

    yield prepared
    for each in opened:
        each.close()


@pytest.mark.parametrize("name", TARGETS)
def test_several_instances_answer_as_one_does(prepare, stopwatch, small, name):
    ready = prepare(cell(TARGETS[name], load=many()))

    record = pipeline.timed(ready, pipeline.judge(ready, small), stopwatch, small)

    assert record.quality.failures == ()
    assert len(ready.others) == (0 if name == "queue" else 1)
    assert len(record.timing.rounds_s) == small.rounds
    assert 0 < max(record.timing.rounds_s) <= record.timing.window_s
    told = record.boundary
    assert (told.load, told.instances, told.queue, told.device_ids) == ("throughput", 2, 1, (0,))


@pytest.mark.parametrize("name", [*TARGETS, "replayed"])
@pytest.mark.parametrize("tower", [Tower.IMAGE, Tower.TEXT], ids=["pictures", "captions"])
def test_a_call_of_several_samples_answers_as_calls_of_one_do(prepare, small, name, tower):
    """Five do not divide eight, nor the captions' number: the last call is filled up, and cut again."""
    ready = prepare(cell(TARGETS.get(name, HERE), tower, batch=5))

    record = pipeline.judge(ready, small)

    assert {len(array) for call in ready.calls for array in call.values()} == {5}
    assert record.quality.failures == ()
    assert record.boundary.batch == 5
    assert {each.rows for each in record.quality.similarity} == {ready.samples}


class TwoFaced:
    """Answers right on the thread that it was made on, and noise on every other."""

    def __init__(self, session):
        self.session, self.home = session, threading.get_ident()

    def run(self, feeds):
        answers = self.session.run(feeds)
        if threading.get_ident() == self.home:
            return answers
        return {
            name: np.random.default_rng(0).normal(size=rows.shape).astype(rows.dtype) for name, rows in answers.items()
        }

    def placement(self):
        return self.session.placement()

    def close(self):
        self.session.close()


def test_a_device_that_answers_otherwise_under_a_load_gets_no_time(prepare, stopwatch, small):
    own = SimpleNamespace(TARGETS=null.TARGETS, FORMAT=null.FORMAT, load=lambda *given: TwoFaced(null.load(*given)))
    ready = prepare(cell(HERE, load=many()), {"null": own})

    record = pipeline.timed(ready, pipeline.judge(ready, small), stopwatch, small)

    assert record.timing is None
    assert "under this load a sample has a cosine of" in record.quality.failures[0]


def test_a_number_of_a_device_is_refused_where_there_is_but_one(small):
    with pytest.raises(UnavailableError, match="null-cpu is one device: leave --device-ids out"):
        pipeline.prepare(cell(HERE, load=many(device_ids=(0, 1))), ALL, small)


def test_more_instances_than_threads_are_refused(small):
    with pytest.raises(UnavailableError, match="3 instances share 2 threads"):
        pipeline.prepare(cell(HERE, load=many(3)), ALL, small)


def test_fewer_streams_than_instances_are_no_silent_matter(prepare, small):
    """OpenVINO makes as many as there are cores, whatever it is asked for."""
    ready = prepare(cell(openvino.CPU))
    asked = backends.Options(precision=Precision.FP32, threads=999, instances=999)
    artifact = loading.build(ready.case, openvino.FORMAT, small)

    with pytest.raises(UnavailableError, match=r"OpenVINO gives \d+ streams on this machine, where 999 instances"):
        openvino.load(artifact, openvino.CPU, asked)


def test_every_device_gets_its_own_instances(prepare):
    loaded = []

    def load(artifact, target, options):
        loaded.append((options.device_id, options.threads))
        return null.load(artifact, target, options)

    own = SimpleNamespace(TARGETS=null.TARGETS, FORMAT=null.FORMAT, NUMBERED=null.TARGETS, load=load)

    ready = prepare(cell(HERE, load=many(device_ids=(0, 3))), {"null": own})

    assert loaded == [(0, 1), (0, 1), (3, 1), (3, 1)]  # two threads shared by two instances
    assert len(ready.others) == 3


def test_instances_that_were_loaded_are_closed_when_one_is_not(small):
    closed = []

    def load(artifact, target, options):
        if closed or load.count:
            raise UnavailableError
        load.count += 1
        session = null.load(artifact, target, options)
        return SimpleNamespace(run=session.run, placement=session.placement, close=lambda: closed.append(True))

    load.count = 0
    own = SimpleNamespace(TARGETS=null.TARGETS, FORMAT=null.FORMAT, load=load)

    with pytest.raises(UnavailableError):
        pipeline.prepare(cell(HERE, load=many()), {"null": own}, small)

    assert closed == [True]


def test_a_copy_of_what_is_handed_over_stands_in_the_boundary(prepare):
    plain, fresh = (prepare(cell(HERE, load=Load(inputs=each))).record.boundary for each in Inputs)

    assert fresh.inside_clock == ("copy of the inputs", *plain.inside_clock)
    assert fresh.digest != plain.digest


def test_the_way_to_the_first_call_is_told_step_by_step(prepare, small):
    record = pipeline.judge(prepare(cell(onnxruntime.CPU)), small)

    steps = {step.name: step.seconds for step in record.cold.steps}
    assert list(steps) == ["import", "program", "onnx", "load", "first"]
    assert all(seconds > 0 for seconds in steps.values())
    assert steps["program"] + steps["onnx"] == pytest.approx(record.cold.build_s)
    assert len(record.cold.calls_s) == 8
    assert record.cold.calls_s[0] == record.cold.first_s


def test_what_a_cell_spends_is_told_by_what_for(prepare, stopwatch, small):
    ready = prepare(cell(HERE))

    record = pipeline.timed(ready, pipeline.judge(ready, small), stopwatch, small)

    assert set(record.spent_s) == {"building", "importing", "loading", "calling", "gating", "timing"}
    assert record.timing.conditions.window_s > 0
    assert record.timing.energy.source


def test_the_reference_cell_takes_turns_with_a_cell(prepare, stopwatch, small, monkeypatch):
    monkeypatch.setattr(pipeline, "GROUPS", 4)
    ready = prepare(cell(onnxruntime.CPU))

    record = pipeline.timed(ready, pipeline.judge(ready, small), stopwatch, small)
    record = pipeline.interleaved(ready, record, ALL, small)

    assert record.paired.reference == "image-shapes_tiny-torch-cpu-fp32"
    arms = (record.paired.reference_s, record.paired.own_s, record.paired.again_s, record.paired.repeated_s)
    assert [len(arm) for arm in arms] == [8, 8, 8, 8]
    assert record.paired.counted in range(pipeline.COUNTED[0], pipeline.COUNTED[1] + 1)


@pytest.mark.parametrize(
    "case",
    [cell(BASELINE), cell(HERE), cell(onnxruntime.CPU, load=many())],
    ids=["itself", "replayed", "loaded"],
)
def test_what_has_nothing_to_be_held_against_takes_no_turns(prepare, stopwatch, small, case):
    ready = prepare(case)
    record = pipeline.timed(ready, pipeline.judge(ready, small), stopwatch, small)

    assert pipeline.interleaved(ready, record, ALL, small) == record


@pytest.mark.parametrize("tower", Tower, ids=["pictures", "captions", "fused"])
def test_unseen_calls_are_like_those_of_the_evaluation_and_none_like_another(shapes, tower):
    fed = shapes.fed
    known = [call.tobytes() for each in fed.calls(tower) for call in each.values()]
    drawn = [next(calls) for calls in [feeds.unseen(fed, tower, 1, seed=5)] for _ in range(40)]

    for name, array in fed.calls(tower)[0].items():
        rows = [call[name] for call in drawn]
        assert {(row.shape, row.dtype) for row in rows} == {(array.shape, array.dtype)}
    whole = [b"".join(call[name].tobytes() for name in sorted(call)) for call in drawn]
    assert len(set(whole)) > 36
    assert len(set(whole) - set(known)) > 36


def test_words_drawn_anew_end_where_those_before_them_ended(shapes):
    drawn = next(feeds.unseen(shapes.fed, Tower.TEXT, 4, seed=1))["tokens"]

    ends = {row.argmax() for row in shapes.fed.tokens}
    assert all(row.argmax() in ends for row in drawn)
    assert all((row[row.argmax() + 1 :] == 0).all() for row in drawn)


def test_a_backend_says_which_targets_hold_their_instances_and_are_many():
    queued = {target for backend in backends.discover().values() for target in getattr(backend, "QUEUED", ())}
    numbered = {target for backend in backends.discover().values() for target in getattr(backend, "NUMBERED", ())}

    assert openvino.CPU in queued
    assert onnxruntime.CPU not in queued | numbered
    assert {str(target) for target in numbered} >= {
        "torch-cuda-gpu",
        "onnxruntime-cuda-gpu",
        "sophon-npu",
        "vastai-npu",
    }
