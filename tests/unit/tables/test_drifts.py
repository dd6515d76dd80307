"""Distances of samples: each cell's own histogram beside the noise and its gate, and clear words for what is none."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.plain import printable
from clip_bench.quality import values
from clip_bench.record import Compared, Quality, Record
from clip_bench.report import drifts

SVG = "{http://www.w3.org/2000/svg}"
FLOOR = {"again": "0 0", "batch": "1e-14 3e-14", "threads": "0 1e-15"}


def compared(*distances, output="embeds", floor=FLOOR):
    text = values.told(np.array(distances, np.float64))
    return Compared(output=output, drift=text, identified="1", difference="0", floor=floor)


def row(*outputs, precision="bf16", failures="", target="torch-cpu"):
    quality = Quality(similarity=(), scores=(), failures=(), compared=outputs) if outputs else None
    record = Record(
        case="a case", tower="", model="", target=target, precision=precision, variant="", weights="", quality=quality
    )
    told = {"target": target, "precision": precision, "bare": "", "failures": failures}
    return told | {"run": "a run", "case": "a case", "record": record}


def told(svg):
    return [each.text for each in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  our own


def test_the_nearest_cell_stands_first_below_the_reference():
    rows = [row(compared(1e-3, 2e-3), target="far-cpu"), row(compared(1e-9, 2e-9), target="near-cpu")]

    (svg,) = drifts.pictures("A tower", rows)

    words = [word for word in told(svg) if word and ("cpu" in word or "reference," in word)]
    assert words == ["reference, in another batch", "near-cpu bf16", "far-cpu bf16"]


def test_a_cell_counts_by_its_farthest_output():
    near, far = compared(1e-9, output="near"), compared(1e-3, 3e-3, output="far")

    first, second = drifts.distances(row(near, far))

    assert (first["output"], second["output"]) == ("far", "near")
    assert (first["nearest"], first["mean"], first["farthest"]) == pytest.approx((1e-3, 2e-3, 3e-3))
    assert first["noise"] == pytest.approx(2e-14)


def test_a_cell_that_failed_is_told_apart_and_only_then():
    passed, failed = row(compared(1e-3)), row(compared(0.5), failures="too far")

    assert drifts.FAILED not in told(drifts.pictures("A tower", [passed])[0])
    assert drifts.FAILED in told(drifts.pictures("A tower", [passed, failed])[0])


def test_a_precision_without_a_gate_has_a_histogram_all_the_same():
    assert "torch-cpu fp9" in told(drifts.pictures("A tower", [row(compared(1e-3), precision="fp9")])[0])


def test_an_older_record_has_no_picture():
    assert drifts.pictures("A tower", [row()]) == []
    assert drifts.distances(row()) == []


def test_no_finite_sample_is_no_picture():
    assert drifts.pictures("A tower", [row(compared(np.nan, np.inf))]) == []


def test_what_is_no_number_is_told_with_its_run_and_its_cell():
    broken = Compared(output="embeds", drift="1e-3 oops", identified="", difference="", floor={})

    with pytest.raises(UsageError, match=r"a run: a case: .*no numbers"):
        drifts.pictures("A tower", [row(broken)])
    with pytest.raises(UsageError, match=r"a run: a case: .*no numbers"):
        drifts.distances(row(compared(1e-3, floor={"again": "oops"})))


def test_more_cells_than_fit_make_several_pictures_with_the_reference_in_each():
    rows = [row(compared(10.0**-power), target=f"t{power}-cpu") for power in range(1, drifts.MOST_STRIPS + 2)]

    several = drifts.pictures("A tower", rows)

    assert len(several) == 2
    assert all("reference, in another batch" in told(svg) for svg in several)


def test_the_axis_says_where_zero_stands_and_only_then():
    (exact,) = drifts.pictures("A tower", [row(compared(0.0, 1e-9))])
    (near,) = drifts.pictures("A tower", [row(compared(1e-9))])

    assert any("stands at 1e-16" in (word or "") for word in told(exact))
    assert not any("stands at" in (word or "") for word in told(near))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(min_value=-1e308, max_value=1e308), min_size=1, max_size=50))
def test_any_finite_distances_make_the_same_small_picture_twice(distances):
    one, two = (drifts.pictures("A tower", [row(compared(*distances))]) for _ in range(2))

    assert one == two
    assert len(one[0]) < 40_000
    assert printable("A tower: how far is each sample from the reference?") in one[0]
