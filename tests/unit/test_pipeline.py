"""Which cells there are, and how one is prepared and judged; on the null backend."""

import logging
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clip_bench import backends, evaluation, matrix, pipeline
from clip_bench.backends import null
from clip_bench.data import generated
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import catalog
from clip_bench.specs import BASELINE, Case, Device, Precision, Rewrite, Tower, Variant

NULL = {"null": null}
(HERE,) = null.TARGETS
TINY = catalog.find("shapes_tiny")
CASE = Case(model=TINY, tower=Tower.IMAGE, target=HERE, precision=Precision.FP32)


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """Twelve pictures in class folders, without captions."""
    folder = tmp_path_factory.mktemp("classes")
    samples = generated.evaluation(12, 0, 64)
    for i, picture in enumerate(samples.pictures):
        path = folder / samples.classes[samples.labels[i]] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        picture.open().save(path)
    return folder


@pytest.fixture
def own(small, classes):
    """Settings for that data: quick, and a reference is made in no time."""
    return replace(small, data=classes)


def rows(array):
    return {row.tobytes() for row in array}


def test_a_device_that_is_not_here_is_known_before_anything_is_built(small, tmp_path):
    here = {HERE: backends.Found(missing="no driver")}
    acme = SimpleNamespace(TARGETS={HERE: frozenset({Precision.FP32})}, devices=lambda _: here, load=None)
    nothing = replace(small, cache=tmp_path / "store")

    with pytest.raises(UnavailableError, match="no driver"):
        pipeline.prepare(CASE, {"null": acme}, nothing)

    assert matrix.lacking(nothing, {"null": acme})(CASE) == "no driver"
    assert not nothing.cache.exists()


def test_a_session_whose_placement_cannot_be_told_is_closed(own):
    closed = []

    def placement():
        raise UsageError

    session = SimpleNamespace(placement=placement, close=lambda: closed.append(True))
    acme = SimpleNamespace(TARGETS=null.TARGETS, FORMAT=null.FORMAT, load=lambda *_: session)

    with pytest.raises(UsageError):
        pipeline.prepare(CASE, {"null": acme}, own)

    assert closed == [True]


@pytest.mark.parametrize("tower", Tower, ids=["pictures", "captions", "fused"])
def test_the_references_own_answers_pass(own, tower):
    prepared = pipeline.prepare(replace(CASE, tower=tower), NULL, own)

    judged = pipeline.judge(prepared, own)

    assert judged.quality.failures == ()
    assert min(each.minimum for each in judged.quality.similarity) == pytest.approx(1)
    assert judged.cold.first_s > 0


def test_a_call_is_fed_at_its_own_length_and_timed_at_the_commonest(own):
    plain, cut = (
        replace(CASE, target=BASELINE, tower=Tower.TEXT, variant=Variant(rewrites=rewrites))
        for rewrites in ((), (Rewrite.TRIMMED,))
    )
    whole, prepared = (pipeline.prepare(case, backends.discover(), own) for case in (plain, cut))

    judged = pipeline.judge(prepared, own)

    ends = evaluation.feeds(own, TINY).tokens.argmax(axis=1) + 1
    boundary = judged.boundary
    assert [call["tokens"].shape[1] for call in prepared.calls] == ends.tolist()
    assert boundary.lengths == tuple(sorted(set(ends.tolist())))
    assert {call["tokens"].shape[1] for call in prepared.rotated} == {boundary.sequence}
    assert list(ends).count(boundary.sequence) == max(list(ends).count(each) for each in ends)
    assert judged.quality.failures == ()
    assert (whole.record.boundary.sequence, whole.record.boundary.lengths) == (TINY.context, ())
    assert boundary.digest != whole.record.boundary.digest
    assert judged.work.flops < whole.record.work.flops / 2


def test_pictures_come_as_pixels_where_the_graph_normalises(own):
    case = replace(CASE, target=BASELINE, variant=Variant(rewrites=(Rewrite.POOLED, Rewrite.FOLDED)))

    prepared = pipeline.prepare(case, backends.discover(), own)

    assert pipeline.judge(prepared, own).quality.failures == ()
    assert {str(call["image"].dtype) for call in prepared.calls} == {prepared.record.boundary.pixels} == {"uint8"}
    assert prepared.record.boundary.rewrites == ("pooled", "folded")


def test_unseen_calls_are_as_long_as_those_that_are_timed(own):
    case = replace(CASE, tower=Tower.TEXT, variant=Variant(rewrites=(Rewrite.TRIMMED,)))
    timed = {call["tokens"].shape for call in evaluation.usual(evaluation.calls(own, case))}

    drawn = list(islice(evaluation.unseen(own, case, seed=3), 20))

    assert {call["tokens"].shape for call in drawn} == timed
    assert len({call["tokens"].tobytes() for call in drawn}) > 1


@pytest.mark.parametrize(
    "altered",
    [
        lambda right: np.roll(right, 1, axis=0),
        lambda right: right * np.nan,
        lambda right: right[:-1],
        lambda right: -right,
        lambda right: right.astype(int),
        np.ones_like,
    ],
    ids=["moved", "nans", "fewer", "negated", "whole_numbers", "constants"],
)
def test_altered_answers_fail_and_leave_finite_figures(own, altered):
    right = evaluation.reference_of(own, TINY).image

    quality = evaluation.quality(CASE, own, {"image_embedding": altered(right)})

    assert quality.failures
    assert np.isfinite([score.value for score in quality.scores]).all()


def test_an_output_that_is_not_there_has_no_score(own):
    quality = evaluation.quality(replace(CASE, tower=Tower.PAIR), own, {"image": np.ones((2, 3), np.float32)})

    assert len(quality.failures) == 3
    assert quality.scores == ()


def test_samples_are_never_more_than_asked_for(own):
    assert len(evaluation.feeds(own, TINY).image) == 8


def test_the_embedded_model_is_evaluated_on_a_thousand_scenes(small):
    fed = evaluation.feeds(replace(small, samples=None), TINY)

    assert len(fed.image) == 2 * evaluation.EMBEDDED_SAMPLES
    assert sum(fed.labels >= 0) == evaluation.EMBEDDED_SAMPLES


def test_nothing_that_is_evaluated_is_calibrated_on(small):
    small = replace(small, samples=None)
    fed, given = evaluation.feeds(small, TINY), evaluation.calibration(small, TINY)

    assert len(given.image) >= evaluation.CALIBRATION_SAMPLES
    assert len(given.tokens) >= evaluation.CALIBRATION_SAMPLES
    assert rows(fed.image) & rows(given.image) == set()
    assert rows(fed.tokens) & rows(given.tokens) == set()


def test_nothing_of_ones_own_data_that_is_evaluated_is_calibrated_on(own):
    fed, given = evaluation.feeds(own, TINY), evaluation.calibration(own, TINY)

    assert len(given.image) == 4
    assert len(given.tokens) > 0
    assert rows(fed.image) & rows(given.image) == set()
    assert rows(fed.tokens) & rows(given.tokens) == set()


def test_pictures_on_one_background_are_answered_each_by_its_own(small, tmp_path):
    """A photo of a product stands on white: two may differ in their middle alone."""
    for i in range(12):
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste(Image.new("RGB", (9, 9), (20 * i, 255 - 20 * i, 60)), (30, 30))
        (tmp_path / f"class_{i % 3}").mkdir(exist_ok=True)
        picture.save(tmp_path / f"class_{i % 3}" / f"{i}.png")
    products = replace(small, data=tmp_path)

    answered = pipeline.prepare(CASE, NULL, products)

    right = evaluation.reference_of(products, TINY).image
    given = [answered.session.run(call)["image_embedding"] for call in answered.calls]
    assert len(rows(right)) == 8
    np.testing.assert_array_equal(np.concatenate(given), right)


def test_equal_cells_have_one_boundary_and_unlike_ones_another(own):
    first, again, fewer, other = (
        pipeline.prepare(replace(CASE, tower=tower), NULL, settings).record.boundary.digest
        for tower, settings in (
            (Tower.IMAGE, own),
            (Tower.IMAGE, own),
            (Tower.IMAGE, replace(own, samples=7)),
            (Tower.TEXT, own),
        )
    )
    threads = pipeline.prepare(CASE, NULL, replace(own, threads=1)).record.boundary

    assert first == again
    assert len({first, fewer, other, threads.digest}) == 4
    assert replace(threads, threads=2).digest == first
    assert replace(threads, recipe="another").digest != threads.digest


def test_an_emulator_gets_few_samples_unless_told_otherwise(small):
    whole = replace(small, samples=None)
    slow = replace(CASE, target=replace(HERE, device=Device.EMULATED))

    assert evaluation.scoped(whole, slow).samples == 64
    assert evaluation.scoped(whole, CASE) == whole
    assert evaluation.scoped(replace(small, samples=9), slow).samples == 9


def test_a_device_and_its_emulator_are_calibrated_on_the_same_rows(small):
    few, whole = (evaluation.calibration(replace(small, samples=n), TINY) for n in (8, None))

    assert few.sha256 == whole.sha256


def test_the_begin_of_each_step_is_told_and_nothing_while_the_clock_runs(own, caplog):
    class Clock:
        """What is used of the benchmark fixture; it tells its own begin and end among the steps."""

        def __init__(self):
            self.extra_info, self.stats = {}, None

        def pedantic(self, target, *, setup, rounds, warmup_rounds, **_):
            steps.info("clock begins")
            for _ in range(warmup_rounds + rounds):
                arguments, keywords = setup()
                target(*arguments, **keywords)
            self.stats = {"data": [1e-3] * rounds}
            steps.info("clock ends")

    steps = logging.getLogger("clip_bench.steps")
    with caplog.at_level(logging.DEBUG, logger="clip_bench"):
        prepared = pipeline.prepare(CASE, NULL, own)
        pipeline.timed(prepared, pipeline.judge(prepared, own), Clock(), own)

    told = [message.getMessage() for message in caplog.records if message.levelno <= logging.INFO]
    told = [step for index, step in enumerate(told) if step != told[index - 1] and not step.startswith("making")]
    assert told == [
        *("building", "importing", "loading", "calling", "gating", "timing"),
        *("clock begins", "clock ends", "calling"),
    ]


@pytest.mark.parametrize("tower", Tower, ids=["first", "second", "both"])
@pytest.mark.parametrize("device", [Device.CPU, Device.EMULATED], ids=["fast", "slow"])
def test_what_a_cell_is_fed_is_what_the_reference_was_however_few_samples(small, tower, device):
    settings = replace(small, samples=None)
    case = replace(CASE, tower=tower, target=replace(HERE, device=device))
    calls = evaluation.calls(evaluation.scoped(settings, case), case)

    assert evaluation.misfed(settings, case, calls) == ()
    assert {failure.gate for failure in evaluation.misfed(settings, case, calls[::-1])} == {"feeds"}
