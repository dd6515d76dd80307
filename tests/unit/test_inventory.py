"""What a cache is told to hold is there, and what goes is what was asked for: never what a process uses or builds."""

import gc
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clip_bench import inventory
from clip_bench.errors import StoreError
from clip_bench.inventory import DAY_S, State
from clip_bench.store import MANIFEST, Store

LIMIT_S = 60
PROGRAM = {"step": "program", "model": "ViT-B-32", "dtype": "float16"}


def made(root, recipe, size=1000, unused_days=0.0):
    """The folder of an artifact that nobody uses."""
    home = Store(root).get(recipe, lambda folder: (folder / "graph.onnx").write_bytes(bytes(size))).path
    gc.collect()
    then = time.time() - unused_days * DAY_S
    os.utime(home / MANIFEST, (then, then))
    return home


def states(root):
    return sorted(item.state for item in inventory.items(root))


def damaged(root):
    home = made(root, {"step": "damaged"})
    (home / MANIFEST).write_text("{}")
    return home


def flipped(root):
    home = made(root, {"step": "flipped"})
    (home / "graph.onnx").write_bytes(b"1" * 1000)
    return home


def unfinished(root):
    home = made(root, {"step": "unfinished"})
    return home.rename(home.with_suffix(".partial"))


def earlier(root):
    home = made(root / "other", {"step": "earlier"})
    shelf = Path(shutil.copytree(home.parent, root / home.parent.name))
    shutil.rmtree(root / "other")
    return shelf


def test_an_artifact_tells_its_step_and_what_it_was_made_from(tmp_path):
    program = made(tmp_path, PROGRAM, 1000)
    graph = made(tmp_path, {"step": "onnx", "parent": program.name}, 2000, unused_days=2)
    made(tmp_path, {"step": "qnn_a16w8", "parent": graph.name, "weights": "QUInt8"})
    made(tmp_path, {"step": "vacc", "parents": [graph.name, program.name]})
    made(tmp_path, {"shape": [1]})

    found = {item.step: item for item in inventory.items(tmp_path)}

    assert {step: (item.model, item.precision) for step, item in found.items()} == {
        "program": ("ViT-B-32", "fp16"),
        "onnx": ("ViT-B-32", "fp16"),
        "qnn_a16w8": ("ViT-B-32", "a16w8"),
        "vacc": ("ViT-B-32", "fp16"),
        "": ("", ""),
    }
    assert found["onnx"].path == graph
    assert found["onnx"].size_bytes == 2000 + (graph / MANIFEST).stat().st_size
    assert time.time() - found["onnx"].used_s == pytest.approx(2 * DAY_S, abs=60)


def test_a_cache_that_is_not_there_holds_nothing(tmp_path):
    assert inventory.items(tmp_path / "none") == []


def test_everything_in_a_cache_is_told(tmp_path):
    made(tmp_path, PROGRAM)
    damaged(tmp_path)
    unfinished(tmp_path)
    earlier(tmp_path)
    (tmp_path / "weights.json").write_text("{}")
    (tmp_path / "v99" / "ab").mkdir(parents=True)

    expected = [State.BROKEN, State.EARLIER, State.OTHER, State.OTHER, State.UNFINISHED, State.WHOLE]

    assert states(tmp_path) == sorted(expected)


@pytest.mark.parametrize("spoiled", [damaged, flipped, unfinished, earlier], ids=lambda each: each.__name__)
def test_what_no_run_reads_is_found_and_goes(tmp_path, spoiled):
    kept, gone = made(tmp_path, PROGRAM), spoiled(tmp_path)

    spent = [item for item in inventory.searched(inventory.items(tmp_path)) if item.state in inventory.SPENT]

    assert [item.path for item in spent] == [gone]
    assert inventory.remove(spent[0])
    assert [item.path for item in inventory.items(tmp_path)] == [kept]
    assert Store(tmp_path).get(PROGRAM, pytest.fail).path == kept


def test_what_was_not_used_for_days_goes(tmp_path):
    made(tmp_path, PROGRAM, unused_days=1)
    old = made(tmp_path, {"step": "old"}, unused_days=3)

    assert [item.path for item in inventory.older(inventory.items(tmp_path), 2)] == [old]


def test_of_what_is_too_much_the_longest_unused_goes(tmp_path):
    homes = [made(tmp_path, {"step": str(days)}, 100_000, unused_days=days) for days in (3, 1, 2, 0)]
    spent = damaged(tmp_path)

    gone = inventory.beyond(inventory.items(tmp_path), 250_000)

    assert {item.path for item in gone} == {homes[0], homes[2], spent}


@pytest.mark.parametrize("name", ["weights.json", "datasets", "v99", "abc"])
def test_what_is_not_the_stores_never_goes(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / ("0" * 64)).write_text("somebody's")
    found = inventory.items(tmp_path)

    assert inventory.ours(found) == inventory.older(found, 0) == inventory.beyond(found, 0) == []


def test_a_link_is_not_followed(tmp_path):
    outside = made(tmp_path / "outside", PROGRAM)
    root = tmp_path / "cache"
    (root / "v2").mkdir(parents=True)
    (root / outside.parent.name).symlink_to(outside.parent)
    (root / "v2" / outside.parent.name).symlink_to(outside.parent)
    (root / "v2" / "00").mkdir()
    (root / "v2" / "00" / outside.name).symlink_to(outside)

    for item in inventory.ours(inventory.items(root)):
        assert inventory.remove(item)

    assert (outside / "graph.onnx").is_file()
    assert not (root / "v2" / "00" / outside.name).is_symlink()


HOLDING = """
import sys, time
from pathlib import Path
from clip_bench.store import Store

found = Store(Path(sys.argv[1])).get({"step": "held"}, lambda folder: (folder / "graph.onnx").write_text("held"))
print("holding", flush=True)
time.sleep(600)
"""
BUILDING = HOLDING.replace(
    '(folder / "graph.onnx").write_text("held")', '[print("building", flush=True), time.sleep(600)]'
)


@pytest.mark.parametrize("script", [HOLDING, BUILDING], ids=["used", "built"])
def test_what_another_process_uses_or_builds_stays_until_it_ends(tmp_path, script):
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  ourselves
        process.stdout.readline()
        (item,) = inventory.items(tmp_path)
        while_held = inventory.remove(item)
        files = sorted(path.name for path in item.path.iterdir()) if item.state is State.WHOLE else []
        process.kill()
        process.wait(LIMIT_S)

    assert not while_held
    assert files in ([], ["graph.onnx", MANIFEST])
    assert inventory.remove(item)
    assert inventory.items(tmp_path) == []


def test_what_this_process_uses_stays_until_it_is_dropped(tmp_path):
    held = Store(tmp_path).get(PROGRAM, lambda folder: (folder / "graph.onnx").write_bytes(b"1"))
    (item,) = inventory.items(tmp_path)

    assert not inventory.remove(item)
    assert held.file(".onnx").read_bytes() == b"1"
    del held
    gc.collect()
    assert inventory.remove(item)


def test_what_was_used_since_it_was_found_stays(tmp_path):
    home = made(tmp_path, PROGRAM, unused_days=9)
    (item,) = inventory.items(tmp_path)
    Store(tmp_path).get(PROGRAM, pytest.fail)
    gc.collect()

    assert not inventory.remove(item)
    assert home.is_dir()


def test_what_went_is_built_anew(tmp_path):
    made(tmp_path, PROGRAM)
    (item,) = inventory.items(tmp_path)
    assert inventory.remove(item)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []

    assert made(tmp_path, PROGRAM) == item.path


def test_what_cannot_be_removed_is_one_line(tmp_path, monkeypatch):
    made(tmp_path, PROGRAM)
    (item,) = inventory.items(tmp_path)

    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refused)

    with pytest.raises(StoreError, match=r"cannot be removed \(Read-only file system\): prune"):
        inventory.remove(item)

    assert item.path.is_dir()
