"""Scores of pictures that show labels: what is known of scenes, what an oracle and a guess get, and the table."""

import json
from pathlib import Path

import numpy as np
import pytest

from clip_bench import retrieval
from clip_bench.__main__ import main
from clip_bench.data import folders, scenes
from clip_bench.finding import Share
from clip_bench.retrieval import Collection


@pytest.fixture(scope="module")
def drawn():
    return retrieval.of_scenes(50, 8)


def bag(words):
    """A row for each text: which labels it names."""
    return np.array([[phrase in word for phrase in scenes.PROMPTS] for word in words], np.float32)


def test_labels_of_scenes_are_the_things_that_they_show(drawn):
    assert len(drawn.pictures) == len(drawn.captions) == 150
    assert [sorted(set(part.sum(axis=1))) for part in np.split(drawn.shows, 3)] == [[1], [2], [3]]
    assert not any(drawn.captions[:100])
    for row, (caption,) in zip(drawn.shows[100:], drawn.captions[100:], strict=True):
        assert sorted(drawn.prompts[i] for i in np.flatnonzero(row)) == sorted(
            caption.replace(" and ", ", ").split(", ")
        )


def test_an_oracle_finds_every_label_and_tells_how_many_were_asked(drawn):
    asked = []

    def embed(words):
        asked.append(len(words))
        return bag(words)

    found = retrieval.scores(drawn, drawn.shows.astype(np.float32), embed)

    queries = [found[f"text_to_image_{labels}"].queries for labels in retrieval.NAMED]
    assert [found[f"text_to_image_{labels}"].share for labels in (2, 3)] == [1.0, 1.0]
    assert queries == asked[:3]
    assert queries[2] == 50
    assert found["image_to_text"].queries == 150
    assert found["t2i_r1"] == Share(share=1.0, queries=50, hits=" ".join("1" * 50))
    assert found["i2t_r1"].queries == 50


def test_what_knows_nothing_finds_little(drawn):
    draw = np.random.default_rng(5)

    found = retrieval.scores(
        drawn, draw.normal(size=(150, 16)), lambda words: draw.normal(size=(len(words), 16)).astype(np.float32)
    )

    assert found["text_to_image_3"].share < 0.2
    assert found["image_to_text"].share < 0.2
    assert found["t2i_r1"].share < 0.2 < found["text_to_image_1"].queries


def test_captions_alone_have_recall_and_no_labels():
    bare = Collection(
        pictures=(None,) * 12, shows=np.zeros((12, 0), bool), prompts=(), captions=tuple((str(i),) for i in range(12))
    )
    rows = np.eye(12, dtype=np.float32)

    found = retrieval.scores(bare, rows, lambda words: rows[[int(word) for word in words]])

    assert {name: found[name].share for name in found if found[name].share is not None} == {
        f"{way}_r{k}": 1.0 for way in ("t2i", "i2t") for k in (1, 5, 10)
    }


def test_classes_alone_have_one_label_each_and_no_recall():
    shows = np.repeat(np.eye(4, dtype=bool), 3, axis=0)
    classes = Collection(pictures=(None,) * 12, shows=shows, prompts=tuple("abcd"), captions=((),) * 12)
    rows = shows.astype(np.float32)

    found = retrieval.scores(classes, rows, lambda words: np.eye(4, dtype=np.float32)[["abcd".index(w) for w in words]])

    assert found["text_to_image_1"].queries == 4
    assert found["image_to_text"] == Share(share=1.0, queries=12, hits=" ".join("1" * 12))
    assert found["image_to_image"] == Share(share=1.0, queries=12, hits=" ".join("1" * 12))
    assert found["text_to_image_2"] == found["text_to_image_3"] == Share(share=None, queries=0)
    assert not {name for name in found if "_r" in name}


def test_the_command_prints_the_table_and_marks_what_is_not_defined(tmp_path, cache, monkeypatch, capsys):
    drawn = retrieval.of_scenes(4, 64)
    for place, picture in enumerate(drawn.pictures[:4]):
        path = tmp_path / "data" / str(place % 2) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.open().save(path)
    (tmp_path / "data" / "1" / "broken.png").write_text("no picture")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    out = tmp_path / "out.json"

    assert main(["retrieval", "--scenes", "4", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert main(["retrieval", "--data", str(tmp_path / "data")]) == 1
    other = capsys.readouterr().out

    (row,) = (line for line in said.splitlines() if line.startswith("| shapes_tiny"))
    assert "n/a" not in row.rpartition("|")[0].split("|")[2]
    scores = json.loads(out.read_text())["finding"]["cases"][0]["scores"]
    assert scores["image_to_text"]["queries"] == 12
    assert scores["t2i_r5"]["share"] > 0.5
    (row,) = (line for line in other.splitlines() if line.startswith("| shapes_tiny"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == ["n/a", "n/a"]
    assert cells[6:] == ["n/a", "n/a"]
    assert cells[1].endswith("(2)")
    assert other.splitlines()[-1].startswith("- left out: 1/broken.png: ")


def test_real_pictures_by_class_folders_are_read_from_anywhere(pytestconfig, tmp_path):
    shared = Path(pytestconfig.rootpath).parent / "shared" / "data" / "coco50"
    if not shared.is_dir():
        pytest.skip("needs ../shared/data/coco50 beside the repository: photographs")
    for place, path in enumerate(sorted(shared.glob("*.jpg"))[:4]):
        (tmp_path / str(place % 2)).mkdir(exist_ok=True)
        (tmp_path / str(place % 2) / path.name).symlink_to(path)

    found = retrieval.of_samples(folders.read(tmp_path))

    assert found.shows.tolist() == [[True, False]] * 2 + [[False, True]] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--scenes", "0"], "at least 1"), (["--data", "nowhere"], "no such file or folder")],
    ids=["zero", "nowhere"],
)
def test_what_cannot_be_scored_is_one_line(arguments, said, cache, monkeypatch, capsys):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))

    assert main(["retrieval", *arguments]) == 2

    assert said in capsys.readouterr().err
