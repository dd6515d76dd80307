"""A folder becomes rows of embeddings: in order, in full calls, within bounds, and again where it stopped."""

import os
from collections import deque
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench import embed
from clip_bench.data import folders
from clip_bench.errors import UsageError

BATCH = 4
RECIPE = {"case": "a cell", "preprocess": "none"}


def pixels(data):
    """The number that a file holds, as a picture of it."""
    if not data.isdigit():
        msg = "no picture"
        raise UsageError(msg)
    return np.full((3, 2, 2), int(data), np.float32)


class Doubler:
    """An encoder whose embedding is twice the number, and once more: three calls are under way."""

    def __init__(self, stops=-1):
        self.calls, self.stops = [], stops

    def __call__(self, rows):
        left, waiting = iter(rows), deque()
        while part := list(islice(left, BATCH)):
            if len(self.calls) == self.stops:
                raise KeyboardInterrupt
            self.calls.append([int(row[0, 0, 0]) for row in part])
            waiting.append(self.calls[-1])
            if len(waiting) == 3:
                yield from self.answer(waiting.popleft())
        for call in waiting:
            yield from self.answer(call)

    def answer(self, call):
        return np.array([[2 * number, number] for number in call], np.float32)


def folder(root, numbers, bad=()):
    """A file for each number, and *bad* ones that hold none."""
    for number in numbers:
        name = root / f"{number % 3}" / f"{number:04}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text("x" if number in bad else str(number))
    return root


def planned(root, out, **changed):
    told = {"folder": root, "out": out, "recipe": RECIPE, "transform": pixels, "batch": BATCH, "workers": 2, "part": 5}
    return embed.Plan(**(told | changed))


def rows(out):
    table = pq.read_table(out)
    return dict(zip(table["file"].to_pylist(), table["embedding"].to_pylist(), strict=True))


def test_rows_are_in_the_order_of_the_names_and_bad_files_are_left_out(tmp_path):
    root, out = folder(tmp_path / "in", range(23), bad={4, 5, 22}), tmp_path / "out.parquet"
    seen = []

    summary = embed.run(planned(root, out), Doubler(), seen.append)

    names = [name for name in embed.listed(root) if int(name[2:6]) not in {4, 5, 22}]
    assert list(rows(out)) == names
    assert all(found == [2 * int(name[2:6]), int(name[2:6])] for name, found in rows(out).items())
    assert summary.bad == {"1/0004.jpg": "no picture", "2/0005.jpg": "no picture", "1/0022.jpg": "no picture"}
    assert summary.images == 20
    assert sum(seen) == 23
    assert not planned(root, out).parts.exists()


def test_bad_files_leave_no_hole_in_a_call(tmp_path):
    encode = Doubler()

    embed.run(planned(folder(tmp_path / "in", range(18), bad={0, 3, 7}), tmp_path / "out.parquet"), encode)

    assert [len(call) for call in encode.calls] == [4, 4, 4, 3]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), stops=st.lists(st.integers(0, 9), max_size=4), bad=st.sets(st.integers(0, 39)))
def test_a_run_that_was_stopped_goes_on_and_ends_alike(tmp_path_factory, count, stops, bad):
    tmp_path = tmp_path_factory.mktemp("stopped")
    bad = {number for number in bad if number < count - 1}
    root, out = folder(tmp_path / "in", range(count), bad), tmp_path / "out.parquet"
    undisturbed = embed.run(planned(root, tmp_path / "other.parquet"), Doubler())

    for stop in stops:
        try:
            embed.run(planned(root, out), Doubler(stops=stop))
        except KeyboardInterrupt:
            assert not out.exists()
    last = embed.run(planned(root, out), Doubler())

    assert rows(out) == rows(tmp_path / "other.parquet")
    assert last.bad == undisturbed.bad
    assert last.images + last.before == undisturbed.images


def test_what_is_done_is_not_done_again(tmp_path):
    root, out = folder(tmp_path / "in", range(40)), tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        embed.run(planned(root, out), Doubler(stops=8))
    encoder = Doubler()

    summary = embed.run(planned(root, out), encoder)

    assert summary.before == 20  # of 8 calls of 4 the last two were under way: 24, in parts of five
    assert sum(map(len, encoder.calls)) == 20


def test_a_whole_run_has_nothing_left_to_do_and_later_files_are_added(tmp_path):
    root, out = folder(tmp_path / "in", range(10)), tmp_path / "out.parquet"
    embed.run(planned(root, out), Doubler())

    idle = Doubler()
    again = embed.run(planned(root, out), idle)
    assert (again.before, again.images, idle.calls) == (10, 0, [])

    folder(root, range(10, 13))
    assert embed.run(planned(root, out), Doubler()).images == 3
    assert len(rows(out)) == 13


def test_decoding_is_only_so_far_ahead(tmp_path):
    read, taken, most = 0, 0, 0

    def counted(data):
        nonlocal read, most
        read += 1
        most = max(most, read - taken)
        return pixels(data)

    class Slow(Doubler):
        def answer(self, call):
            nonlocal taken
            taken += len(call)
            return super().answer(call)

    embed.run(planned(folder(tmp_path / "in", range(400)), tmp_path / "o.parquet", transform=counted, part=64), Slow())

    assert read == 400
    assert most <= (embed.AHEAD + 3) * BATCH + 2 + 1


@pytest.mark.parametrize("change", [{"case": "another cell"}, {"preprocess": "other"}], ids=["cell", "steps"])
def test_parts_and_outputs_of_another_recipe_are_refused_and_kept(tmp_path, change):
    root, out = folder(tmp_path / "in", range(30)), tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        embed.run(planned(root, out), Doubler(stops=6))
    with pytest.raises(UsageError, match="another cell or preprocessing: remove it"):
        embed.run(planned(root, out, recipe=RECIPE | change), Doubler())
    assert embed.run(planned(root, out), Doubler()).before > 0
    with pytest.raises(UsageError, match="another cell or preprocessing: remove it"):
        embed.run(planned(root, out, recipe=RECIPE | change), Doubler())
    assert len(rows(out)) == 30


def test_a_file_that_is_not_ours_is_refused_and_kept(tmp_path):
    root = folder(tmp_path / "in", range(3))
    foreign, broken = tmp_path / "foreign.parquet", tmp_path / "broken.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    broken.write_bytes(b"PAR1 and no more")
    for out in (foreign, broken):
        before = out.read_bytes()
        with pytest.raises(UsageError, match="remove it, or give another -o"):
            embed.run(planned(root, out), Doubler())
        assert out.read_bytes() == before


def test_strange_files_are_told_and_never_opened(tmp_path):
    root, out = folder(tmp_path / "in", range(2)), tmp_path / "out.parquet"
    os.mkfifo(root / "pipe.jpg")
    (root / "round.jpg").symlink_to(root / "round.jpg")
    (root / "gone.jpg").symlink_to(root / "nowhere")
    (root / "huge.jpg").touch()
    os.truncate(root / "huge.jpg", folders.LARGEST + 1)
    (root / ".hidden.jpg").write_text("3")
    (root / "notes.txt").write_text("4")

    summary = embed.run(planned(root, out), Doubler())

    assert set(summary.bad) == {"pipe.jpg", "round.jpg", "gone.jpg", "huge.jpg"}
    assert summary.bad["pipe.jpg"] == "no regular file"
    assert list(rows(out)) == ["0/0000.jpg", "1/0001.jpg"]


def test_a_folder_without_a_picture_is_an_error_that_leaves_nothing(tmp_path):
    out = tmp_path / "out.parquet"
    with pytest.raises(UsageError, match="no such folder"):
        embed.run(planned(tmp_path / "none", out), Doubler())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").touch()
    with pytest.raises(UsageError, match="none of its 1 files is called"):
        embed.run(planned(tmp_path / "in", out), Doubler())
    with pytest.raises(UsageError, match=r"no picture could be read; the first: 0/0000.jpg: no picture"):
        embed.run(planned(folder(tmp_path / "in", range(7), bad=set(range(7))), out), Doubler())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_each_half_is_timed_alone_and_both_in_turns_are_the_bound(tmp_path):
    root, encode, ticks = folder(tmp_path / "in", range(10)), Doubler(), iter([0.0, 2.0, 5.0, 13.0])

    found = embed.halves(planned(root, tmp_path / "o.parquet"), encode, embed.listed(root), lambda: next(ticks))

    assert (found.preprocess_s, found.inference_s) == (0.2, 0.8)
    assert found.bound == 1.0
    assert [len(call) for call in encode.calls] == [4, 4, 4, 2]


def test_halves_of_what_cannot_be_read_are_no_figure(tmp_path):
    root = folder(tmp_path / "in", range(3), bad={0})
    with pytest.raises(UsageError, match=r"0/0000.jpg: no picture"):
        embed.halves(planned(root, tmp_path / "o.parquet"), Doubler(), embed.listed(root))


def test_the_lines_tell_the_total_the_average_and_the_rate():
    told = list(embed.Summary(images=1000, seconds=5.38702, bad={"a.jpg": "no picture"}).lines())

    assert told[1:] == [
        "Total images: 1000",
        "Total time use: 5387.02ms",
        "Avg time use: 5.39ms",
        "185.63 FPS",
        "left out: a.jpg: no picture",
    ]
    assert list(pairwise(embed.Summary(images=0).lines()))
