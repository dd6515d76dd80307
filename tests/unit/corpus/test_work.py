"""What nodes do, done here: the rows are those of the command for one machine, bit by bit."""

import pickle
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_bench import __main__, backends, cases, corpus
from clip_bench.corpus import sources, work
from clip_bench.corpus.shards import Shards
from clip_bench.corpus.work import Task
from clip_bench.data import generated
from clip_bench.errors import UnavailableError
from clip_bench.specs import Rewrite

BATCH = 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    (root / "sub").mkdir()
    for number, picture in enumerate(generated.evaluation(0, 23, 64).pictures):
        picture.open().save(root / ("sub" if number % 2 else ".") / f"{number:02}.png")
    (root / "sub" / "07.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def alone(pictures, cache, tmp_path_factory):
    """The rows and the note of the command for one machine."""
    out = tmp_path_factory.mktemp("alone") / "out.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_BENCH_CACHE", str(cache))
        assert __main__.main(["embed", str(pictures), "-o", str(out), "--batch", str(BATCH)]) == 1
    return pq.read_table(out)


@pytest.fixture
def task(small):
    case = cases.choose(small, backends.discover(), "", "", "").image
    return Task(case=case, settings=small, batch=BATCH, preprocess="fused", threads=1)


def test_nodes_give_the_rows_of_one_machine_bit_by_bit(pictures, alone, task, tmp_path):
    known = pickle.dumps(task)

    def embedded(left):
        encode = work.Encode(known)
        for planned in work.planned(left):
            for pixels in work.decode(pa.Table.from_pylist([planned]), known):
                yield encode(pixels)

    shards = Shards.begun(tmp_path, sources.units(str(pictures), 10), {})
    summary = corpus.run(shards, embedded)

    table = pq.read_table(tmp_path)
    assert table["file"].to_pylist() == alone["file"].to_pylist()
    assert table["embedding"].to_pylist() == alone["embedding"].to_pylist()
    assert summary.bad == {"sub/07.png": "no picture of a known format: give BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"}


def test_pixels_go_as_the_cell_takes_them(pictures, task):
    (unit,) = sources.units(str(pictures), 99)
    folded = replace(task.case, variant=replace(task.case.variant, rewrites=(Rewrite.FOLDED,)))

    for case, kind in ((task.case, "<f4 3 64 64"), (folded, "|u1 3 64 64")):
        tables = list(
            work.decode(pa.Table.from_pylist(work.planned({3: unit})), pickle.dumps(replace(task, case=case)))
        )
        rows = [row for table in tables for row in table.to_pylist()]
        assert {row["kind"] for row in rows if not row["wrong"]} == {kind}
        assert [row["last"] for row in rows] == [False] * 22 + [True]
        assert [len(table) for table in tables] == [4, 4, 4, 4, 4, 3]
        assert {row["unit"] for row in rows} == {3}


@pytest.mark.parametrize(("batch", "pixels", "expected"), [(4, 64, 32), (16, 224, 96), (64, 224, 128), (1, 224, 8)])
def test_no_more_pixels_wait_for_an_encoder_than_a_few_calls_have(task, batch, pixels, expected):
    case = replace(task.case, model=replace(task.case.model, image_size=pixels))

    assert replace(task, case=case, batch=batch).rows == expected


def test_a_session_that_cannot_be_opened_is_told(task, monkeypatch):
    @contextmanager
    def missing(*_, **__):
        msg = "nothing here"
        raise UnavailableError(msg)
        yield

    monkeypatch.setattr(work.encoder, "opened", missing)

    encode = work.Encode(pickle.dumps(task))
    with pytest.raises(UnavailableError, match="nothing here"):
        encode(work.PIXELS.empty_table())
