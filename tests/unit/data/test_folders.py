"""The user's pictures: whatever lies in a folder is used, or named with the reason."""

import csv
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_bench.data import NO_LABEL, Picture, assemble, folders
from clip_bench.errors import UsageError


def photo(path, seed=0, **options):
    """A small picture with noise at *path*; its kind is the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def told(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def names(samples):
    return [picture.name for picture in samples.pictures]


@pytest.fixture
def animals(tmp_path):
    """Two classes, three good pictures."""
    root = tmp_path / "animals"
    photo(root / "house_cat" / "b.png", 1)
    photo(root / "house_cat" / "a.jpg", 2)
    photo(root / "dog" / "young" / "c.jpg", 3)
    return root


@pytest.fixture
def captioned(tmp_path):
    """Two pictures beside captions.json."""
    root = tmp_path / "captioned"
    photo(root / "a.jpg", 1)
    photo(root / "far" / "b.png", 2)
    told(
        root / "captions.json",
        [{"file": "far/b.png", "captions": ["one", "two"]}, {"file": "a.jpg", "caption": "three"}],
    )
    return root


def test_each_folder_is_a_class_and_its_pictures_may_lie_deeper(animals):
    samples = folders.read(animals)

    assert names(samples) == ["dog/young/c.jpg", "house_cat/a.jpg", "house_cat/b.png"]
    assert samples.labels == (0, 1, 1)
    assert samples.classes == ("dog", "house cat")
    assert samples.prompts == ("a photo of a dog.", "a photo of a house cat.")
    assert samples.captions == ((), (), ())
    assert samples.name == "animals"
    assert samples.problems == ()


def test_folders_of_one_name_are_one_class(animals):
    photo(animals / "house cat" / "d.png")

    samples = folders.read(animals)

    assert samples.classes == ("dog", "house cat")
    assert samples.labels == (0, 1, 1, 1)


def test_hidden_files_are_passed_over(animals):
    (animals / ".DS_Store").write_bytes(b"x")
    (animals / "dog" / "._c.jpg").write_bytes(b"x")
    photo(animals / ".git" / "e.png")

    assert folders.read(animals).problems == ()


def test_a_picture_is_known_by_the_hash_of_its_file(animals):
    picture = folders.read(animals).pictures[1]

    assert picture.sha256 == hashlib.sha256((animals / "house_cat" / "a.jpg").read_bytes()).hexdigest()


def test_the_same_files_elsewhere_have_the_same_hash(animals):
    before = folders.read(animals)

    after = folders.read(animals.rename(animals.with_name("moved")))

    assert after.sha256 == before.sha256
    assert after.name == "moved"


def test_bad_files_are_named_and_the_others_used(animals):
    whole = (animals / "house_cat" / "a.jpg").read_bytes()
    (animals / "dog" / "cut.jpg").write_bytes(whole[:-200])
    (animals / "dog" / "letter.jpg").write_text("not a picture")
    (animals / "dog" / "void.png").touch()
    (animals / "readme.md").write_text("about")
    (animals / "wolf").mkdir()

    samples = folders.read(animals)

    assert names(samples) == ["dog/young/c.jpg", "house_cat/a.jpg", "house_cat/b.png"]
    assert samples.classes == ("dog", "house cat")
    said = dict(problem.split(": ", 1) for problem in samples.problems)
    assert list(said) == ["dog/cut.jpg", "dog/letter.jpg", "dog/void.png", "readme.md", "wolf"]
    assert "truncated" in said["dog/cut.jpg"]
    assert "no picture of a known format" in said["dog/letter.jpg"]
    assert "no picture of a known format" in said["dog/void.png"]
    assert said["readme.md"] == "not in a class folder"
    assert said["wolf"] == "no usable picture, so no class"


def test_what_would_wait_forever_or_fill_the_memory_is_named(animals):
    os.mkfifo(animals / "dog" / "pipe.jpg")
    Image.new("L", (1, 65)).save(animals / "dog" / "thin.png")
    Image.new("L", (1, 64)).save(animals / "dog" / "usable.png")
    (animals / "dog" / "vast.jpg").touch()
    os.truncate(animals / "dog" / "vast.jpg", folders.LARGEST + 1)

    samples = folders.read(animals)

    assert "dog/usable.png" in names(samples)
    assert dict(problem.split(": ", 1) for problem in samples.problems) == {
        "dog/pipe.jpg": "no regular file",
        "dog/thin.png": "1 × 65 pixels: one side is more than 64 times the other: cut it",
        "dog/vast.jpg": f"{folders.LARGEST + 1} bytes: more than {folders.LARGEST} are not read",
    }


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_a_picture_opens_as_stored(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    stored = Image.new(mode, (7, 5), 1)
    photo(tmp_path / "x" / "a.png")
    (tmp_path / "y").mkdir()
    stored.save(tmp_path / "y" / f"b.{suffix}")

    shown = folders.read(tmp_path).pictures[1].open()

    assert (shown.mode, shown.size) == (mode, (7, 5))
    assert suffix == "jpg" or shown.tobytes() == stored.tobytes()


def test_sixteen_bits_of_grey_keep_their_values(animals):
    Image.fromarray(np.array([[0, 300, 65535]], dtype=np.uint16)).save(animals / "dog" / "a.png")

    shown = folders.read(animals).pictures[0].open()

    assert np.asarray(shown).tolist() == [[0, 300, 65535]]


def test_a_rotation_mark_is_kept_for_the_transform(animals):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(animals / "dog" / "turned.jpg", exif=exif)

    shown = folders.read(animals).pictures[0].open()

    assert shown.size == (32, 24)
    assert shown.getexif()[0x0112] == 6


def test_opening_leaves_no_file_open(animals):
    picture = folders.read(animals).pictures[0]

    first, second = picture.open(), picture.open()
    (animals / picture.name).unlink()

    assert first.tobytes() == second.tobytes()
    with pytest.raises(FileNotFoundError):
        picture.open()


def test_a_picture_too_large_to_trust_is_a_problem(animals, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 32 - 1)
    Image.new("L", (4, 4)).save(animals / "dog" / "small.png")
    Image.new("L", (4, 4)).save(animals / "house_cat" / "small.png")

    samples = folders.read(animals)

    assert names(samples) == ["dog/small.png", "house_cat/small.png"]
    assert len(samples.problems) == 3
    assert all("decompression bomb" in problem for problem in samples.problems)


@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"]), st.data())
def test_a_damaged_file_is_usable_or_named_never_fatal(tmp_path_factory, kind, data):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((9, 9)).save(buffer, kind)
    damaged = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    root = tmp_path_factory.mktemp("damaged")
    (root / "a").write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])

    good, bad = folders._gather(root, ["a"])

    assert len(good) + len(bad) == 1
    assert all(problem.startswith("a: ") and str(root) not in problem and "\n" not in problem for problem in bad)
    assert all(picture.open().size[0] > 0 for picture in good)


def test_captions_keep_the_sequence_of_their_file(captioned):
    samples = folders.read(captioned)

    assert names(samples) == ["far/b.png", "a.jpg"]
    assert samples.captions == (("one", "two"), ("three",))
    assert samples.labels == (NO_LABEL, NO_LABEL)
    assert (samples.classes, samples.prompts, samples.problems) == ((), (), ())
    assert samples.name == "captioned"
    assert samples == folders.read(captioned / "captions.json")


@pytest.mark.parametrize("key", ["file", "image", "filename"], ids=["file", "picture", "filename"])
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_the_usual_words_for_a_file_are_known(tmp_path, kind, key):
    photo(tmp_path / "a.png")
    rows = [{key: "a.png", "caption": "one"}, {key: "./a.png", "caption": " two, or more "}]
    if kind == "json":
        told(tmp_path / "told.json", rows)
    else:
        with (tmp_path / "told.CSV").open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, [key, "caption"])
            writer.writeheader()
            writer.writerows(rows)

    samples = folders.read(tmp_path)

    assert names(samples) == ["a.png"]
    assert samples.captions == (("one", "two, or more"),)


def test_a_caption_that_says_none_or_na_is_a_caption(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "told.csv").write_text("file,caption\na.png,NA\na.png,None\n")

    assert folders.read(tmp_path).captions == (("NA", "None"),)


def test_a_file_name_written_on_windows_is_found_everywhere(captioned):
    told(captioned / "captions.json", [{"file": "far\\b.png", "caption": "one"}])

    assert names(folders.read(captioned)) == ["far/b.png"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        pytest.param({"file": "gone.jpg", "caption": "x"}, "gone.jpg: ", id="missing"),
        pytest.param({"file": "far", "caption": "x"}, "far: ", id="folder"),
        pytest.param({"file": "a\0.jpg", "caption": "x"}, "a\0.jpg: ", id="zero-byte"),
        pytest.param({"file": "a.jpg", "captions": []}, "captions.json, row 2: a.jpg: no caption", id="no-caption"),
        pytest.param({"file": "a.jpg", "caption": " "}, "captions.json, row 2: a.jpg: no caption", id="blank"),
        pytest.param({"file": "a.jpg", "captions": [1]}, "captions.json, row 2: a.jpg: captions that", id="number"),
        pytest.param({"caption": "x"}, "captions.json, row 2: no file", id="no-file"),
        pytest.param({"file": 3, "caption": "x"}, "captions.json, row 2: no file", id="file-number"),
        pytest.param("a.jpg", "captions.json, row 2: no file", id="no-row"),
        pytest.param({"file": "../a.jpg", "caption": "x"}, "captions.json, row 2: '../a.jpg' leaves", id="above"),
        pytest.param({"file": "far/../../a.jpg", "caption": "x"}, "captions.json, row 2: 'far/", id="roundabout"),
        pytest.param({"file": "..\\a.jpg", "caption": "x"}, "captions.json, row 2: ", id="backslash"),
        pytest.param({"file": "/etc/a.jpg", "caption": "x"}, "captions.json, row 2: '/etc", id="absolute"),
        pytest.param({"file": "C:a.jpg", "caption": "x"}, "captions.json, row 2: 'C:", id="drive"),
        pytest.param({"file": "\\\\host\\share\\a.jpg", "caption": "x"}, "captions.json, row 2: ", id="share"),
    ],
)
def test_a_bad_row_is_named_and_the_others_used(captioned, row, problem):
    photo(captioned.parent / "a.jpg")
    told(captioned / "captions.json", [{"file": "far/b.png", "caption": "good"}, row])

    samples = folders.read(captioned)

    assert names(samples) == ["far/b.png"]
    assert len(samples.problems) == 1
    assert samples.problems[0].startswith(problem)
    assert str(captioned) not in samples.problems[0]


def test_an_unquoted_comma_in_a_caption_is_a_problem_not_a_cut_caption(captioned):
    (captioned / "captions.json").unlink()
    (captioned / "told.csv").write_text("file,caption\na.jpg,a cat, asleep\nfar/b.png,fine\n")

    samples = folders.read(captioned)

    assert names(samples) == ["far/b.png"]
    assert samples.problems == (
        "told.csv, line 2: a.jpg: more fields than columns: put a caption with commas in quotes",
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("told.json", "[{", id="broken-json"),
        pytest.param("told.json", "{}", id="json-object"),
        pytest.param("told.json", "[]", id="no-rows"),
        pytest.param("told.json", "[" * 100_000, id="deep-json"),
        pytest.param("told.json", '[{"file": "gone.jpg", "caption": "x"}]', id="no-picture"),
        pytest.param("told.csv", "", id="no-csv"),
        pytest.param("told.csv", "a.png,one\n", id="no-header"),
        pytest.param("told.csv", 'file,caption\na.png,"one\n', id="open-quote"),
        pytest.param("told.md", "# captions", id="another-kind"),
    ],
)
def test_an_unusable_caption_file_says_what_is_accepted(tmp_path, name, content):
    photo(tmp_path / "a.png")
    (tmp_path / name).write_text(content)

    with pytest.raises(UsageError, match=r'captions are JSON \[\{"file"') as caught:
        folders.read(tmp_path / name)

    assert "\n" not in str(caught.value)


def test_captions_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "told.csv").write_bytes("file,caption\na.png,café\n".encode("latin-1"))

    with pytest.raises(UsageError, match="utf-8"):
        folders.read(tmp_path)


def test_two_caption_files_need_a_choice(captioned):
    told(captioned / "more.json", [{"file": "a.jpg", "caption": "other"}])

    with pytest.raises(UsageError, match=r"captions\.json, more\.json; name one"):
        folders.read(captioned)

    assert folders.read(captioned / "more.json").captions == (("other",),)


def test_a_folder_without_captions_is_no_caption_set(animals):
    with pytest.raises(UsageError, match="no JSON or CSV"):
        folders.caption_set(animals)


def test_nothing_at_the_path_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder; accepted: a folder of class folders"):
        folders.read(tmp_path / "gone")


def test_pictures_without_class_folders_are_refused(tmp_path):
    photo(tmp_path / "a.png")

    with pytest.raises(UsageError, match=r"0 classes .*1 problems, the first: a\.png: not in a class folder"):
        folders.read(tmp_path)


def test_a_single_class_is_refused_because_every_answer_would_be_right(tmp_path):
    photo(tmp_path / "photos" / "a.png")

    with pytest.raises(UsageError, match="1 classes with a usable picture; accepted"):
        folders.read(tmp_path)


def drawn(hashes):
    """Samples of pictures that are never opened, one per hash."""
    return assemble(
        "drawn", [(Picture(name=str(i), sha256=h, open=Image.Image), NO_LABEL, ()) for i, h in enumerate(hashes)]
    )


def hashes(samples):
    return [picture.sha256 for picture in samples.pictures]


few = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=12).filter(lambda keys: len(set(keys)) > 1)


@given(few, st.integers(0, 9), st.integers(0, 9))
def test_the_parts_share_no_content_and_are_no_larger_than_asked(keys, calibration, evaluation):
    left, right = folders.split(drawn(keys), calibration, evaluation)

    assert not set(hashes(left)) & set(hashes(right))
    assert len(hashes(left)) <= calibration
    assert len(hashes(right)) <= evaluation
    assert bool(hashes(left)) == bool(calibration)
    assert bool(hashes(right)) == bool(evaluation)


@given(st.sets(st.integers(0, 99), min_size=6, max_size=20), st.integers(0, 99))
def test_a_new_picture_displaces_at_most_one_of_each_part(keys, new):
    before = folders.split(drawn([f"{key:02}" for key in keys]), 3, 3)

    after = folders.split(drawn([f"{key:02}" for key in [new, *(keys - {new})]]), 3, 3)

    assert all(len(set(hashes(a)) & set(hashes(b))) >= 2 for a, b in zip(before, after, strict=True))


def test_evaluation_is_filled_first_and_calibration_keeps_one():
    left, right = folders.split(drawn("dacb"), 10, 10)

    assert (hashes(left), hashes(right)) == (["d"], ["a", "c", "b"])


def test_identical_files_do_not_stand_in_for_two_parts():
    with pytest.raises(UsageError, match="need two different pictures, found 1"):
        folders.split(drawn("aaa"), 1, 1)


def test_a_part_keeps_labels_and_classes(animals):
    left, right = folders.split(folders.read(animals), 1, 2)

    assert sorted(names(left) + names(right)) == ["dog/young/c.jpg", "house_cat/a.jpg", "house_cat/b.png"]
    for part in (left, right):
        assert part.classes == ("dog", "house cat")
        assert [part.classes[label].split()[-1] in name for label, name in zip(part.labels, names(part), strict=True)]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_class_folder_may_be_a_link(animals, tmp_path):
    photo(tmp_path / "disk" / "d.png")
    (animals / "wolf").symlink_to(tmp_path / "disk", target_is_directory=True)

    assert folders.read(animals).classes == ("dog", "house cat", "wolf")


def test_fifty_photographs_of_coco_are_read_whole(request):
    root = Path(request.config.rootpath).parent / "shared" / "data" / "coco50"
    if not root.is_dir():
        pytest.skip("needs ../shared/data/coco50 beside the repository: 50 photographs of COCO val2017 with captions")

    samples = folders.read(root)

    assert samples.problems == ()
    assert [len(captions) for captions in samples.captions] == [5] * 50
    assert {picture.open().mode for picture in samples.pictures} <= {"RGB", "L"}
    left, right = folders.split(samples, 20, 30)
    assert (len(left.pictures), len(right.pictures)) == (20, 30)
