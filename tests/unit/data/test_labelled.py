"""Data sets of classes, as they lie on a disk: what is there is used, what is not is counted."""

import pickle

import numpy as np
import pytest
from PIL import Image

from clip_bench.data import labelled
from clip_bench.errors import UsageError

TENCH, GOLDFISH, SUNGLASS = "n01440764", "n01443537", "n04355933"


def photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def rows(listing):
    return [(entry.name, entry.label) for entry in listing.entries]


@pytest.fixture
def validation(tmp_path):
    """Two classes by wnid, one by name, and what does not belong there."""
    root = tmp_path / "val"
    photo(root / TENCH / "b.JPEG", 1)
    photo(root / TENCH / "a.JPEG", 2)
    photo(root / GOLDFISH / "c.JPEG", 3)
    photo(root / "great_white_shark" / "d.JPEG", 4)
    photo(root / "sunglasses" / "e.JPEG", 5)
    photo(root / "unicorn" / "f.JPEG", 6)
    (root / SUNGLASS).mkdir()
    (root / "notes.txt").write_text("x")
    (root / ".DS_Store").write_text("x")
    return root


def test_folders_are_classes_by_wnid_or_name(validation):
    listing = labelled.imagenet(validation, None)

    assert rows(listing) == [
        ("great_white_shark/d.JPEG", 2),
        (f"{TENCH}/a.JPEG", 0),
        (f"{TENCH}/b.JPEG", 0),
        (f"{GOLDFISH}/c.JPEG", 1),
    ]
    assert len(listing.classes) == 1000
    assert listing.problems == (
        f"{SUNGLASS}: no file",
        "notes.txt: in no class folder",
        "sunglasses: the folder of no one class",
        "unicorn: the folder of no one class",
    )
    assert listing.summary().startswith("imagenet: 50,000 expected, 4 found; 4 left out: ")


def test_a_list_of_files_has_a_label_in_each_line(tmp_path):
    photo(tmp_path / "data" / "val" / "a b.JPEG")
    photo(tmp_path / "data" / "val" / "c.JPEG")
    lines = ["val/a b.JPEG 0", "val/c.JPEG\t1", f"./val/c.JPEG {SUNGLASS}", "val/gone.JPEG 3", "val/c.JPEG 1000"]
    lines += ["../secret.JPEG 1", "val/c.JPEG"]
    (tmp_path / "list.txt").write_text("\ufeff" + "\n".join(lines) + "\n\n", encoding="utf-8")

    listing = labelled.imagenet(tmp_path / "list.txt", tmp_path / "data")

    assert rows(listing) == [("val/a b.JPEG", 0), ("val/c.JPEG", 1), ("val/c.JPEG", 836)]
    assert listing.problems == (
        "val/gone.JPEG: no such file",
        "val/c.JPEG: no class is called '1000'",
        "'../secret.JPEG' leaves the data folder",
        "val/c.JPEG: no label",
    )


def test_files_lie_beside_their_list_unless_told_otherwise(tmp_path):
    photo(tmp_path / "a.JPEG")
    (tmp_path / "list.txt").write_text("a.JPEG 7\n")

    assert rows(labelled.imagenet(tmp_path / "list.txt", None)) == [("a.JPEG", 7)]


def test_nothing_is_opened_before_it_is_asked_for(validation):
    (validation / TENCH / "a.JPEG").write_bytes(b"no picture")

    first, broken = labelled.imagenet(validation, None).entries[:2]

    assert first.picture().open().size == (32, 24)
    with pytest.raises(UsageError, match=f"^{TENCH}/a.JPEG: no picture of a known format"):
        broken.picture()


def test_a_split_of_the_small_set_has_the_classes_that_are_in_it(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "b.jpg")
    (tmp_path / "test.csv").write_text(f"filename,label\na.jpg,{GOLDFISH}\nb.jpg,{TENCH}\nc.jpg,{TENCH}\n")

    listing = labelled.mini_imagenet(tmp_path / "test.csv", None)

    assert rows(listing) == [("a.jpg", 1), ("b.jpg", 0)]
    assert listing.classes == ("tench", "goldfish")
    assert listing.entries[0].picture().name == "a.jpg"
    assert listing.summary() == "mini_imagenet: 3 expected, 2 found; 1 left out: c.jpg: no such file"


def test_the_small_set_may_be_folders(tmp_path):
    photo(tmp_path / GOLDFISH / "a.jpg")
    photo(tmp_path / TENCH / "b.jpg")

    listing = labelled.mini_imagenet(tmp_path, None)

    assert rows(listing) == [(f"{TENCH}/b.jpg", 0), (f"{GOLDFISH}/a.jpg", 1)]
    assert (listing.classes, listing.expected) == (("tench", "goldfish"), 60_000)


@pytest.fixture
def cifar():
    """Two pictures as CIFAR keeps them: planes of 32 × 32, red first."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    return pixels, {
        b"data": pixels.reshape(2, -1),
        b"fine_labels": [0, 99],
        b"coarse_labels": [4, 9],
        b"filenames": [b"a.png", b"b.png"],
    }


def test_pictures_come_out_of_the_pickle_as_they_are(tmp_path, cifar):
    pixels, whole = cifar
    home = tmp_path / "cifar-100-python"
    home.mkdir()
    (home / "test").write_bytes(pickle.dumps(whole, protocol=2))

    for place in (tmp_path, home, home / "test"):
        listing = labelled.cifar100(place, None)

        assert rows(listing) == [("test/00000-a.png", 0), ("test/00001-b.png", 99)]
        assert (listing.classes[0], listing.classes[99]) == ("apple", "worm")
        shown = np.asarray(listing.entries[1].picture().open())
        assert shown.tolist() == pixels[1].transpose(1, 2, 0).tolist()
        assert listing.summary() == "cifar100: 10,000 expected, 2 found"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({b"data": np.zeros((2, 5), np.uint8)}, "no data of rows of 3072 bytes", id="width"),
        pytest.param({b"data": [1, 2]}, "no data of rows", id="list"),
        pytest.param({b"fine_labels": [1]}, "2 pictures have not as many fine_labels", id="few-labels"),
        pytest.param({b"fine_labels": [100, -1]}, "no class has the number 100", id="label"),
        pytest.param({b"fine_labels": ["a", True]}, "no class has the number 'a'", id="words"),
    ],
)
def test_a_pickle_of_another_kind_says_so(tmp_path, cifar, change, said):
    (tmp_path / "test").write_bytes(pickle.dumps({**cifar[1], **change}, protocol=2))

    with pytest.raises(UsageError, match=said):
        labelled.cifar100(tmp_path / "test", None)


def test_cifar_may_be_folders(tmp_path):
    photo(tmp_path / "aquarium_fish" / "a.png")
    photo(tmp_path / "worm" / "b.png")

    assert rows(labelled.cifar100(tmp_path, None)) == [("aquarium_fish/a.png", 1), ("worm/b.png", 99)]


@pytest.mark.parametrize("read", [labelled.imagenet, labelled.mini_imagenet, labelled.cifar100], ids=["a", "b", "c"])
def test_an_empty_folder_says_what_was_expected(tmp_path, read):
    with pytest.raises(UsageError, match=r"0 found.*docs/data\.md"):
        read(tmp_path, None)


def test_a_list_that_is_no_words_says_so(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\xd8")

    with pytest.raises(UsageError, match=r"list\.txt: no text in UTF-8"):
        labelled.imagenet(tmp_path / "list.txt", None)


def test_a_table_without_the_columns_says_so(tmp_path):
    (tmp_path / "test.csv").write_text("file,class\na,b\n")

    with pytest.raises(UsageError, match="columns file, class; mini-ImageNet's are filename and label"):
        labelled.mini_imagenet(tmp_path / "test.csv", None)
