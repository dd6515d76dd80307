"""clip-bench cache shows, tells before it removes, and says what it kept."""

import gc
import os

import pytest

from clip_bench.__main__ import main
from clip_bench.store import MANIFEST, Store


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path))
    return tmp_path


def made(root, recipe, size=1_000_000):
    found = Store(root).get(recipe, lambda folder: (folder / "graph.onnx").write_bytes(bytes(size)))
    os.utime(found.path / MANIFEST, (0, 0))
    return found


def said(capsys, *arguments):
    status = main(["cache", *arguments])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_an_empty_cache_says_so(root, capsys):
    status, out = said(capsys)

    assert status == 0
    assert out.splitlines()[::2] == [f"The cache is {root}", "No artifact is in it."]


def test_the_table_has_a_row_for_each_kind_and_a_sum(root, capsys):
    for number in range(2):
        made(root, {"step": "program", "model": "acme", "dtype": "float32", "n": number})
    made(root, {"step": "feeds", "model": "a|b\n"}, 3_000_000)
    (root / "ab").mkdir()
    (root / "weights.json").write_text("{}")

    _, out = said(capsys)

    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert rows[0] == ["Step", "Model", "Precision", "Number", "Size (MB)", "Last used"]
    assert [row[:5] for row in rows[2:]] == [
        ["feeds", "a&#124;b", "-", "1", "3.0"],
        ["program", "acme", "fp32", "2", "2.0"],
        ["all", "-", "-", "3", "5.0"],
    ]
    assert all(row[5].startswith("19") for row in rows[2:])
    assert "1 of an earlier layout, 0.0 MB" in out
    assert "weights.json, 0.0 MB" in out.partition("never pruned:")[2]


@pytest.mark.parametrize(
    "asked", [["--older-than", "1"], ["--keep-size", "0.0005"], ["--all"]], ids=["age", "size", "all"]
)
def test_nothing_goes_before_yes(root, capsys, asked):
    home = made(root, {"step": "feeds"}).path
    gc.collect()

    first = said(capsys, "prune", *asked)
    still = home.is_dir()
    second = said(capsys, "prune", *asked, "--yes")

    assert first[0] == second[0] == 0
    assert f"feeds, 1.0 MB: {home}" in first[1]
    assert "add --yes" in first[1]
    assert still
    assert "1 of its folders, 1.0 MB, removed" in second[1]
    assert not home.exists()


def test_what_is_in_use_is_kept_and_told(root, capsys):
    held = made(root, {"step": "feeds"})

    status, out = said(capsys, "prune", "--all", "--yes")

    assert status == 1
    assert f"kept, in use: feeds, 1.0 MB: {held.path}" in out
    assert held.file(".onnx").is_file()


def test_a_damaged_file_is_found_by_reading_it(root, capsys):
    home = made(root, {"step": "feeds"}).path
    gc.collect()
    clean = said(capsys, "prune", "--broken")
    (home / "graph.onnx").write_bytes(b"1")

    assert clean == (0, "nothing to prune\n")
    assert f"broken, 0.0 MB: {home}" in said(capsys, "prune", "--broken")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "prune needs one of"),
        (["--all"], "clip-bench cache prune removes"),
        (["--yes"], "clip-bench cache prune removes"),
        (["prune", "--older-than", "-1"], "--older-than -1: a number from 0 on"),
        (["prune", "--keep-size", "nan"], "--keep-size nan: a number from 0 on"),
        (["prune", "--keep-size", "inf"], "--keep-size inf: a number from 0 on"),
    ],
    ids=["nothing", "showing", "agreeing", "negative", "nan", "endless"],
)
def test_what_makes_no_sense_is_one_line(root, capsys, arguments, message):
    made(root, {"step": "feeds"})

    status, out = said(capsys, *arguments)

    assert status == 2
    assert message in out
    assert out.count("\n") == 1
