"""Which cells there are."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from clip_bench import backends, matrix
from clip_bench.errors import UsageError
from clip_bench.models import catalog
from clip_bench.specs import Device, Format, Load, Pattern, Precision, Rewrite, Target, Tower, Variant


def ids(settings):
    return [case.id for case in matrix.cells(settings, backends.discover())]


def test_the_matrix_is_of_two_models_unless_more_are_asked_for(small):
    chosen = replace(small, models=())

    assert [spec.name for spec in matrix.models(chosen)] == ["shapes_tiny", "vit_b_32_random"]
    assert [spec.name for spec in matrix.models(replace(chosen, full=True))] == list(catalog.MODELS)


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
        matrix.models(replace(small, models=tuple(names)))


def test_a_backend_cannot_offer_the_targets_of_another(small):
    thief = SimpleNamespace(TARGETS={Target(backend="null", device=Device.NPU): frozenset({Precision.FP32})})

    with pytest.raises(UsageError, match="the backend acme offers targets of another name, null-npu"):
        list(matrix.cells(small, {"acme": thief}))


def test_targets_that_options_make_need_no_others_and_are_held_to_the_name_too(small):
    def offering(backend):
        made = {Target(backend=backend, device=Device.NPU): frozenset({Precision.FP32})}
        return {"acme": SimpleNamespace(targets=lambda _: made)}

    assert {str(case.target) for case in matrix.cells(small, offering("acme"))} == {"acme-npu"}
    with pytest.raises(UsageError, match="the backend acme offers targets of another name, null-npu"):
        list(matrix.cells(small, offering("null")))


def test_variants_and_precisions_are_those_that_the_backend_offers(small):
    target, variant = Target(backend="acme", device=Device.NPU), Variant(compiled=True)
    acme = SimpleNamespace(
        TARGETS={target: frozenset({Precision.BF16, Precision.FP32})},
        VARIANTS={target: {variant: frozenset({Precision.BF16})}},
    )

    found = [(case.precision, case.variant) for case in matrix.cells(small, {"acme": acme})]

    assert found == [(Precision.FP32, Variant()), (Precision.BF16, Variant()), (Precision.BF16, variant)] * len(Tower)


def test_a_way_to_calibrate_adds_a_cell_for_each_static_one_where_a_recipe_takes_it(small):
    words, static = ("minmax_12", "percentile_200"), {Precision.INT8_QDQ, Precision.A16W8}
    takes, takes_none = (
        SimpleNamespace(TARGETS={Target(backend=name, device=Device.NPU): {Precision.FP32, *static}}, FORMAT=form)
        for name, form in (("acme", Format.ONNX), ("other", Format.RKNN))
    )

    cases = list(matrix.cells(replace(small, calibrations=words), {"acme": takes, "other": takes_none}))

    added = [case for case in cases if case.variant.calibration]
    assert {(case.target.backend, case.precision, str(case.variant)) for case in added} == {
        ("acme", precision, word) for precision in static for word in words
    }
    assert len(added) == len(Tower) * len(static) * len(words)


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


def test_a_rewrite_is_a_cell_beside_the_plain_one_where_tower_and_runtime_take_it(small):
    asked = ((Rewrite.TRIMMED,), (Rewrite.POOLED, Rewrite.FOLDED), (Rewrite.OPTIMISED,))

    plain, more = ids(small), ids(replace(small, rewrites=asked))

    added = {case.partition("-shapes_tiny-")[::2] for case in set(more) - set(plain)}
    assert set(plain) <= set(more)
    assert {case for tower, case in added if tower == "text" and "onnxruntime" in case} == {
        "onnxruntime-cpu-fp32-optimised",
        *(f"onnxruntime-cpu-{precision}-trimmed" for precision in ("fp32", "int8_dynamic", "int8_qdq", "a16w8")),
    }
    assert {case for tower, case in added if tower == "image" and "torch-cpu" in case} == {
        f"torch-cpu-{precision}-pooled-folded" for precision in ("fp32", "bf16", "int8_dynamic")
    }
    assert ("pair", "openvino-cpu-fp32-trimmed") in added
    assert not [case for _, case in added if "null" in case or "-npu-" in case]


def test_every_load_and_every_number_of_samples_is_a_cell_of_its_own(small):
    many = Load(pattern=Pattern.THROUGHPUT, instances=2, queue=1)
    varied = replace(small, loads=(Load(), many), batches=(1, 8))

    plain, every = ids(small), ids(varied)

    timed = [case for case in plain if not {"emulated", "numerics"} & set(case.split("-"))]
    alone = [case for case in timed if not case.startswith("pair-")]
    assert len(every) == len(set(every))
    assert set(plain) <= set(every)
    for words, of in (("batch8", alone), ("throughput-instances2-queue1", timed)):
        assert {f"{case}-{words}" for case in of} <= set(every)
    assert {f"{case}-batch8-throughput-instances2-queue1" for case in alone} <= set(every)


def test_what_is_never_timed_has_no_load(small):
    many = replace(small, loads=(Load(pattern=Pattern.THROUGHPUT),))

    assert not [case for case in ids(many) if "emulated" in case and "throughput" in case]
    assert [case for case in ids(many) if "emulated" in case] == [case for case in ids(small) if "emulated" in case]
