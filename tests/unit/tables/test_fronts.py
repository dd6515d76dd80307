"""The Pareto front holds what nothing beats, and all of it; its plot is the same bytes, with words beside its cells."""

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.report import fronts, sheet
from clip_bench.report.fronts import Scale, Spot

SVG = "{http://www.w3.org/2000/svg}"
SCALE = Scale(noun="accuracy", words="top-1 (%)", least=2.0, most=100.0)
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def spots(count, labels=3):
    return [
        Spot(label=f"runtime-{rank % labels}", words=f"kind {rank}", ms=1.0 + rank % 7, good=99.0 + rank % 5 / 10)
        for rank in range(count)
    ]


def drawn(several):
    (svg,) = fronts.plot("A tower", SCALE, several, sorted({spot.label for spot in several}))
    return svg


def words(svg):
    """Every word on the plot with where it begins, in points from above and from the left."""
    found = {}
    for each in ET.fromstring(svg).iter(f"{SVG}text"):  # noqa: S314  our own
        shift = re.search(r"translate\((\S+) (\S+)\)", each.get("transform", ""))
        x, y = (float(shift[1]), float(shift[2])) if shift else (float(each.get("x")), float(each.get("y")))
        found["".join(each.itertext())] = (y, x)
    return found


@given(POINTS)
def test_what_is_on_the_front_is_beaten_by_nothing_and_what_is_not_by_some_of_it(points):
    front = [points[place] for place in fronts.pareto(points)]

    for point in points:
        assert (point in front) is not any(beats(other, point) for other in points)
        assert point in front or any(beats(other, point) for other in front)


@given(POINTS)
def test_the_front_costs_more_and_gains_more_from_place_to_place(points):
    places = fronts.pareto(points)

    assert len(set(places)) == len(places)
    for one, two in combinations([points[place] for place in places], 2):
        assert one == two or (one[0] < two[0] and one[1] < two[1])


@given(POINTS, st.randoms())
def test_the_front_is_the_same_in_any_order(points, randoms):
    shuffled = list(points)
    randoms.shuffle(shuffled)

    assert [points[place] for place in fronts.pareto(points)] == [shuffled[place] for place in fronts.pareto(shuffled)]


def test_the_same_cells_make_the_same_bytes_with_a_question_for_a_title():
    svg = drawn(spots(12))

    assert svg == drawn(spots(12))
    title = ET.fromstring(svg).find(".//{http://purl.org/dc/elements/1.1/}title")  # noqa: S314  our own
    assert title.text == "A tower: what does accuracy cost in latency?"
    assert title.text in words(svg)


@pytest.mark.parametrize("apart", [0.0, 0.001, 0.05], ids=["one_place", "close", "far"])
def test_cells_on_the_front_all_have_their_words_and_none_over_another(apart):
    several = [
        Spot(label="one", words=f"kind {rank}", ms=1.0 + apart * rank, good=99.0 + apart * rank) for rank in range(6)
    ]

    told = words(drawn(several))

    places = [told[f"kind {rank}"] for rank in range(6)]
    assert all(abs(a[0] - b[0]) > 7 or abs(a[1] - b[1]) > 20 for a, b in combinations(places, 2))


def test_more_cells_than_there_is_room_for_words_are_drawn_all_the_same():
    several = [Spot(label="one", words="a kind with a long name", ms=1.0, good=99.0) for _ in range(200)]

    svg = drawn(several)

    assert 1 <= svg.count("a kind with a long name") < 200
    assert len(re.findall(r"<use ", svg)) > 200


def test_words_of_any_kind_are_words():
    odd = ['a $x$ of _one_ <b>&amp; "two"', "_hidden", "中文 ẞ", "two\nlines", "\x00\ud800 broken"]
    several = [Spot(label=word, words=word, ms=1.0 + rank, good=99.0) for rank, word in enumerate(odd)]

    ET.fromstring(drawn(several))  # noqa: S314  our own


def test_more_labels_than_are_told_apart_make_plots_with_one_front():
    several = spots(60, labels=sheet.MOST_LABELS + 1)

    svgs = fronts.plot("A tower", SCALE, several, sorted({spot.label for spot in several}))

    assert len(svgs) == 2
    assert all(fronts.FRONT in words(svg) for svg in svgs)
    assert len({word for svg in svgs for word in words(svg) if word.startswith("runtime-")}) == sheet.MOST_LABELS + 1


def test_a_label_looks_the_same_whatever_stands_beside_it():
    alone, order = [spot for spot in spots(9) if spot.label == "runtime-2"], ["runtime-0", "runtime-1", "runtime-2"]

    (svg,) = fronts.plot("A tower", SCALE, alone, order)

    assert sheet.COLOURS[2].lower() in svg
    assert sheet.COLOURS[0].lower() not in svg


@pytest.mark.parametrize("ms", [0.0, -1.0, float("nan"), float("inf")], ids=["zero", "negative", "nan", "infinite"])
def test_a_time_that_is_none_is_refused(ms):
    with pytest.raises(UsageError, match="positive, finite"):
        drawn([Spot(label="one", words="a kind", ms=ms, good=99.0)])


def test_nothing_to_draw_is_refused():
    with pytest.raises(UsageError, match="nothing to draw"):
        fronts.plot("A tower", SCALE, [], [])


def test_an_axis_of_good_ends_where_good_ends():
    low, high = fronts._limits([99.9, 100.0], SCALE)

    assert high - low == pytest.approx(2)
    assert 100 < high < 100.2
