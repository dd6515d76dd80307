"""Generated samples: what each split holds, and that no picture is in two of them."""

import hashlib

import numpy as np
import pytest

from clip_bench.data import NO_LABEL, generated, scenes
from clip_bench.data.scenes import Split


def digests(samples):
    return {picture.sha256 for picture in samples.pictures}


def test_evaluation_has_classes_first_then_captions():
    samples = generated.evaluation(3, 2, 32)

    assert [picture.name for picture in samples.pictures] == [
        "evaluation/1/0",
        "evaluation/1/1",
        "evaluation/1/2",
        "evaluation/3/0",
        "evaluation/3/1",
    ]
    assert samples.labels == (0, 37, 74, NO_LABEL, NO_LABEL)
    assert samples.captions[:3] == ((), (), ())
    assert samples.captions[3:] == tuple((scenes.scene(Split.EVALUATION, index, 3).caption,) for index in range(2))
    assert (samples.classes, samples.prompts) == (scenes.CLASSES, scenes.PROMPTS)
    assert samples.problems == ()


def test_calibration_mixes_one_two_and_three_objects():
    samples = generated.calibration(5, 32)

    assert [picture.name for picture in samples.pictures] == [
        "calibration/1/0",
        "calibration/2/0",
        "calibration/3/0",
        "calibration/1/1",
        "calibration/2/1",
    ]
    assert samples.labels == (0, NO_LABEL, NO_LABEL, 37, NO_LABEL)
    assert [len(captions) for captions in samples.captions] == [1] * 5


def test_a_picture_opens_as_the_pixels_that_its_hash_names():
    picture = generated.evaluation(0, 2, 40).pictures[1]

    shown = picture.open()

    assert (shown.mode, shown.size) == ("RGB", (40, 40))
    assert hashlib.sha256(shown.tobytes()).hexdigest() == picture.sha256
    assert np.array_equal(np.asarray(shown), scenes.render(scenes.scene(Split.EVALUATION, 1, 3), 40))


def test_a_change_to_an_opened_picture_stays_with_it():
    picture = generated.evaluation(1, 0, 32).pictures[0]
    before = picture.open().tobytes()

    picture.open().paste((0, 0, 0), (0, 0, 32, 32))

    assert picture.open().tobytes() == before


def test_the_splits_share_no_picture():
    evaluation = digests(generated.evaluation(100, 60, 32))
    calibration = digests(generated.calibration(160, 32))
    training = {
        scenes.digest([scenes.render(scenes.scene(Split.TRAIN, index // 3, 1 + index % 3), 32)]) for index in range(160)
    }

    assert len(evaluation | calibration | training) == 3 * 160


def test_the_same_request_gives_the_same_hash_on_every_platform():
    assert generated.evaluation(4, 4, 32).sha256 == "bf9a1c11bb1f41e8995e5b1f7c4277910de369f0a651385d07ebba671a100f84"


@pytest.mark.parametrize(
    "request_", [(4, 4, 33), (5, 4, 32), (4, 5, 32), (5, 3, 32)], ids=lambda key: "-".join(map(str, key))
)
def test_another_request_gives_another_hash(request_):
    assert generated.evaluation(*request_).sha256 != generated.evaluation(4, 4, 32).sha256


def test_more_samples_begin_with_the_same_ones():
    few, many = generated.calibration(4, 32), generated.calibration(7, 32)

    assert many.captions[:4] == few.captions
    assert [picture.sha256 for picture in many.pictures[:4]] == [picture.sha256 for picture in few.pictures]
