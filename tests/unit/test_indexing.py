"""A client's batch is one call of the model, its rows are what the database holds, and it finds what exact search does."""

import json
from itertools import count
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_bench import indexing
from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.fetching import Source
from clip_bench.finding import Added

pytest.importorskip("lancedb", reason="needs the extra index")

WIDTH = 8


class Turner:
    """An encoder whose embedding is a fixed turn of what it is fed."""

    def __init__(self):
        self.calls = []
        self.turn = np.linalg.qr(np.random.default_rng(1).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)

    def __call__(self, rows):
        self.calls.append(np.stack(rows))
        yield from self.calls[-1] @ self.turn


def vector(name):
    return np.random.default_rng(int(name)).normal(size=WIDTH).astype(np.float32)


def source(number, bad=()):
    """Numbers as documents; those of *bad* cannot be prepared."""
    return Source(
        documents=[str(each) for each in range(number)],
        fetch=list,
        prepare=lambda names: [UsageError("broken") if int(name) in bad else vector(name) for name in names],
    )


def indexed(documents, encoder, database, **asked):
    return indexing.index(documents, encoder, lambda data: database.create_table("rows", data), **asked)


@pytest.fixture
def database():
    with indexing.database() as opened:
        yield opened


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_batch_of_the_client_is_the_batch_of_the_model(database, size):
    encoder = Turner()

    found = indexed(source(5), encoder, database, size=size, batches=4)

    assert [len(call) for call in encoder.calls] == [size] * 4
    assert found.names == tuple(str(i % 5) for i in range(4 * size))
    assert {part: len(several) for part, several in found.seconds.items()} == dict.fromkeys(indexing.PARTS, 4)


def test_the_rows_in_the_database_are_the_rows_of_the_encoder(database):
    encoder = Turner()

    found = indexed(source(11), encoder, database, size=4, batches=3)
    kept = found.table.to_arrow().to_pydict()

    assert kept["number"] == list(range(12))
    assert kept["document"] == [str(i % 11) for i in range(12)]
    expected = np.concatenate(encoder.calls) @ encoder.turn
    assert np.array_equal(np.array(kept["embedding"], np.float32), expected)
    assert np.array_equal(found.rows, expected)


def test_bad_documents_are_left_out_and_told(database):
    encoder = Turner()

    found = indexed(source(6, bad={1, 4, 5}), encoder, database, size=2, batches=3)

    assert found.left_out == {"1": "broken", "4": "broken", "5": "broken"}
    assert found.names == ("0", "2", "3")
    assert [len(call) for call in encoder.calls] == [1, 2]
    assert len(found.seconds["write"]) == 2
    assert np.allclose(found.rows, np.stack([vector(name) for name in found.names]) @ encoder.turn)
    assert found.table.to_arrow()["document"].to_pylist() == ["0", "2", "3"]


def test_no_good_document_is_an_error_with_the_first_reason(database):
    with pytest.raises(UsageError, match="no document could be indexed; the first: 0: broken"):
        indexed(source(2, bad={0, 1}), Turner(), database, size=2, batches=2)


def test_each_part_has_its_own_seconds(database):
    ticks = count()

    found = indexed(source(4), Turner(), database, size=2, batches=2, clock=lambda: next(ticks) ** 2)

    assert found.seconds == {"fetch": (1, 11), "prepare": (3, 13), "encode": (5, 15), "write": (7, 17)}
    added = Added(documents="some", batch=2, rows=4, seconds=dict(found.seconds))
    assert added.document_s == (8, 28)


def test_the_database_finds_what_exact_search_finds_and_nothing_else_passes(database):
    found = indexed(source(60), Turner(), database, size=12, batches=5)
    queries = np.random.default_rng(2).normal(size=(20, WIDTH)).astype(np.float32)

    recalls, seconds = indexing.search(found, queries)
    answers = [
        found.table.search(query).distance_type("cosine").limit(10).to_arrow()["number"].to_pylist()
        for query in queries
    ]

    assert set(recalls) == {1.0}
    assert len(seconds) == 20
    shuffled = np.random.default_rng(3).permutation(found.rows)
    assert set(indexing.agreement(answers, queries, found.rows)) == {1.0}
    assert fmean(indexing.agreement(answers, queries, shuffled)) < 0.5


def test_documents_that_take_turns_are_tied_and_all_as_good(database):
    found = indexed(source(3), Turner(), database, size=10, batches=5)

    assert set(indexing.search(found, found.rows[:3], k=10)[0]) == {1.0}


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 30), k=st.integers(1, 12), lost=st.integers(0, 12), seed=st.integers(0, 99))
def test_an_answer_that_is_lost_or_told_twice_is_a_miss(rows, k, lost, seed):
    draw = np.random.default_rng(seed)
    kept, queries = draw.normal(size=(rows, WIDTH)), draw.normal(size=(2, WIDTH))
    scores = queries @ (kept / np.linalg.norm(kept, axis=1, keepdims=True)).T
    nearest, asked = np.argsort(-scores, axis=1), min(k, rows)
    lost = min(lost, asked)
    answers = [[*order[: asked - lost], *order[: asked - lost][:lost]] for order in nearest]

    assert fmean(indexing.agreement(answers, queries, kept, k)) == pytest.approx((asked - lost) / asked)


def test_the_command_prints_both_tables_and_tells_what_was_left_out(tmp_path, cache, monkeypatch, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_text("no picture")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    out, plot = tmp_path / "out.json", tmp_path / "out.svg"

    status = main(["index", "--data", str(folder), "--batches", "2", "--json", str(out), "--plot", str(plot)])

    said = capsys.readouterr().out
    assert status == 1
    assert "| Image Indexing Time (CBS = 2) |" in " ".join(said.split()).replace("  ", " ")
    assert said.splitlines()[-1].startswith("- left out: broken.jpg: no picture of a known format")
    (case,) = json.loads(out.read_text())["finding"]["cases"]
    assert [(each["documents"], each["batch"]) for each in case["added"]] == [("image", 2), ("text", 2)]
    assert all(len(each["seconds"]["encode"]) >= indexing.LEAST - 1 for each in case["added"])
    assert [(each["batch"], each["recall"]) for each in case["searched"]] == [(2, 1.0)]
    assert plot.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batches", "0"], "numbers of at least 1"),
        (["--batches", "1,x"], "numbers of at least 1"),
        (["--documents", "0"], "numbers of at least 1"),
        (["--plot", "nowhere/out.svg"], "its folder does not exist"),
        (["--plot", "out.svg", "--batches", "1,2,3,4,5,6,7,8,9"], "8 can be told apart"),
        (["--case", "pair-shapes_tiny-torch-cpu-fp32"], "takes a picture with its texts"),
        (["--case", "image-shapes_tiny-null-cpu-fp32"], "no cell of shapes_tiny is image-shapes_tiny-null-cpu-fp32"),
    ],
    ids=["zero", "word", "none", "nowhere", "many", "words", "replayed"],
)
def test_what_cannot_be_done_is_one_line(arguments, said, cache, monkeypatch, capsys):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))

    assert main(["index", *arguments]) == 2

    assert said in capsys.readouterr().err
