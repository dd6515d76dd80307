"""Hostile files through the commands themselves: one line for each, no traceback, the good ones beside it done."""

import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_bench import files, plain
from clip_bench.__main__ import main

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
UNSEEN = "\x1b[31mred\x1b[0m.png"  # a terminal would obey it


def encoded(kind, **options):
    written = io.BytesIO()
    Image.fromarray(PIXELS).save(written, kind, **options)
    return written.getvalue()


def chunk(name, stored):
    return struct.pack(">I", len(stored)) + name + stored + struct.pack(">I", zlib.crc32(name + stored))


def bomb(side=50_000):
    """A PNG of some kilobytes that says it has *side* times *side* pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(10_000_000))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GOOD = {
    "a.png": lambda path: path.write_bytes(encoded("PNG")),
    "jpeg.png": lambda path: path.write_bytes(encoded("JPEG")),
    "cmyk.jpg": lambda path: Image.new("CMYK", (20, 20)).save(path),
    "deep.png": lambda path: Image.new("I;16", (20, 20)).save(path),
    "palette.png": lambda path: Image.new("P", (20, 20)).save(path),
    "alpha.png": lambda path: Image.new("RGBA", (20, 20)).save(path),
    "frames.gif": lambda path: Image.new("RGB", (20, 20), "red").save(
        path, save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")]
    ),
    "frames.webp": lambda path: Image.new("RGB", (20, 20), "red").save(
        path, save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")]
    ),
}
BAD = {
    "empty.jpg": (lambda path: path.touch(), "no picture of a known format"),
    "letter.jpg": (lambda path: path.write_text("dear"), "no picture of a known format"),
    "cut.png": (lambda path: path.write_bytes(encoded("PNG")[:-200]), "truncated"),
    "cut.jpg": (lambda path: path.write_bytes(encoded("JPEG")[:-200]), "truncated"),
    "cut.webp": (lambda path: path.write_bytes(encoded("WEBP")[:-200]), "decoder"),
    "thin.png": (lambda path: Image.new("RGB", (1, 60_000)).save(path), "one side is more than 64 times the other"),
    "flat.png": (lambda path: Image.new("RGB", (60_000, 1)).save(path), "one side is more than 64 times the other"),
    "bomb.png": (lambda path: path.write_bytes(bomb()), "pixels"),
    "loop.jpg": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "gone.jpg": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "pipe.jpg": (os.mkfifo, "no regular file"),
    "device.jpg": (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    "new\nline.png": (lambda path: path.write_bytes(encoded("PNG")[:-200]), "truncated"),
    UNSEEN: (lambda path: path.write_bytes(encoded("PNG")[:-200]), "truncated"),
}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, cache, tmp_path):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mixed(tmp_path):
    """Every good and every bad picture in one folder, and a folder that is called like one."""
    root = tmp_path / "mixed"
    root.mkdir()
    for name, make in GOOD.items():
        make(root / name)
    for name, (make, _) in BAD.items():
        make(root / name)
    (root / "folder.jpg").mkdir()
    return root


@pytest.fixture
def ran(capsys, tmp_path):
    """The exit status of a command, its lines, those of stderr; nothing but the named files may have been made."""

    def run(*arguments, makes=()):
        before = set(tmp_path.rglob("*"))
        status = main([*map(str, arguments)])
        told = capsys.readouterr()
        assert {path.name for path in set(tmp_path.rglob("*")) - before} == set(makes)
        assert "\x1b" not in told.out + told.err
        return status, told.out.splitlines(), told.err.splitlines()

    return run


def lines_of(name, lines):
    """The lines that name the file *name*: as it is shown, and where a table has blanks for what cannot be shown."""
    shown = {plain.line(name), plain.printable(name)}
    return [line for line in lines if any(f"{each}: " in line for each in shown)]


@pytest.mark.parametrize("command", ["embed", "preprocess", "score", "retrieval", "index"])
def test_bad_pictures_are_a_line_each_and_the_good_ones_are_done(ran, mixed, command):
    pictures = [path for path in sorted(mixed.iterdir()) if not path.is_dir()]
    classes = mixed.parent / "classes"
    arguments, makes = {
        "embed": (["embed", mixed, "-o", "out.parquet", "--threads", 1], {"out.parquet"}),
        "preprocess": (["preprocess", mixed, "--model", "shapes_tiny", "--rounds", 2, "--variant", "fused"], ()),
        "score": (["score", *pictures, "--labels", "a red star,a blue ring", "--threads", 1], ()),
        "retrieval": (["retrieval", "--data", classes, "--threads", 1], ()),
        "index": (["index", "--data", mixed, "--threads", 1, "--batches", 2, "--documents", 40], ()),
    }[command]
    if command == "retrieval":
        (classes / "one").mkdir(parents=True)
        mixed.rename(classes / "two")
        GOOD["a.png"](classes / "one" / "a.png")

    status, out, err = ran(*arguments, makes=makes)

    assert status == (0 if command == "preprocess" else 1)
    for name, (_, said) in BAD.items():
        (line,) = lines_of(name, out + err)
        assert said in line
    assert not [name for name in GOOD if lines_of(name, out + err)]


def test_a_name_that_is_not_in_unicode_costs_its_picture_alone(ran, mixed):
    for name in BAD:
        (mixed / name).unlink()
    GOOD["a.png"](mixed / os.fsdecode(b"\xff.png"))

    status, out, _ = ran("embed", mixed, "-o", "out.parquet", "--threads", 1, makes={"out.parquet"})
    again = ran("embed", mixed, "-o", "out.parquet", "--threads", 1)

    assert status == 1
    assert f"Total images: {len(GOOD)}" in out
    assert r"left out: \udcff.png: its name is no UTF-8, which Parquet takes alone: rename it" in out
    assert again[:1] == (1,)


def test_files_that_may_not_be_read_are_a_line(mixed):
    """As another user, since root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    (mixed / "a.png").chmod(0)
    for folder in (mixed, *list(mixed.parents)[:3]):
        folder.chmod(0o755)
    ours, theirs = os.pipe()

    child = os.fork()
    if child == 0:  # what it learns is its exit status and a line
        os.setuid(65_534)
        try:
            files.read(mixed / "a.png")
        except OSError as exc:
            os.write(theirs, (exc.strerror or "").encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)

    assert os.read(ours, 100) == b"Permission denied"


def test_what_the_system_refuses_is_one_line(ran, monkeypatch, mixed):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "sealed")

    monkeypatch.setattr("os.walk", refused)

    status, out, err = ran("embed", mixed, "-o", "out.parquet")

    assert (status, out) == (2, [])
    assert err == ["clip-bench: sealed: Permission denied; give one that can be read and written"]


ONE_FILE = {
    "pages": ["report", "{}"],
    "compare": ["compare", "{}", "{}"],
    "history": ["history", "{}"],
    "best": ["best", "{}"],
    "audit": ["audit", "{}"],
    "timings": ["timings", "{}"],
    "topk": ["topk", "{}"],
    "captions": ["preprocess", "a.png", "--model", "shapes_tiny", "--captions", "{}"],
    "labels": ["score", "a.png", "--labels", "{}"],
    "saved": ["score", "a.png", "--labels", "a,b", "--tokens", "{}"],
    "data": ["retrieval", "--data", "{}"],
    "list": ["retrieval", "--data", "imagenet:{}"],
    "pickle": ["retrieval", "--data", "cifar100:{}"],
    "told": ["retrieval", "--data", "coco:{}"],
    "table": ["retrieval", "--data", "conceptual:{}"],
    "model": ["embed", "folder", "-o", "out.parquet", "--model", "ViT-B-32:{}"],
    "weights": ["score", "a.png", "--labels", "a,b", "--model", "vit_b_32_openai", "--weights", "{}"],
    "out": ["embed", "folder", "-o", "{}"],
}
NO_FILE = {
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "garbage": lambda path: path.write_bytes(b"\xff\xfe\x00\x01 garbage\x1b[31m\n" * 50),
    "page": lambda path: path.write_text("<html>please log in</html>\n" * 50),
    "nothing": lambda path: path.touch(),
}


# A link to itself is no file yet: one is made there, or it is a label; and whatever is text is a list of labels.
FINE = {("out", "loop"), ("labels", "loop"), ("labels", "page")}


@pytest.mark.parametrize(
    ("door", "what"), [(door, what) for door in ONE_FILE for what in NO_FILE if (door, what) not in FINE]
)
def test_what_is_no_file_of_the_kind_is_one_clear_line(ran, tmp_path, monkeypatch, door, what):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    suffix = {"captions": ".json", "labels": ".txt", "model": ".safetensors", "told": ".json", "table": ".tsv"}.get(
        door, ""
    )
    given = tmp_path / f"given{suffix}"
    NO_FILE[what](given)
    GOOD["a.png"](tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    GOOD["a.png"](tmp_path / "folder" / "a.png")
    threads = ["--threads", "1"] if ONE_FILE[door][0] in {"score", "embed", "retrieval"} else []

    status, _, err = ran(*[each.format(given) for each in ONE_FILE[door]], *threads)

    assert status == 2
    (line,) = err
    assert line.startswith("clip-bench: ")
    assert "given" in line or door == "weights"


OUTSIDE = ["../../../etc/passwd", "/etc/passwd", "C:\\secret.png", "..\\up.png", "x" * 300, "a\0b"]


@pytest.mark.parametrize(
    ("kind", "name", "rows"),
    [
        ("imagenet", "list.txt", lambda names: "".join(f"{name} 1\n" for name in names)),
        ("mini_imagenet", "m.csv", lambda names: "filename,label\n" + "".join(f"{name},a\n" for name in names)),
        ("flickr30k", "results.csv", lambda names: "image,caption\n" + "".join(f"{name},hello\n" for name in names)),
        ("flickr8k", "x.token", lambda names: "".join(f"{name}#0\thello\n" for name in names)),
        ("conceptual", "x.tsv", lambda names: "".join(f"hello\t{name}\n" for name in names)),
        (
            "coco",
            "captions_x.json",
            lambda names: json.dumps(
                {
                    "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
                    "annotations": [{"image_id": i, "caption": f"half \ud83d {i}"} for i, _ in enumerate(names)],
                }
            ),
        ),
        ("", "c.json", lambda names: json.dumps([{"file": name, "captions": ["half \ud83d"]} for name in names])),
        ("", "c.csv", lambda names: "file,caption\n" + "".join(f'"{name}",hello\n' for name in names)),
    ],
    ids=["list", "mini", "csv", "token", "tsv", "coco", "own", "own_csv"],
)
def test_names_that_leave_the_data_are_left_out_and_the_others_used(ran, tmp_path, kind, name, rows):
    for picture, side in (("one.png", 20), ("two.png", 30)):
        Image.new("RGB", (side, side)).save(tmp_path / picture)
    (tmp_path / name).write_text(rows([*OUTSIDE, "one.png", "two.png"]), encoding="utf-8")

    status, out, err = ran("retrieval", "--data", f"{kind}:{name}" if kind else name, "--threads", 1)

    assert (status, err) == (1, [])
    assert out[0].endswith(": 2 pictures")
    assert len([line for line in out if line.startswith("- left out: ")]) == len(OUTSIDE)


def test_captions_with_half_a_character_are_indexed(ran, tmp_path):
    GOOD["a.png"](tmp_path / "a.png")
    (tmp_path / "c.json").write_text(json.dumps([{"file": "a.png", "captions": ["half \ud83d"]}]), encoding="utf-8")

    status, _, err = ran("index", "--data", "c.json", "--batches", 1, "--documents", 1, "--threads", 1)

    assert (status, err) == (0, [])


def test_labels_may_be_any_words(ran, tmp_path):
    GOOD["a.png"](tmp_path / "a.png")
    many = "word " * 10_000
    stored = f"\ufeffa red star\r\n\r\n   \r\na red star\r\n{many}\r\n\N{GRINNING FACE}\r\na\0b\r\n\x1b[31mred\x07\r\n"
    (tmp_path / "labels.txt").write_bytes(stored.encode())

    status, out, _ = ran("score", "a.png", "--labels", "labels.txt", "--threads", 1, "--top", 9)

    assert status == 0
    said = {line.split("string: ")[1].split(", score")[0] for line in out[1:]}
    assert said == {"a red star", many.strip(), "\N{GRINNING FACE}", r"a\x00b", r"\x1b[31mred\x07"}


@pytest.mark.parametrize("command", ["score", "tokens"])
def test_an_argument_that_is_not_in_unicode_is_one_line(ran, tmp_path, command):
    GOOD["a.png"](tmp_path / "a.png")
    arguments = ["score", "a.png"] if command == "score" else ["tokens", "--model", "shapes_tiny"]

    status, out, err = ran(*arguments, "--labels", "a\udcff,b")

    assert (status, out) == (2, [])
    assert err == [r"clip-bench: --labels a\udcff,b: no text in UTF-8; give a file of it, with a label per line"]


@pytest.mark.parametrize("machine", ["../../up", "/etc/up", "..", "a/b", "\x1b[31m", "x" * 300, "", "a\0b", "CON", "."])
def test_a_machine_of_any_name_keeps_its_pages_in_the_folder(tmp_path, machine, pytestconfig):
    golden = pytestconfig.rootpath / "tests" / "unit" / "tables" / "golden" / "run.json"
    data = json.loads(golden.read_text(encoding="utf-8"))
    data["machine_info"]["clip_bench"]["name"] = machine
    (tmp_path / "run.json").write_text(json.dumps(data), encoding="utf-8")
    out = tmp_path / "deep" / "er" / "out"
    out.mkdir(parents=True)

    status = main(["report", str(tmp_path / "run.json"), "-o", str(out)])

    assert status == 0
    assert {path for path in tmp_path.rglob("*") if path.is_file() and out not in path.parents} == {
        tmp_path / "run.json"
    }


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "some").write_bytes(bytes(10))

    assert files.read(tmp_path / "some", 10) == bytes(10)
    with pytest.raises(OSError, match="more than 9 are not read"):
        files.read(tmp_path / "some", 9)


def test_a_file_that_says_it_is_empty_is_read_up_to_its_bound():
    path = files.Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc on this system")

    assert files.read(path)
    with pytest.raises(OSError, match="more than 9 bytes are not read"):
        files.read(path, 9)


@pytest.mark.parametrize(
    ("told", "shown"), [("a b", "a b"), ("a\nb", r"a\nb"), ("\udcff", r"\udcff"), ("é😀", "é😀")], ids=list("abcd")
)
def test_a_line_shows_what_cannot_be_printed(told, shown):
    assert plain.line(told) == shown


def test_a_terminal_that_lacks_a_letter_is_no_error(monkeypatch, tmp_path):
    written = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", written)
    (tmp_path / "times.txt").write_text("1\n2\n", encoding="utf-8")

    status = main(["timings", str((tmp_path / "times.txt").rename(tmp_path / "é.txt"))])

    assert status == 0
    assert rb"\xe9.txt" in written.buffer.getvalue()


def test_every_message_of_ours_is_one_line(ran, tmp_path):
    (tmp_path / "two\nlines.json").write_text("{", encoding="utf-8")

    status, out, err = ran("report", "two\nlines.json")

    assert (status, out, len(err)) == (2, [], 1)
    assert r"two\nlines.json" in err[0]
