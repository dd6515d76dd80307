"""The noise floor is what the reference drifts by from itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.quality import noise


def draw(seed):
    return np.random.default_rng(seed).standard_normal((12, 32)).astype(np.float32)


def test_a_reference_that_repeats_itself_has_no_noise():
    rows = draw(1)

    floor = noise.measure(rows, again=rows.copy(), batch=rows.copy(), threads=rows.copy())

    assert floor.drift == 0
    assert not any(rows.any() for rows in floor.ways.values())


@settings(max_examples=20, deadline=None)
@given(st.permutations([1e-7, 1e-6, 1e-5]))
def test_each_way_has_its_own_drift_and_the_floor_is_the_largest(sizes):
    rows = draw(2).astype(np.float64)
    aside = draw(3) * np.linalg.norm(rows, axis=1, keepdims=True)
    aside -= rows * ((aside * rows).sum(axis=1) / np.square(rows).sum(axis=1))[:, np.newaxis]
    aside *= (np.linalg.norm(rows, axis=1) / np.linalg.norm(aside, axis=1))[:, np.newaxis]

    floor = noise.measure(
        rows, **{way: rows + size * aside for way, size in zip(("again", "batch", "threads"), sizes, strict=True)}
    )

    assert [rows.mean() for rows in floor.ways.values()] == pytest.approx([size**2 / 2 for size in sizes], rel=1e-4)
    assert floor.drift == pytest.approx(5e-11, rel=1e-4)


def test_noise_of_one_bit_is_seen():
    rows = draw(4)
    other = rows.copy()
    other[3, 5] = np.nextafter(other[3, 5], np.float32(np.inf))

    floor = noise.measure(rows, again=rows, batch=other, threads=rows)

    assert 0 < floor.batch.mean() < 1e-15
    assert floor.drift == floor.batch.mean()


def test_noise_is_never_negative_nor_unknown():
    rows = draw(5)
    lost = rows.copy()
    lost[0] = np.nan

    floor = noise.measure(rows, again=-rows, batch=lost, threads=rows * 4)

    assert floor.again.mean() == pytest.approx(2)
    assert floor.batch.mean() == pytest.approx(1 / 12)
    assert 0 <= floor.threads.mean() < 1e-30


def test_another_shape_is_an_error():
    rows = draw(6)

    with pytest.raises(ValueError, match="cannot be compared"):
        noise.measure(rows, again=rows[:3], batch=rows, threads=rows)


def test_no_rows_are_an_error():
    rows = draw(7)[:0]

    with pytest.raises(ValueError, match="at least one row"):
        noise.measure(rows, again=rows, batch=rows, threads=rows)
