"""Whatever happens to a store's folder, what it returns is what was built, and what it cannot do is one line."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clip_bench import locks, store
from clip_bench.errors import CorruptError, StoreError
from clip_bench.store import LAYOUT, MANIFEST, Store

RECIPE = {"step": "onnx", "model": "acme"}
FILES = {"graph.onnx": b"the weights of a small model", "tokens.json": b"[]"}
LIMIT_S = 60
NOBODY = 65534


class Builder:
    """Writes files, and counts how often."""

    def __init__(self, files=FILES):
        self.files = files
        self.builds = 0

    def __call__(self, folder):
        self.builds += 1
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


def forge(home, **changes):
    """A manifest whose own hash is right, with *changes*."""
    told = json.loads((home / MANIFEST).read_text())
    told.pop("sha256")
    told |= changes
    (home / MANIFEST).write_text(json.dumps({"sha256": store._sha256(told), **told}))


def listing(root):
    """Everything under *root*, with what tells a change."""
    paths = [root, *sorted(root.rglob("*"))]
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths}


def leavings(root):
    """What there is besides shelves and lock files."""
    return [path for path in root.glob("v*/*/*") if path.suffix != ".lock"]


def child(script, *arguments):
    """A process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603  ourselves


def told(script, *arguments):
    """What a process of its own prints, which ends well."""
    process = child(script, *arguments)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return out


EIGHT = """
import sys, time
from pathlib import Path
from clip_bench.store import Store

here, mine = Path(sys.argv[1]), sys.argv[2]

def build(folder):
    with (here / "builds.log").open("a") as log:
        log.write("built\\n")
    time.sleep(0.3)
    (folder / "graph.onnx").write_text("made")

(here / f"{mine}.asked").touch()
while len(list(here.glob("*.asked"))) < 8:
    time.sleep(0.005)
print(Store(here / "cache").get({"step": "onnx"}, build).sha256)
"""


def test_eight_processes_build_one_artifact_once(tmp_path):
    processes = [child(EIGHT, tmp_path, number) for number in range(8)]
    ended = [(process.communicate(timeout=LIMIT_S), process.returncode) for process in processes]

    assert [code for _, code in ended] == [0] * 8, ended
    assert len({out for (out, _), _ in ended}) == 1
    assert (tmp_path / "builds.log").read_text().split() == ["built"]


@settings(max_examples=200)
@given(
    name=st.sampled_from([*FILES, MANIFEST]),
    where=st.floats(min_value=0, max_value=1, exclude_max=True),
    change=st.integers(min_value=1, max_value=255) | st.just("cut"),
)
@example(name=MANIFEST, where=0.0, change="cut")
@example(name="tokens.json", where=0.0, change="cut")
def test_any_byte_changed_and_any_cut_is_built_anew(name, where, change):
    with tempfile.TemporaryDirectory() as root:
        builder = Builder()
        before = Store(Path(root)).get(RECIPE, builder)
        path, data = before.path / name, bytearray((before.path / name).read_bytes())
        at = int(where * len(data))
        if change == "cut":
            path.write_bytes(data[:at])
        else:
            data[at] ^= change
            path.write_bytes(data)

        after = Store(Path(root)).get(RECIPE, builder)

        assert {each: (after.path / each).read_bytes() for each in FILES} == FILES
    # White space and the spelling of a number are all of a manifest that may change and say the same.
    assert builder.builds == 2 or (name == MANIFEST and after == before)
    assert (after.recipe, after.sha256) == (before.recipe, before.sha256)


def test_files_that_changed_places_are_built_anew(tmp_path):
    builder = Builder({"a.onnx": b"1", "b.onnx": b"2"})
    home = Store(tmp_path).get(RECIPE, builder).path
    (home / "a.onnx").write_bytes(b"2")
    (home / "b.onnx").write_bytes(b"1")

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert (after.path / "a.onnx").read_bytes() == b"1"


def test_an_artifact_in_the_place_of_another_is_built_anew(tmp_path):
    first, second = Builder(), Builder({"graph.onnx": b"another"})
    there = Store(tmp_path).get(RECIPE, first).path
    shutil.rmtree(there)
    shutil.copytree(Store(tmp_path).get({"step": "another"}, second).path, there)

    after = Store(tmp_path).get(RECIPE, first)

    assert first.builds == 2
    assert after.file(".onnx").read_bytes() == FILES["graph.onnx"]
    assert after.recipe == RECIPE


INTRUDERS = {
    "file": lambda path: path.write_text("a"),
    "hidden": lambda path: path.with_name(".graph.onnx").write_text("a"),
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("graph.onnx"),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", INTRUDERS)
def test_an_artifact_with_more_than_its_files_is_built_anew(tmp_path, kind):
    builder = Builder()
    INTRUDERS[kind](Store(tmp_path).get(RECIPE, builder).path / "other.onnx")

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert after.file(".onnx").name == "graph.onnx"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "loop"])
@pytest.mark.parametrize("name", ["graph.onnx", MANIFEST])
def test_a_file_that_became_something_else_is_built_anew(tmp_path, kind, name):
    builder = Builder()
    path = Store(tmp_path).get(RECIPE, builder).path / name
    outside = tmp_path / "outside"
    path.rename(outside)
    {
        "link": lambda: path.symlink_to(outside),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
    }[kind]()
    before = outside.read_bytes()

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert not (after.path / name).is_symlink()
    assert outside.read_bytes() == before


def test_a_folder_that_became_a_link_is_built_anew_and_its_aim_is_left_alone(tmp_path):
    builder = Builder()
    home = Store(tmp_path / "cache").get(RECIPE, builder).path
    outside = home.rename(tmp_path / "outside")
    home.symlink_to(outside)
    before = listing(outside)

    after = Store(tmp_path / "cache").get(RECIPE, builder)

    assert builder.builds == 2
    assert not after.path.is_symlink()
    assert {name: told[1] for name, told in listing(outside).items()} == {
        name: told[1] for name, told in before.items()
    }


@pytest.mark.parametrize("name", ["../outside", "ABSOLUTE", "folder/graph.onnx", "", ".", "..", MANIFEST])
def test_a_manifest_that_leaves_its_folder_is_not_believed(tmp_path, name):
    builder = Builder()
    home = Store(tmp_path).get(RECIPE, builder).path
    outside = home.parent / "outside"
    outside.write_bytes(b"somebody's")
    (home / "folder").mkdir()
    (home / "folder" / "graph.onnx").write_bytes(b"somebody's")
    named = str(outside) if name == "ABSOLUTE" else name
    forge(home, files={named: store.sha256_file(outside)})

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert sorted(path.name for path in after.path.iterdir()) == sorted([*FILES, MANIFEST])
    assert outside.read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": LAYOUT + 1},
        {"layout": None},
        {"recipe": {"step": "another"}},
        {"files": []},
        {"files": None},
        {"files": {"graph.onnx": 1, "tokens.json": None}},
        {"files": ["graph.onnx", "tokens.json"]},
        {"steps": None},
        {"steps": [{"name": "onnx"}]},
        {"steps": [1]},
    ],
    ids=str,
)
def test_a_manifest_of_another_kind_is_built_anew(tmp_path, changes):
    builder = Builder()
    forge(Store(tmp_path).get(RECIPE, builder).path, **changes)

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert after.recipe == RECIPE


def test_a_manifest_without_end_is_built_anew(tmp_path):
    builder = Builder()
    (Store(tmp_path).get(RECIPE, builder).path / MANIFEST).write_text("[" * 1_000_000)

    Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2


@pytest.mark.parametrize("version", ["", "v1", f"v{LAYOUT + 1}"])
def test_an_artifact_of_another_layout_is_neither_read_nor_touched(tmp_path, version):
    builder = Builder()
    made = Store(tmp_path / "other").get(RECIPE, builder).path
    there = tmp_path / "cache" / version / made.parent.name / made.name
    shutil.copytree(made, there)
    before = listing(there.parent)

    after = Store(tmp_path / "cache").get(RECIPE, builder)

    assert builder.builds == 2
    assert after.path != there
    assert listing(there.parent) == before


def test_a_build_that_leaves_a_link_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "outside").write_text("somebody's")

    with pytest.raises(CorruptError, match="plain files"):
        Store(tmp_path / "cache").get(RECIPE, lambda folder: (folder / "a.onnx").symlink_to(tmp_path / "outside"))

    assert (tmp_path / "outside").read_text() == "somebody's"


BUILDING = """
import sys, time
from pathlib import Path
from clip_bench.store import Store

def build(folder):
    (folder / "half.onnx").write_text("half of it")
    print("building", flush=True)
    time.sleep(600)

Store(Path(sys.argv[1])).get({"step": "onnx", "model": "acme"}, build)
"""


@pytest.fixture
def building(tmp_path):
    """A process in the middle of the build of RECIPE."""
    process = child(BUILDING, tmp_path)
    assert process.stdout.readline() == "building\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_builder_locked_and_left_is_no_hindrance(tmp_path, building):
    building.kill()
    building.wait(LIMIT_S)
    left = [path.suffix for path in tmp_path.glob("v*/*/*")]
    builder = Builder()

    made = Store(tmp_path).get(RECIPE, builder)

    assert sorted(left) == [".lock", ".partial"]
    assert builder.builds == 1
    assert leavings(tmp_path) == [made.path]


def test_who_waits_says_for_whom(tmp_path, building, monkeypatch, caplog):
    monkeypatch.setattr(locks, "FIRST_S", 0.2)
    monkeypatch.setattr(locks, "AGAIN_S", 0.2)
    ended = child(
        "import os, signal, sys, time; time.sleep(1.5); os.kill(int(sys.argv[1]), signal.SIGKILL)", building.pid
    )
    builder = Builder()

    Store(tmp_path).get(RECIPE, builder)
    ended.communicate()

    said = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert builder.builds == 1
    assert len(said) > 1
    assert said[0].startswith(f"waiting for process {building.pid} on ")
    assert "making onnx since" in said[0]
    assert "end it" in said[0]


def test_whoever_need_not_wait_says_nothing(tmp_path, caplog):
    Store(tmp_path).get(RECIPE, Builder())
    Store(tmp_path).get(RECIPE, Builder())

    assert [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()] == []


FULL = """
import resource, sys
from pathlib import Path
from clip_bench.errors import StoreError
from clip_bench.store import Store

root, kind, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def raises(folder):
    (folder / "graph.onnx").write_bytes(bytes(100_000))

def wraps(folder):
    try:
        raises(folder)
    except OSError as exc:
        raise RuntimeError("the writer failed") from exc

def hides(folder):  # as a tool in C++ that forgets what it was told
    try:
        raises(folder)
    except OSError:
        pass
    raise RuntimeError("the writer failed")

def forgets(folder):
    try:
        raises(folder)
    except OSError:
        pass

resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    Store(root).get({"step": "onnx", "model": "acme", "long": "x" * 2000}, globals()[kind])
except StoreError as exc:
    print(exc)
"""


@pytest.mark.parametrize("kind", ["raises", "wraps", "hides", "forgets"])
def test_a_file_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path, kind):
    said = told(FULL, tmp_path, kind, 50_000)

    assert said.startswith("no room to write onnx into ")
    assert str(tmp_path) in said
    assert "MB free" in said
    assert "set CLIP_BENCH_CACHE" in said
    assert said.count("\n") == 1
    assert leavings(tmp_path) == []


def test_a_manifest_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path):
    script = FULL.replace("bytes(100_000)", "bytes(100)")

    said = told(script, tmp_path, "raises", 1000)

    assert said.startswith("no room to write onnx into ")
    assert leavings(tmp_path) == []


def test_after_there_is_room_again_it_is_built(tmp_path):
    told(FULL, tmp_path, "raises", 50_000)

    assert told(FULL, tmp_path, "raises", 10**9) == ""
    assert [sorted(path.name for path in home.iterdir()) for home in leavings(tmp_path)] == [["graph.onnx", MANIFEST]]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT], ids=["full", "quota"])
def test_a_disk_that_is_full_at_the_last_step_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, error):
    def full(path, _):
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "rename", full)

    with pytest.raises(StoreError, match=f"no room to write onnx .*{os.strerror(error)}.* make room"):
        Store(tmp_path).get(RECIPE, Builder())

    assert leavings(tmp_path) == []


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP], ids=["none", "daemon", "kind"])
def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch, error):
    def none(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", none)
    builder = Builder()

    with pytest.raises(StoreError, match=r"has no file locks .* set CLIP_BENCH_CACHE to a local folder"):
        Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 0


def test_what_is_whole_is_found_without_locks(tmp_path, monkeypatch):
    builder = Builder()
    made = Store(tmp_path).get(RECIPE, builder)

    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)

    assert Store(tmp_path).get(RECIPE, builder) == made
    assert builder.builds == 1


def test_a_cache_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "cache").write_text("")

    with pytest.raises(StoreError, match=r"cache has no onnx .* set CLIP_BENCH_CACHE to a folder that you can write"):
        Store(tmp_path / "cache").get(RECIPE, Builder())


READING = """
import os, sys
from pathlib import Path
from clip_bench.errors import StoreError
from clip_bench.store import Store
import json

root, uid = Path(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:  # to whom no mode says no
    os.setgroups([])
    os.setuid(uid)
assert not os.access(root, os.W_OK)

def build(folder):
    print("built")

print(Store(root).get({"step": "onnx", "model": "acme"}, build).file(".onnx").read_text())
try:
    Store(root).get({"step": "ir"}, build)
except StoreError as exc:
    print(exc)
"""


@pytest.fixture
def shelf():
    """A folder that other users can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "cache"
        for path in (Path(name) / "cache").rglob("*"):
            path.chmod(0o755)
        (Path(name) / "cache").chmod(0o755)


def test_a_read_only_cache_is_read_and_not_written(shelf):
    Store(shelf).get(RECIPE, Builder())
    for path in (*shelf.glob("**/*.lock"),):
        path.unlink()
    for path in (shelf, *shelf.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = listing(shelf)

    said = told(READING, shelf, NOBODY).splitlines()

    assert said[0] == FILES["graph.onnx"].decode()
    assert said[1].startswith(f"{shelf} has no ir that is whole, and none can be written there (Permission denied)")
    assert said[1].endswith("set CLIP_BENCH_CACHE to a folder that you can write")
    assert len(said) == 2
    assert listing(shelf) == before


def test_each_use_of_an_artifact_is_noted(tmp_path):
    home = Store(tmp_path).get(RECIPE, Builder()).path
    os.utime(home / MANIFEST, (1, 1))
    began = time.time()

    Store(tmp_path).get(RECIPE, Builder())

    assert (home / MANIFEST).stat().st_mtime > began - 5
