"""Only what is chosen is read, and the choice is the same everywhere."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from clip_bench.data import listing
from clip_bench.data.listing import Entry, Listing
from clip_bench.errors import UsageError


def png(seed):
    stored = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture
def made():
    """A listing of so many pictures, some broken or with the content of the first, and the names that were read."""

    def make(n, broken=(), same=()):
        read = []

        def stored(i):
            read.append(f"{i}.png")
            return b"broken" if i in broken else png(0 if i in same else i)

        entries = tuple(Entry(name=f"{i}.png", stored=partial(stored, i), label=i % 2) for i in range(n))
        return Listing(name="few", entries=entries, expected=n, classes=("cat", "dog")), read

    return make


def names(samples):
    return [picture.name for picture in samples.pictures]


def test_no_more_is_read_than_is_taken(made):
    whole, read = made(500)

    calibration, evaluation = listing.split(whole, 3, 5)

    assert (len(calibration.pictures), len(evaluation.pictures)) == (3, 5)
    assert len(read) == 8
    assert set(names(calibration)).isdisjoint(names(evaluation))


def test_the_choice_depends_on_names_alone(made):
    whole, _ = made(50)
    turned = Listing(name="few", entries=whole.entries[::-1], expected=50, classes=whole.classes)

    assert [sorted(names(part)) for part in listing.split(whole, 4, 6)] == [
        sorted(names(part)) for part in listing.split(turned, 4, 6)
    ]


def test_one_file_more_displaces_at_most_one_of_each(made):
    before, after = (listing.split(made(n)[0], 4, 6) for n in (50, 51))

    for old, new in zip(before, after, strict=True):
        assert len(set(names(old)) - set(names(new))) <= 1


def test_a_broken_file_is_named_and_the_next_one_taken(made):
    whole, _ = made(20)
    first = names(listing.split(whole, 3, 5)[1])
    broken = int(first[0].removesuffix(".png"))

    calibration, evaluation = listing.split(made(20, broken={broken})[0], 3, 5)

    assert len(evaluation.pictures) == 5
    assert set(first) - set(names(evaluation)) == {f"{broken}.png"}
    assert calibration.problems == evaluation.problems
    assert evaluation.problems[0].startswith(f"{broken}.png: no picture of a known format")


def test_equal_content_is_never_in_both(made):
    whole, _ = made(12, same=range(10))

    calibration, evaluation = listing.split(whole, 4, 4)

    contents = [{picture.sha256 for picture in part.pictures} for part in (calibration, evaluation)]
    assert contents[0].isdisjoint(contents[1])
    assert all(contents)


@pytest.mark.parametrize("n", [2, 3, 9])
def test_of_few_pictures_one_is_left_to_calibrate_on(made, n):
    calibration, evaluation = listing.split(made(n)[0], 300, 64)

    assert (len(calibration.pictures), len(evaluation.pictures)) == (1, n - 1)


@pytest.mark.parametrize(
    ("n", "more"), [(1, {}), (3, {"same": range(3)}), (3, {"broken": range(3)})], ids=["one", "same", "broken"]
)
def test_too_few_different_pictures_are_refused(made, n, more):
    with pytest.raises(UsageError, match="need two different pictures"):
        listing.split(made(n, **more)[0], 2, 2)


def test_samples_have_the_rows_of_their_entries(made):
    _, evaluation = listing.split(made(10)[0], 1, 8)

    assert evaluation.labels == tuple(int(name[0]) % 2 for name in names(evaluation))
    assert evaluation.prompts == ("a photo of a cat.", "a photo of a dog.")
    assert names(evaluation) == sorted(names(evaluation))
    assert evaluation.pictures[0].open().size == (4, 4)


def test_many_problems_are_counted_and_a_few_named():
    whole = Listing(name="few", entries=(), expected=50_000, problems=tuple(f"p{i}" for i in range(1007)))

    assert whole.summary() == "few: 50,000 expected, 0 found; 1,007 left out: p0; p1; p2; p3; p4; and 1,002 more"
