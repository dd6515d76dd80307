"""--data NAME:PATH, from the option to the samples."""

import errno
import io
import re
import subprocess
import sys
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from clip_bench import evaluation, options
from clip_bench.data import sets
from clip_bench.errors import StoreError, UnavailableError, UsageError
from clip_bench.models import catalog


def png(colour):
    stored = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stored, "PNG")
    return stored.getvalue()


def test_every_name_has_a_reader():
    assert set(sets.READERS) == set(options.DATA)


@pytest.fixture
def fish(tmp_path):
    """Ten pictures of two of a thousand classes, and a list of them with one that is gone."""
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(png((i, 0, 0)))
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i % 2}\n" for i in range(11)))
    return tmp_path / "list.txt"


def test_a_run_takes_the_same_pictures_every_time(fish, small, caplog):
    chosen = replace(small, data=fish, data_kind="imagenet", samples=4)

    calibration, evaluated = evaluation._samples(chosen, catalog.MODELS["shapes_tiny"])

    assert (len(calibration.pictures), len(evaluated.pictures)) == (6, 4)
    assert len(evaluated.prompts) == 1000
    assert "imagenet: 50,000 expected, 10 found; 1 left out: 10.png: no such file" in caplog.text


def test_without_a_name_a_path_is_what_it_was(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png("red" if name == "cat" else "blue"))

    listing = sets.listing("", tmp_path)

    assert [(entry.name, entry.label) for entry in listing.entries] == [("cat/a.png", 0), ("dog/a.png", 1)]
    assert len(listing.templates) == 80


def test_what_was_left_out_of_a_folder_is_told(tmp_path, caplog):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png("red" if name == "cat" else "blue"))
    (tmp_path / "cat" / "b.png").write_bytes(b"")

    sets.split("", tmp_path, None, 1, 1)

    assert "1 left out: " in caplog.text
    assert "b.png" in caplog.text


def test_a_root_without_a_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--data-root goes with a data set's name"):
        sets.split("", tmp_path, tmp_path, 1, 1)


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A writer of parquet files, in the form of the hub."""
    datasets = pytest.importorskip("datasets", reason="needs the extra parquet")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path / "cache"))

    def written(columns, features=None, name="a.parquet"):
        datasets.Dataset.from_dict(columns, features=features and datasets.Features(features(datasets))).to_parquet(
            tmp_path / name
        )
        return tmp_path / name

    return written


def stored(*colours):
    return [{"bytes": png(colour), "path": None} for colour in colours]


@pytest.mark.filterwarnings("ignore")
def test_parquet_with_captions_is_read(parquet):
    columns = {"image": stored("red", "blue", "green"), "caption": [["one", "two "], ["three"], []]}
    path = parquet(columns, lambda d: {"image": d.Image(), "caption": d.Sequence(d.Value("string"))})

    listing = sets.listing("parquet", path)

    assert [entry.captions for entry in listing.entries] == [("one", "two"), ("three",)]
    assert listing.summary() == "parquet: 3 expected, 2 found; 1 left out: row 2: no caption"
    assert listing.entries[1].picture().open().getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.filterwarnings("ignore")
def test_parquet_with_labels_tells_its_classes(parquet):
    columns = {"image": stored("red", "blue"), "label": [1, 0]}
    path = parquet(columns, lambda d: {"image": d.Image(), "label": d.ClassLabel(names=["cat", "big_dog"])})

    listing = sets.listing("parquet", path.parent)

    assert listing.classes == ("cat", "big dog")
    assert [entry.label for entry in listing.entries] == [1, 0]


@pytest.mark.filterwarnings("ignore")
def test_labels_of_parquet_that_are_words_are_its_classes_and_a_row_without_one_is_left_out(parquet):
    listing = sets.listing("parquet", parquet({"image": stored("red", "blue", "green"), "label": ["dog", None, "cat"]}))

    assert listing.classes == ("cat", "dog")
    assert [(entry.name, entry.label) for entry in listing.entries] == [("row 0", 1), ("row 2", 0)]
    assert listing.problems == ("row 1: no label",)


@pytest.mark.filterwarnings("ignore")
def test_parquet_without_the_names_of_its_classes_says_so(parquet):
    path = parquet({"image": stored("red", "blue"), "label": [1, 0]}, None)

    with pytest.raises(UsageError, match="the column label has numbers without names"):
        sets.listing("parquet", path)


@pytest.mark.filterwarnings("ignore")
def test_parquet_of_other_columns_says_so(parquet):
    with pytest.raises(UsageError, match="columns x; needs one of image"):
        sets.listing("parquet", parquet({"x": [1]}))


@pytest.mark.filterwarnings("ignore")
def test_parquet_of_which_no_row_is_told_anything_says_so(parquet):
    path = parquet({"image": stored("red"), "caption": [""]})

    with pytest.raises(UsageError, match=r"a\.parquet: parquet: 1 expected, 0 found; 1 left out: row 0: no caption"):
        sets.listing("parquet", path)


@pytest.mark.filterwarnings("ignore")
def test_a_row_of_parquet_without_a_picture_is_named(parquet):
    path = parquet({"image": [{"bytes": None, "path": "a.png"}], "caption": ["one"]})

    (entry,) = sets.listing("parquet", path).entries

    with pytest.raises(UsageError, match="row 0: the row holds no picture's bytes"):
        entry.picture()


def test_a_folder_without_parquet_is_told(tmp_path):
    pytest.importorskip("datasets", reason="needs the extra parquet")

    with pytest.raises(UsageError, match=r"no \*\.parquet in it"):
        sets.listing("parquet", tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_broken_parquet_is_one_clear_line(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="needs the extra parquet")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")

    with pytest.raises(UsageError, match="no parquet that can be read") as told:
        sets.listing("parquet", tmp_path / "a.parquet")

    assert "\n" not in str(told.value)


UNWRITABLE = """
import os, resource, signal, sys
from pathlib import Path
from clip_bench.data import sets
from clip_bench.errors import StoreError

path, root, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
print(sets.listing("parquet", path).summary())
os.environ["CLIP_BENCH_CACHE"] = str(root)
if how == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
elif os.geteuid() == 0:  # to whom no mode says no
    os.setgroups([])
    os.setuid(65534)
try:
    sets.listing("parquet", path)
except StoreError as exc:
    print(exc)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param("kept", r"{root} has no table of a\.parquet that is whole, .* \(Permission denied\)", id="kept"),
        pytest.param("full", r"no room to write table of a\.parquet into {root} \(File too large", id="full"),
    ],
)
def test_a_cache_that_cannot_hold_the_table_is_told_and_the_parquet_is_not_blamed(parquet, how, said):
    with tempfile.TemporaryDirectory() as shelf:  # which other users can enter, as pytest's own are not
        Path(shelf).chmod(0o755)
        path = parquet({"image": stored("red"), "label": ["cat"]}).rename(Path(shelf, "a.parquet"))
        root = Path(shelf, "cache")
        root.mkdir(mode=0o555 if how == "kept" else 0o755)
        command = [sys.executable, "-c", UNWRITABLE, str(path), str(root), how]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  ourselves

    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert told[0] == "parquet: 1 expected, 1 found"
    assert re.match(said.format(root=re.escape(str(root))), told[1])
    assert told[1].endswith(("CLIP_BENCH_CACHE to a folder that you can write", "to a folder that has more"))
    assert len(told) == 2


@pytest.mark.filterwarnings("ignore")
def test_what_was_not_unpacked_holds_on_to_no_reader(tmp_path, monkeypatch):
    """Arrow's threads read on for as long as it does, and one that does at Python's end aborts it."""
    datasets = pytest.importorskip("datasets", reason="needs the extra parquet")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path / "cache"))
    readers = []

    class Reader:
        pass

    def failing(*_, **__):
        reader = Reader()
        readers.append(weakref.ref(reader))
        try:
            raise OSError(errno.EFBIG, "File too large")  # noqa: TRY301  whose frames are asked about
        except OSError as exc:
            raise datasets.exceptions.DatasetGenerationError from exc

    monkeypatch.setattr(datasets.Dataset, "from_parquet", failing)
    (tmp_path / "a.parquet").touch()

    with pytest.raises(StoreError) as told:
        sets.listing("parquet", tmp_path / "a.parquet")

    assert [reader() for reader in readers] == [None]
    assert "no room to write table of a.parquet" in str(told.value)


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)

    with pytest.raises(UnavailableError, match=r"pip install 'clip-bench\[parquet\]'"):
        sets.listing("parquet", tmp_path)
