"""What a corpus is made of: files, tar shards, parquet; each picture by name, whatever is wrong with it."""

import io
import pickle
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_bench import embed, places
from clip_bench.corpus import sources
from clip_bench.data import folders
from clip_bench.errors import UsageError


def shard(path, members, mode="w"):
    with tarfile.open(path, mode) as stream:
        for name, held in members.items():
            told = tarfile.TarInfo(name)
            told.size = len(held)
            stream.addfile(told, io.BytesIO(held))
    return path


def rows(source, most=2):
    return [row for unit in sources.units(str(source), most) for row in pickle.loads(pickle.dumps(unit)).rows()]  # noqa: S301


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    (root / "sub").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("a.png", "b.JPG", "sub/c.webp", "notes.txt", ".hidden/d.png"):
        (root / name).write_bytes(name.encode())
    return root


def test_pictures_of_a_folder_are_those_of_the_command_for_one_machine(pictures):
    names = embed.listed(pictures)

    assert names == ["a.png", "b.JPG", "sub/c.webp"]
    assert rows(pictures) == [(name, name.encode()) for name in names]
    assert [unit.names for unit in sources.units(str(pictures), 2)] == [("a.png", "b.JPG"), ("sub/c.webp",)]


def test_a_node_in_another_folder_finds_them(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    (unit,) = sources.units("pictures", 9)
    monkeypatch.chdir("/")

    assert len(list(unit.rows())) == 3


def test_a_file_that_went_away_is_told(pictures):
    (unit,) = sources.units(str(pictures), 9)
    (pictures / "a.png").unlink()
    (pictures / "b.JPG").unlink()
    (pictures / "b.JPG").mkdir()

    assert [row for _, row in unit.rows()] == ["No such file or directory", "Is a directory", b"sub/c.webp"]


def test_a_shard_gives_its_pictures_by_their_names(tmp_path):
    shard(tmp_path / "x.tar", {"1.txt": b"words", "1.png": b"one", "2.jpg": b"two", "2.json": b"{}"})
    shard(tmp_path / "y.tar.gz", {"3.png": b"three"}, "w:gz")

    assert rows(tmp_path) == [("x.tar/1.png", b"one"), ("x.tar/2.jpg", b"two"), ("y.tar.gz/3.png", b"three")]
    assert rows(tmp_path / "x.tar") == [("x.tar/1.png", b"one"), ("x.tar/2.jpg", b"two")]


def test_members_are_named_and_hidden_as_files_are(tmp_path):
    shard(tmp_path / "x.tar", {"./1.png": b"one", "._1.png": b"of a Mac", "a/.b/2.png": b"hidden"})

    assert rows(tmp_path) == [("x.tar/1.png", b"one")]


def test_members_that_are_no_files_or_too_large_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LARGEST", 3)
    with tarfile.open(shard(tmp_path / "x.tar", {"1.png": b"long", "2.png": b"two"}), "a") as stream:
        link = tarfile.TarInfo("3.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        stream.addfile(link)

    assert rows(tmp_path) == [
        ("x.tar/1.png", "4 bytes: more than 3 are not read"),
        ("x.tar/2.png", b"two"),
        ("x.tar/3.png", "no regular file"),
    ]


@pytest.mark.parametrize("held", [b"", b"no tar", b"\x1f\x8b damaged"], ids=["empty", "other", "compressed"])
@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_what_is_no_shard_is_one_bad_row(tmp_path, name, held):
    (tmp_path / name).write_bytes(held)

    ((told, why),) = rows(tmp_path)

    assert told == name
    assert why.startswith(("it cannot be read: ", "no picture in it"))


def test_a_shard_that_was_cut_gives_what_is_before_the_cut(tmp_path):
    whole = shard(tmp_path / "whole.tar", {"1.png": b"1" * 600, "2.png": b"2" * 600}).read_bytes()
    (tmp_path / "whole.tar").unlink()
    (tmp_path / "x.tar").write_bytes(whole[:2300])

    (first, second) = rows(tmp_path)

    assert first == ("x.tar/1.png", b"1" * 600)
    assert second[0].startswith("x.tar")
    assert isinstance(second[1], str)


@pytest.mark.parametrize("column", ["image", "IMG", "jpg"], ids=["whole", "capitals", "brief"])
def test_parquet_gives_its_pictures_by_number(tmp_path, column):
    pq.write_table(pa.table({"caption": ["a", "b"], column: [b"one", b"two"]}), tmp_path / "x.parquet")
    structs = [{"bytes": b"three", "path": None}, {"bytes": None, "path": "elsewhere"}]
    pq.write_table(pa.table({column: structs}), tmp_path / "y.parquet")

    assert rows(tmp_path) == [
        ("x.parquet/0", b"one"),
        ("x.parquet/1", b"two"),
        ("y.parquet/0", b"three"),
        ("y.parquet/1", "the row holds no picture's bytes"),
    ]


def test_parquet_without_pictures_and_what_is_none_are_one_bad_row_each(tmp_path):
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "y.parquet")
    (tmp_path / "z.parquet").write_bytes(b"PAR1 damaged PAR1")

    told = rows(tmp_path)

    assert told[:2] == [
        ("x.parquet", "it cannot be read: columns words; needs one of image, img, jpg, png"),
        ("y.parquet", "no picture in it"),
    ]
    assert told[2][0] == "z.parquet"
    assert told[2][1].startswith("it cannot be read: ")


@pytest.fixture
def elsewhere():
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/corpus", recursive=True)


def test_all_of_it_may_lie_elsewhere(tmp_path, elsewhere):
    elsewhere.pipe("/corpus/files/b.png", b"two")
    elsewhere.pipe("/corpus/files/a/a.png", b"one")
    elsewhere.pipe("/corpus/files/.a/a.png", b"hidden")
    elsewhere.pipe("/corpus/tars/x.tar", shard(tmp_path / "x.tar", {"1.png": b"one"}).read_bytes())
    pq.write_table(pa.table({"image": [b"one"]}), tmp_path / "x.parquet")
    elsewhere.pipe("/corpus/tables/x.parquet", (tmp_path / "x.parquet").read_bytes())

    assert rows("memory://corpus/files") == [("a/a.png", b"one"), ("b.png", b"two")]
    assert rows("memory://corpus/tars") == [("x.tar/1.png", b"one")]
    assert rows("memory://corpus/tables/x.parquet") == [("x.parquet/0", b"one")]


def test_what_cannot_be_reached_is_no_fault_of_a_picture(elsewhere, monkeypatch):
    elsewhere.pipe("/corpus/x.tar", b"anything")
    (unit,) = sources.units("memory://corpus", 1)

    def gone(*_, **__):
        msg = "connection reset"
        raise ConnectionResetError(msg)

    monkeypatch.setattr(type(elsewhere), "_open", gone)

    with pytest.raises(UsageError, match=r"cannot be reached .*connection reset"):
        list(unit.rows())


def test_a_connection_that_breaks_while_it_is_read_is_none_either(elsewhere, monkeypatch):
    elsewhere.pipe("/corpus/x.tar", b"anything")
    place = places.of("memory://corpus/x.tar")
    with places.opened(place) as stream:
        monkeypatch.setattr(type(stream.raw._file), "read", lambda *_: (_ for _ in ()).throw(OSError("reset")))
        with pytest.raises(UsageError, match="cannot be reached"):
            stream.read()


def test_a_place_that_has_nothing_is_one_line(tmp_path, pictures):
    (pictures / "x.tar").write_bytes(b"passed over")
    (tmp_path / "empty").mkdir()

    assert len(rows(pictures)) == 3
    with pytest.raises(UsageError, match="none of its 0 files is a picture"):
        sources.units(str(tmp_path / "empty"), 1)
    for name, why in (
        ("x.tar", "nothing is there"),
        ("a.png", "neither a folder nor a tar"),
        ("none", "neither a folder"),
    ):
        with pytest.raises(UsageError, match=why):
            sources.units(str(tmp_path / name), 1)


def test_names_that_no_table_takes_are_told(tmp_path):
    Path(tmp_path / "a\udcff.png").write_bytes(b"one")
    shard(tmp_path / "x.tar", {"b\udcff.png": b"two"})

    assert rows(tmp_path) == [("a\udcff.png", embed.ODD_NAME)]
    assert rows(tmp_path / "x.tar") == [("x.tar/b\udcff.png", embed.ODD_NAME)]
