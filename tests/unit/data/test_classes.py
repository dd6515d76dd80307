"""The names and templates that CLIP's users know."""

import pytest

from clip_bench.data import classes
from clip_bench.data.folders import TEMPLATE


@pytest.mark.parametrize(
    ("data", "names", "templates"), [("imagenet", 1000, 80), ("cifar100", 100, 18)], ids=["a", "b"]
)
def test_there_are_as_many_as_published(data, names, templates):
    known = classes.of(data)

    assert len(known.names) == names
    assert len(known.templates) == templates
    assert known.templates[0] == TEMPLATE
    assert all(template.count("{}") == 1 for template in known.templates)


def test_wnids_are_in_the_order_of_their_classes():
    known = classes.of("imagenet")

    assert list(known.wnids) == sorted(set(known.wnids))
    assert len(known.wnids) == 1000
    assert known.names[known.wnids.index("n02012849")] == "crane bird"
    assert known.names[known.wnids.index("n03126707")] == "construction crane"


def test_they_are_those_of_open_clip():
    metadata = pytest.importorskip("open_clip.zero_shot_metadata", reason="needs open_clip, whose lists these are")
    known = classes.of("imagenet")

    assert list(known.names) == list(metadata.IMAGENET_CLASSNAMES)
    assert set(known.templates) == {make("{}") for make in metadata.OPENAI_IMAGENET_TEMPLATES}


def test_a_name_of_two_classes_finds_neither():
    numbers = classes.of("imagenet").numbers()

    assert (numbers["tench"], numbers["n01440764"]) == (0, 0)
    assert "sunglasses" not in numbers
    assert numbers["n04356056"] == 837
