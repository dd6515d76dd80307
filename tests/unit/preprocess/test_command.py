"""clip-bench preprocess: a table per picture or folder, and everything in JSON."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from clip_bench.__main__ import main
from clip_bench.preprocess import VARIANTS

LINE = ["preprocess", "--model", "shapes_tiny", "--rounds", "2", "--variant", "fused", "--variant", "grey"]


@pytest.fixture
def folder(tmp_path):
    """Two pictures, their captions, and a file that is cut off."""
    for name, seed in (("a.png", 1), ("b.jpg", 2)):
        rows = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(rows).resize((200, 120)).save(tmp_path / name)
    target = io.BytesIO()
    Image.new("RGB", (90, 90), "red").save(target, "PNG")
    (tmp_path / "cut.png").write_bytes(target.getvalue()[:60])
    (tmp_path / ".hidden").write_bytes(b"x")
    return tmp_path


def test_a_folder_is_a_table_and_bad_files_are_named(folder, capsys):
    status = main([*LINE, str(folder)])

    out = capsys.readouterr().out
    assert status == 0
    assert f"## {folder.name} (2 pictures)" in out
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")] == [
        "TRANSFORMS",
        "open_clip",
        "fused",
        "grey",
    ]
    assert "skipped: cut.png: " in out
    assert "hidden" not in out
    assert "weights are" not in out  # shapes_tiny is trained


def test_captions_add_recall(folder, tmp_path, capsys):
    told = tmp_path / "captions.json"
    told.write_text(json.dumps([{"file": "a.png", "caption": "one"}, {"file": "b.jpg", "caption": "two"}]))

    assert main([*LINE, str(folder), "--captions", str(told)]) == 0

    out = capsys.readouterr().out
    assert "Δ R@1 caption to picture" in out
    assert "R@1 caption to picture of the reference: " in out


def test_the_json_has_every_figure_and_round(folder, capsys):
    target = folder / "told.json"

    assert main([*LINE, str(folder / "a.png"), "--json", str(target)]) == 0

    told = json.loads(target.read_text(encoding="utf-8"))["finding"]
    rows = {row["name"]: row for row in told["sets"][0]["rows"]}
    assert (told["model"], told["rounds"], told["random_weights"]) == ("shapes_tiny", 2, False)
    assert [len(row["rounds_s"]) for row in rows.values()] == [2, 2, 2]
    assert rows["fused"]["processed_diff"] < 1e-4 < rows["grey"]["processed_diff"]
    assert told["versions"]["pillow"]
    assert str(folder) not in target.read_text(encoding="utf-8")
    assert "a.png" in capsys.readouterr().out


def test_nothing_to_measure_ends_with_one(folder, capsys):
    assert main([*LINE, str(folder / "cut.png")]) == 1
    assert "skipped: cut.png: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.png"], "gone.png: no such file or folder; give pictures, or folders of them"),
        ([".", "--variant", "sharp"], f"called 'sharp': give one of {', '.join(VARIANTS)}"),
        ([".", "--rounds", "1"], "--rounds 1: a spread needs at least 2"),
        ([".", "--model", "shapes_big"], "no model is called 'shapes_big'"),
        ([".", "--captions", "gone.json"], "gone.json: "),
    ],
    ids=["path", "variant", "rounds", "model", "captions"],
)
def test_what_cannot_be_used_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["preprocess", *arguments]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
