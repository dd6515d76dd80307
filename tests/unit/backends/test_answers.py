"""What the reference answered is found again by what was asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.backends import Options
from clip_bench.backends import null as backend
from clip_bench.graphs import replay
from clip_bench.specs import Precision, Tower

(TARGET,) = backend.TARGETS
OPTIONS = Options(precision=Precision.FP32, threads=1)
TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]


def build(shapes, tower):
    answers = shapes.reference.outputs(shapes.fed, tower)
    return replay.build(shapes.store, shapes.reference.artifact, tower, shapes.fed.calls(tower), answers)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_call_is_answered_as_the_reference_answered_it(shapes, tower):
    expected = shapes.reference.outputs(shapes.fed, tower)

    session = backend.load(build(shapes, tower), TARGET, OPTIONS)

    found = shapes.answers(session, tower)
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_call_has_a_fingerprint_of_its_own(shapes, tower):
    calls = shapes.fed.calls(tower)
    asked = {b"".join(array.tobytes() for array in call.values()) for call in calls}

    found = {replay.fingerprint(call) for call in calls}

    assert len(found) == len(asked) > 1


@given(place=st.integers(0, 76), length=st.sampled_from([24, 64, 77]))
def test_captions_that_differ_in_one_token_have_different_fingerprints(place, length):
    one = np.arange(length)[np.newaxis]
    other = one.copy()
    other[0, place % length] += 1

    assert replay.fingerprint({"tokens": one}) != replay.fingerprint({"tokens": other})


def test_a_question_that_was_never_asked_has_no_answer(shapes):
    session = backend.load(build(shapes, Tower.IMAGE), TARGET, OPTIONS)

    with pytest.raises(KeyError):
        session.run({"image": shapes.calibration.image[:1]})


def test_nothing_executes_and_the_note_says_so(shapes):
    session = backend.load(build(shapes, Tower.IMAGE), TARGET, OPTIONS)

    where = session.placement()
    session.close()

    assert (where.nodes, where.dtypes) == ({}, {})
    assert "harness overhead" in where.note
    assert {here.missing for here in backend.devices({}).values()} == {""}
