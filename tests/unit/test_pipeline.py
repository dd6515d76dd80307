"""Which cells there are, and how one is prepared and judged; on the null backend."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clip_bench import backends, pipeline
from clip_bench.backends import null
from clip_bench.data import generated
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import catalog
from clip_bench.specs import Case, Device, Format, Precision, Target, Tower, Variant

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


def ids(settings):
    return [case.id for case in pipeline.matrix(settings, backends.discover())]


def test_the_matrix_is_of_two_models_unless_more_are_asked_for(small):
    chosen = replace(small, models=())

    assert [spec.name for spec in pipeline.models(chosen)] == ["shapes_tiny", "vit_b_32_random"]
    assert [spec.name for spec in pipeline.models(replace(chosen, full=True))] == list(catalog.MODELS)


def test_the_smallest_model_is_measured_whole(small):
    left = set(ids(replace(small, full=True))) - set(ids(small))

    assert all(case.startswith("pair-") and "-emulated-" in case for case in left)


def test_of_a_full_size_model_only_what_is_quick_is_measured(small):
    some, every = (ids(replace(small, models=("vit_b_32_random",), full=full)) for full in (False, True))

    words = ("a16w8", "compiled", "cuda_graphs", "emulated", "numerics")
    slow = [case for case in every if case.startswith("pair-") or any(word in case for word in words)]

    assert some == [case for case in every if case not in slow]
    assert {case.split("-")[0] for case in some} == {"image", "text"}
    assert len(slow) > len(every) / 4


def test_a_model_named_twice_is_measured_once(small):
    assert ids(replace(small, models=("shapes_tiny", "shapes_tiny"))) == ids(small)


def test_two_models_that_ids_cannot_tell_apart_are_refused(small, tmp_path):
    names = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.pt").touch()
        names.append(f"RN50:{tmp_path / folder / 'mine.pt'}")

    with pytest.raises(UsageError, match="2 of the models given would be called rn50_mine"):
        pipeline.models(replace(small, models=tuple(names)))


def test_a_backend_cannot_offer_the_targets_of_another(small):
    thief = SimpleNamespace(TARGETS={Target(backend="null", device=Device.NPU): frozenset({Precision.FP32})})

    with pytest.raises(UsageError, match="the backend acme offers targets of another name, null-npu"):
        list(pipeline.matrix(small, {"acme": thief}))


def test_variants_and_precisions_are_those_that_the_backend_offers(small):
    target, variant = Target(backend="acme", device=Device.NPU), Variant(compiled=True)
    acme = SimpleNamespace(
        TARGETS={target: frozenset({Precision.BF16, Precision.FP32})},
        VARIANTS={target: {variant: frozenset({Precision.BF16})}},
    )

    found = [(case.precision, case.variant) for case in pipeline.matrix(small, {"acme": acme})]

    assert found == [(Precision.FP32, Variant()), (Precision.BF16, Variant()), (Precision.BF16, variant)] * len(Tower)


def test_a_way_to_calibrate_adds_a_cell_for_each_static_one_where_a_recipe_takes_it(small):
    words, static = ("minmax_12", "percentile_200"), {Precision.INT8_QDQ, Precision.A16W8}
    takes, takes_none = (
        SimpleNamespace(TARGETS={Target(backend=name, device=Device.NPU): {Precision.FP32, *static}}, FORMAT=form)
        for name, form in (("acme", Format.ONNX), ("other", Format.RKNN))
    )

    cases = list(pipeline.matrix(replace(small, calibrations=words), {"acme": takes, "other": takes_none}))

    added = [case for case in cases if case.variant.calibration]
    assert {(case.target.backend, case.precision, str(case.variant)) for case in added} == {
        ("acme", precision, word) for precision in static for word in words
    }
    assert len(added) == len(Tower) * len(static) * len(words)


def test_a_device_that_is_not_here_is_known_before_anything_is_built(small, tmp_path):
    here = {HERE: backends.Found(missing="no driver")}
    acme = SimpleNamespace(TARGETS={HERE: frozenset({Precision.FP32})}, devices=lambda _: here, load=None)
    nothing = replace(small, cache=tmp_path / "store")

    with pytest.raises(UnavailableError, match="no driver"):
        pipeline.prepare(CASE, {"null": acme}, nothing)

    assert pipeline.lacking(nothing, {"null": acme})(CASE) == "no driver"
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
    right = pipeline.reference_of(own, TINY).image

    quality = pipeline.quality(CASE, own, {"image_embedding": altered(right)})

    assert quality.failures
    assert np.isfinite([score.value for score in quality.scores]).all()


def test_an_output_that_is_not_there_has_no_score(own):
    quality = pipeline.quality(replace(CASE, tower=Tower.PAIR), own, {"image": np.ones((2, 3), np.float32)})

    assert len(quality.failures) == 3
    assert quality.scores == ()


def test_samples_are_never_more_than_asked_for(own):
    assert len(pipeline.feeds(own, TINY).image) == 8


def test_the_embedded_model_is_evaluated_on_a_thousand_scenes(small):
    fed = pipeline.feeds(replace(small, samples=None), TINY)

    assert len(fed.image) == 2 * pipeline.EMBEDDED_SAMPLES
    assert sum(fed.labels >= 0) == pipeline.EMBEDDED_SAMPLES


def test_nothing_that_is_evaluated_is_calibrated_on(small):
    small = replace(small, samples=None)
    fed, given = pipeline.feeds(small, TINY), pipeline.calibration(small, TINY)

    assert len(given.image) >= pipeline.CALIBRATION_SAMPLES
    assert len(given.tokens) >= pipeline.CALIBRATION_SAMPLES
    assert rows(fed.image) & rows(given.image) == set()
    assert rows(fed.tokens) & rows(given.tokens) == set()


def test_nothing_of_ones_own_data_that_is_evaluated_is_calibrated_on(own):
    fed, given = pipeline.feeds(own, TINY), pipeline.calibration(own, TINY)

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

    right = pipeline.reference_of(products, TINY).image
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

    assert pipeline.scoped(whole, slow).samples == 64
    assert pipeline.scoped(whole, CASE) == whole
    assert pipeline.scoped(replace(small, samples=9), slow).samples == 9


def test_rows_to_calibrate_on_make_a_cell_more_of_each_static_precision(small):
    plain, more = ids(small), ids(replace(small, calibrations=("percentile_12", "entropy_300")))

    added = {word.partition("-")[2] for word in set(more) - set(plain) if "-onnxruntime-cpu-" in word}

    assert added == {
        f"shapes_tiny-onnxruntime-cpu-{precision}-{text}"
        for precision in ("int8_qdq", "a16w8")
        for text in ("percentile_12", "entropy_300")
    }
    assert not [word for word in set(more) - set(plain) if "torch" in word]
    assert [word for word in more if word not in plain and word.startswith("image-shapes_tiny-openvino-cpu")] == [
        "image-shapes_tiny-openvino-cpu-int8_nncf-percentile_12"
    ]
