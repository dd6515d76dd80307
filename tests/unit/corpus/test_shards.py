"""Shards are whole, each picture is in one of them once, and the manifest lists what is whole alone."""

import hashlib
import json
from contextlib import suppress

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_bench import corpus, places
from clip_bench.corpus import shards as module
from clip_bench.corpus.shards import MANIFEST, Shards
from clip_bench.errors import ClipBenchError, UsageError
from clip_bench.fleet.cluster import GoneError

RECIPE = {"case": "a cell", "batch": 4, "preprocess": "fused"}


def begun(out, units, **changed):
    return Shards.begun(out, units, RECIPE | changed)


def manifest(out):
    return json.loads((out / MANIFEST).read_text())


def found(out):
    """What is in the shards, in their order."""
    tables = [pq.read_table(path) for path in sorted(out.glob("*.parquet"))]
    return [
        row for table in tables for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    ]


def expected(units):
    names = [name for unit in units for name in unit.names]
    return [(name, [float(name[:2]), 1.0]) for name in names if int(name[:2]) % 7 != 6]


def all_of(told, table, order=lambda rows: rows):
    """A cluster that tells everything that is asked, two rows at a time, in the *order*."""

    def embedded(left):
        rows = order([row for number, unit in left.items() for row in told(number, unit)])
        return [table(rows[first : first + 2]) for first in range(0, len(rows), 2)]

    return embedded


def test_rows_that_come_in_any_order_are_in_the_order_of_the_pictures(tmp_path, units, told, table):
    summary = corpus.run(begun(tmp_path, units), all_of(told, table, lambda rows: rows[::-1][1::2] + rows[::-1][::2]))

    assert found(tmp_path) == expected(units)
    assert summary.bad == {"06.png": "no picture", "13.png": "no picture"}
    assert summary.images == 13
    assert manifest(tmp_path)["complete"] is True
    assert manifest(tmp_path)["recipe"] == RECIPE | {"artifact": "an artifact"}


def test_the_manifest_has_each_shards_hash_and_bad_pictures(tmp_path, units, told, table):
    corpus.run(begun(tmp_path, units), all_of(told, table))

    listed = manifest(tmp_path)["shards"]
    assert list(listed) == ["0", "1", "2", "3", "4"]
    assert [each["bad"] for each in listed.values()] == [{}, {"06.png": "no picture"}, {}, {}, {"13.png": "no picture"}]
    for number, each in listed.items():
        assert each["sha256"] == hashlib.sha256((tmp_path / f"{int(number):06}.parquet").read_bytes()).hexdigest()


def test_readers_of_a_folder_of_parquet_pass_over_the_manifest(tmp_path, units, told, table):
    corpus.run(begun(tmp_path, units), all_of(told, table))

    assert pq.read_table(tmp_path).num_rows == 13


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_dies_every_picture_is_there_once(tmp_path_factory, units, told, table, data):
    out = tmp_path_factory.mktemp("out")

    deaths = data.draw(st.lists(st.sampled_from([GoneError("node"), KeyboardInterrupt(), OSError("head")]), max_size=5))

    def embedded(left):
        rows = [row for number, unit in left.items() for row in told(number, unit)]
        rows = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4))))
        ends = deaths.pop() if deaths else None
        for row in rows[: len(rows) if ends is None else data.draw(st.integers(0, len(rows)))]:
            yield table([row])
        if ends is not None:
            raise ends

    while not (out / MANIFEST).exists() or not manifest(out)["complete"]:
        with suppress(ClipBenchError, KeyboardInterrupt, OSError):
            corpus.run(begun(out, units), embedded)
        assert set(manifest(out)["shards"]) == {str(int(path.stem)) for path in out.glob("*.parquet")}

    assert found(out) == expected(units)


def test_what_is_whole_is_not_asked_for_again(tmp_path, units, told, table):
    def dying(left):
        yield table(row for number in (0, 3) for row in told(number, left[number]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.run(begun(tmp_path, units), dying)
    asked = []

    def rest(left):
        asked.extend(left)
        return all_of(told, table)(left)

    before = manifest(tmp_path)
    summary = corpus.run(begun(tmp_path, units), rest)

    assert before["complete"] is False
    assert asked == [1, 2, 4]
    assert (summary.before, summary.images) == (7, 6)
    assert found(tmp_path) == expected(units)


def test_a_shard_that_the_manifest_does_not_list_is_made_again(tmp_path, units, told, table):
    corpus.run(begun(tmp_path, units), all_of(told, table))
    kept = manifest(tmp_path)
    del kept["shards"]["1"]
    (tmp_path / MANIFEST).write_text(json.dumps(kept))
    (tmp_path / "000001.parquet").write_bytes(b"half")

    corpus.run(begun(tmp_path, units), all_of(told, table))

    assert found(tmp_path) == expected(units)


def test_a_node_that_dies_is_told_and_one_that_always_does_ends_it(tmp_path, units, told, table):
    said = []

    def dying(left):
        yield table(told(0, left[0]) if 0 in left else [])
        msg = "it died"
        raise GoneError(msg)

    with pytest.raises(ClipBenchError, match="3 times in a row a node died before one more shard was whole: it died"):
        corpus.run(begun(tmp_path, units), dying, say=said.append)

    assert said[0] == "a node died, or a process on it (it died); 4 shards are left, and go on without it"
    assert len(said) == 3
    assert list(manifest(tmp_path)["shards"]) == ["0"]


@pytest.mark.parametrize(
    "change", [{"case": "other"}, {"batch": 8}, {"preprocess": "other"}], ids=["cell", "call", "steps"]
)
def test_another_recipe_is_refused(tmp_path, units, told, table, change):
    corpus.run(begun(tmp_path, units), all_of(told, table))

    with pytest.raises(UsageError, match="of another cell or preprocessing: give another -o"):
        begun(tmp_path, units, **change)


def test_a_folder_of_somebody_elses_tables_is_refused(tmp_path, units):
    (tmp_path / "000000.parquet").write_bytes(b"mine")

    with pytest.raises(UsageError, match=r"000000\.parquet is in no manifest of clip-bench: give an empty folder"):
        begun(tmp_path, units)


def test_other_pictures_are_refused(tmp_path, units, told, table):
    corpus.run(begun(tmp_path, units), all_of(told, table))

    with pytest.raises(UsageError, match="of other pictures, or in shards of another size: give another -o"):
        begun(tmp_path, units[:-1])


def test_a_node_with_other_packages_is_refused(tmp_path, units, told, table):
    def differing(left):
        yield table(told(0, left[0]))
        yield table(told(1, left[1], artifact="another"))

    with pytest.raises(UsageError, match="a node embeds with artifact another, others did with an artifact"):
        corpus.run(begun(tmp_path, units), differing)


@pytest.mark.parametrize("held", ["", "[]", "{}", '{"recipe": {}, "units": {}, "shards": {"x": {}}}', '{"shards": 1'])
def test_what_is_no_manifest_is_one_line_and_is_kept(tmp_path, units, held):
    (tmp_path / MANIFEST).write_text(held)

    with pytest.raises(UsageError, match=MANIFEST):
        begun(tmp_path, units)

    assert (tmp_path / MANIFEST).read_text() == held


def test_nothing_but_bad_pictures_is_an_error(tmp_path, units, told, table):
    bad = [{**row, "wrong": b"no picture", "embedding": b""} for row in told(0, units[0])]

    with pytest.raises(UsageError, match=r"no picture could be read; the first: 00\.png: no picture"):
        corpus.run(begun(tmp_path, units[:1]), lambda _: [table(bad)])

    assert not list(tmp_path.glob("*.parquet"))


def test_a_name_that_is_no_utf8_is_among_the_bad_ones(tmp_path, units, told, table):
    bad = {**next(told(0, units[2])), "name": b"a\xff.png", "wrong": b"odd"}

    with pytest.raises(UsageError, match="no picture could be read"):
        corpus.run(begun(tmp_path, units[2:3]), lambda _: [table([bad])])

    assert manifest(tmp_path)["shards"]["0"]["bad"] == {"a\udcff.png": "odd"}


def test_shards_may_be_written_elsewhere(units, told, table):
    system = fsspec.filesystem("memory")
    try:
        corpus.run(begun(places.of("memory://corpus/out"), units), all_of(told, table))
        again = begun(places.of("memory://corpus/out"), units)
        names = sorted(path.rpartition("/")[2] for path in system.ls("/corpus/out", detail=False))
    finally:
        system.rm("/corpus", recursive=True)

    assert again.left == {}
    assert names == ["000000.parquet", "000001.parquet", "000002.parquet", "000003.parquet", "000004.parquet", MANIFEST]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, units, told, table):
    (tmp_path / "out").write_text("a file")

    with pytest.raises(UsageError, match="give the same command again once it can be written"):
        corpus.run(Shards(out=tmp_path / "out", units=units, recipe={}), all_of(told, table))


def test_the_manifest_is_kept_while_it_goes_on(tmp_path, units, told, table, monkeypatch):
    monkeypatch.setattr(module, "KEPT_S", 0)
    monkeypatch.setattr(module, "PAUSES", 0)
    kept = []

    def looked(left):
        for number, unit in left.items():
            yield table(told(number, unit))
            kept.append(len(manifest(tmp_path)["shards"]))

    corpus.run(begun(tmp_path, units), looked)

    assert kept == [1, 2, 3, 4, 5]
