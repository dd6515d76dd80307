"""Caption sets in the forms that people download."""

import json

import pytest
from PIL import Image

from clip_bench.data import captioned, captions
from clip_bench.errors import UsageError


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)


@pytest.fixture
def read(tmp_path):
    """A reader of an index with that content, beside pictures a.jpg and b.jpg."""
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / "pictures" / name)

    def reader(content, name="index.json", root="pictures"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return captioned.karpathy(path, tmp_path / root if root else None, "flickr8k")

    return reader


def rows(listing):
    return {entry.name: entry.captions for entry in listing.entries}


def karpathy(name, split="test", **more):
    return {"filename": name, "split": split, "sentences": [{"raw": f"one of {name} ."}, {"raw": "two"}], **more}


def test_the_held_out_part_of_karpathy_is_taken(read):
    listing = read(
        {"dataset": "flickr8k", "images": [karpathy("a.jpg"), karpathy("b.jpg", "train"), karpathy("c.jpg")]}
    )

    assert rows(listing) == {"a.jpg": ("one of a.jpg .", "two")}
    assert listing.summary() == "flickr8k: 2 expected, 1 found; 1 left out: c.jpg: no such file"
    assert listing.entries[0].picture().open().size == (8, 6)


def test_cocos_folders_are_found_with_and_without_their_own(read, tmp_path):
    photo(tmp_path / "val2014" / "d.jpg")
    whole = {"images": [karpathy("d.jpg", filepath="val2014"), karpathy("a.jpg", filepath="val2014")]}

    assert set(rows(read(whole, root=None))) == {"val2014/d.jpg"}
    assert set(rows(read(whole))) == {"val2014/a.jpg"}


def test_cocos_annotations_are_joined_by_number(read):
    told = {
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 8, "file_name": "a.jpg"}, {"id": 9, "file_name": "c.jpg"}],
        "annotations": [{"image_id": 7, "caption": " one\n"}, {"image_id": 7, "caption": "two"}],
    }

    listing = read(told)

    assert rows(listing) == {"b.jpg": ("one", "two")}
    assert listing.expected == 3
    assert listing.problems == ("a.jpg: no caption", "c.jpg: no such file")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param("a.jpg#0\tone\na.jpg#1\ttwo\nb.jpg#0\tthree | four\n", id="token"),
        pytest.param("file\na.jpg#0\tone\na.jpg#1\ttwo\nb.jpg#0\tthree | four\n", id="heading"),
        pytest.param(
            "image_name| comment_number| comment\na.jpg| 0| one\na.jpg| 1| two\nb.jpg| 0| three | four", id="bars"
        ),
        pytest.param('image,caption\na.jpg,one\na.jpg,two\nb.jpg,"three | four"\n', id="table"),
    ],
)
def test_lines_of_flickr_are_read_in_every_form(read, lines):
    listing = read(lines, "captions.txt")

    assert rows(listing) == {"a.jpg": ("one", "two"), "b.jpg": ("three | four",)}
    assert listing.problems == ()


def test_a_line_of_another_form_is_named(read):
    listing = read("a.jpg#0\tone\nb.jpg\ttwo\n../x.jpg#0\tthree\n", "f.token")

    assert listing.problems == ("f.token, line 2: no FILE#N and caption", "'../x.jpg' leaves the data folder")


def test_the_usual_folders_beside_an_index_are_searched(tmp_path):
    photo(tmp_path / "Flicker8k_Dataset" / "a.jpg")
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tone\n")

    listing = captioned.karpathy(tmp_path, None, "flickr8k")

    assert rows(listing) == {"a.jpg": ("one",)}


def test_a_folder_with_two_indices_asks_which(tmp_path):
    (tmp_path / "captions.txt").touch()
    (tmp_path / "dataset_coco.json").touch()

    with pytest.raises(UsageError, match=r"captions\.txt, dataset_coco\.json; name the one file"):
        captioned.karpathy(tmp_path, None, "coco")


def test_an_index_that_cannot_be_opened_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.json: No such file or directory; "):
        captioned.karpathy(tmp_path / "gone.json", None, "coco")


def test_captions_are_known_by_the_name_of_their_file(tmp_path):
    (tmp_path / "captions.txt").write_text("a.jpg,one\n")

    with pytest.raises(UsageError, match=r"captions\.txt: neither JSON nor CSV by its name; "):
        captions.parse(tmp_path / "captions.txt")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="broken"),
        pytest.param("{}", id="no-keys"),
        pytest.param('{"images": 3}', id="number"),
        pytest.param('{"images": [3]}', id="number-row"),
        pytest.param('{"images": [{"filename": "a.jpg", "sentences": [1]}]}', id="number-sentence"),
        pytest.param('{"images": [{"filename": 3, "sentences": [{"raw": "x"}]}]}', id="number-file"),
        pytest.param('{"images": [], "annotations": [{"bbox": 1}]}', id="boxes"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("a.jpg one\n", id="words"),
        pytest.param("gone.jpg#0\tone\n", id="gone"),
    ],
)
def test_an_index_of_another_form_is_one_clear_line(read, content):
    with pytest.raises(UsageError, match=r"accepted: |captions are JSON|--data-root") as told:
        read(content, "captions.txt")

    assert "\n" not in str(told.value)


def test_conceptual_captions_are_local_files(tmp_path):
    photo(tmp_path / "files" / "a.jpg")
    lines = ["caption\tfile", "a cat\tfiles/a.jpg", "a dog\thttp://example.org/b.jpg", "alone", "gone\tc.jpg"]
    (tmp_path / "validation.tsv").write_text("\n".join(lines))

    listing = captioned.conceptual(tmp_path, None)

    assert rows(listing) == {"files/a.jpg": ("a cat",)}
    assert listing.problems == (
        "validation.tsv, line 3: a URL, and nothing is fetched: name a local file",
        "validation.tsv, line 4: no caption and file",
        "c.jpg: no such file",
    )
