"""The store builds once, and what it returns is what was built."""

import multiprocessing
import runpy
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench import store
from clip_bench.store import MANIFEST, Store

RECIPE = {"model": "shapes_tiny", "steps": [1, 2.5, None], "opset": {"": 18}}
PAYLOAD = b"the weights of a small model"
SPAWN_LIMIT_S = 60

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
RECIPES = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


class Builder:
    """Writes two files, and counts how often."""

    def __init__(self, payload=PAYLOAD):
        self.payload = payload
        self.builds = 0

    def __call__(self, folder):
        self.builds += 1
        (folder / "graph.onnx").write_bytes(self.payload)
        (folder / "tokens.json").write_text("[]")


def reverse(data):
    """The same JSON data, with every object's keys the other way round."""
    if isinstance(data, dict):
        return {key: reverse(data[key]) for key in reversed(data)}
    return [reverse(item) for item in data] if isinstance(data, list) else data


def delete(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def flip(path, bit=12):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


DAMAGES = {damage.__name__: damage for damage in (delete, truncate, empty, flip)}


def test_a_recipe_is_built_once(tmp_path):
    builder = Builder()

    made, found = Store(tmp_path).get(RECIPE, builder), Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 1
    assert made == found


def test_an_artifact_tells_its_files_and_their_size(tmp_path):
    made = Store(tmp_path).get(RECIPE, Builder())

    assert made.file(".onnx").read_bytes() == PAYLOAD
    assert made.file(".json").name == "tokens.json"
    assert made.size_bytes == len(PAYLOAD) + len("[]")
    assert made.recipe == RECIPE
    assert 0 <= made.built_s < 60


@pytest.mark.parametrize("name", ["graph.onnx", "tokens.json", MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_built_anew(tmp_path, name, damage):
    builder = Builder()
    before = Store(tmp_path).get(RECIPE, builder)
    DAMAGES[damage](before.path / name)

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert after.sha256 == before.sha256
    assert after.file(".onnx").read_bytes() == PAYLOAD


@pytest.mark.parametrize(
    "text",
    ["[]", "0", "{}", '{"files": {}}', '{"sha256": ""}', "\x00"],
    ids=["list", "number", "empty", "unhashed", "misfit", "binary"],
)
def test_a_foreign_manifest_is_built_anew(tmp_path, text):
    builder = Builder()
    before = Store(tmp_path).get(RECIPE, builder)
    (before.path / MANIFEST).write_text(text)

    after = Store(tmp_path).get(RECIPE, builder)

    assert builder.builds == 2
    assert after.recipe == RECIPE


@settings(deadline=None)
@given(where=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_no_flipped_bit_of_a_manifest_is_believed(where):
    with tempfile.TemporaryDirectory() as root:
        builder = Builder()
        before = Store(Path(root)).get(RECIPE, builder)
        manifest = before.path / MANIFEST
        flip(manifest, int(where * manifest.stat().st_size * 8))

        after = Store(Path(root)).get(RECIPE, builder)

    # A flip may leave the data as it was (1e-05 and 1E-05); one that changed them forces a build.
    assert builder.builds == 2 or after == before
    assert (after.recipe, after.sha256) == (before.recipe, before.sha256)


def test_a_build_that_raises_leaves_nothing_and_the_next_one_builds(tmp_path):
    builder = Builder()

    def fail(folder):
        builder(folder)
        msg = "no room"
        raise MemoryError(msg)

    with pytest.raises(MemoryError, match="no room"):
        Store(tmp_path).get(RECIPE, fail)
    left = [path for path in tmp_path.glob("*/*/*") if path.is_dir()]
    Store(tmp_path).get(RECIPE, builder)

    assert left == []
    assert builder.builds == 2


def test_a_build_that_writes_nothing_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="wrote no file"):
        Store(tmp_path).get(RECIPE, lambda _: None)

    assert list(tmp_path.rglob(MANIFEST)) == []


@settings(deadline=None, max_examples=30)
@given(recipe=RECIPES)
def test_the_order_of_a_recipe_does_not_matter(recipe):
    with tempfile.TemporaryDirectory() as root:
        builder = Builder()

        first, second = Store(Path(root)).get(recipe, builder), Store(Path(root)).get(reverse(recipe), builder)

    assert builder.builds == 1
    assert first.key == second.key


@settings(deadline=None, max_examples=30)
@given(recipe=RECIPES, other=RECIPES)
def test_a_recipe_finds_only_its_own_artifact(recipe, other):
    with tempfile.TemporaryDirectory() as root:
        first = Store(Path(root)).get(recipe, Builder())
        second = Store(Path(root)).get(other, Builder())

    assert (first.key == second.key) == (store._canonical(recipe) == store._canonical(other))
    assert (first.recipe, second.recipe) == (recipe, other)
    assert first.sha256 == second.sha256


def test_numbers_as_keys_are_the_words_that_json_makes_of_them(tmp_path):
    builder = Builder()

    made = Store(tmp_path).get({"shape": {10: "b", 9: "a"}}, builder)
    found = Store(tmp_path).get({"shape": {"9": "a", "10": "b"}}, builder)

    assert made == found
    assert builder.builds == 1


def test_a_recipe_that_is_no_json_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        Store(tmp_path).get({"scale": float("nan")}, Builder())


def test_other_bytes_have_another_sha256(tmp_path):
    made = [Store(tmp_path / str(n)).get(RECIPE, Builder(payload)) for n, payload in enumerate((b"a", b"b", b"a"))]

    hashes = [artifact.sha256 for artifact in made]
    assert hashes[0] == hashes[2] != hashes[1]


def run_processes(*scripts):
    """Run Python files in processes of their own, at the same time; their exit codes."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=runpy.run_path, args=(str(script),)) for script in scripts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SPAWN_LIMIT_S)
    return [process.exitcode for process in processes]


SHARED = """
import os, sys, time
from pathlib import Path
from clip_bench.store import Store

here = Path(__file__).parent
(here / f"{Path(__file__).stem}.asked").touch()

def build(folder):
    with (here / "builds.log").open("a") as log:
        log.write("built\\n")
    while len(list(here.glob("*.asked"))) < 2:  # until the other is about to ask, too
        time.sleep(0.01)
    time.sleep(0.2)
    (folder / "graph.onnx").write_text("made")

Store(here / "cache").get({"model": "shapes_tiny"}, build)
"""

KILLED = """
import os
from pathlib import Path
from clip_bench.store import Store

def build(folder):
    (folder / "half.onnx").write_text("half of it")
    os._exit(7)

Store(Path(__file__).parent / "cache").get({"model": "shapes_tiny"}, build)
"""


def test_two_processes_that_ask_for_one_recipe_build_it_once(tmp_path):
    scripts = [tmp_path / "one.py", tmp_path / "two.py"]
    for script in scripts:
        script.write_text(SHARED)

    codes = run_processes(*scripts)

    assert codes == [0, 0]
    assert (tmp_path / "builds.log").read_text().split() == ["built"]


def test_what_a_killed_build_left_is_gone_after_the_next(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    codes = run_processes(script)
    left = list(tmp_path.rglob("half.onnx"))

    made = Store(tmp_path / "cache").get({"model": "shapes_tiny"}, Builder())

    assert (codes, len(left)) == ([7], 1)
    assert [path for path in made.path.parent.iterdir() if path.is_dir()] == [made.path]
    assert made.file(".onnx").name == "graph.onnx"


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path))

    assert store.default_root() == tmp_path


def test_the_cache_is_the_users_unless_named(monkeypatch):
    monkeypatch.setenv("CLIP_BENCH_CACHE", "")

    assert "clip-bench" in store.default_root().parts
