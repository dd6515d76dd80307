"""Bars: a part for each figure in its place and its colour, words that stay inside, nothing drawn of nothing."""

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.report import sheet, strips
from clip_bench.report.bars import Bar, stacked

SVG = "{http://www.w3.org/2000/svg}"
LOOKS = {"first": "#0072b2", "second": "#e69f00", "never": "#009e73"}
LONG = "a-target-with-a-name-that-does-not-end " * 6


def bar(label="one", words="7 s", **parts):
    return Bar(label=label, parts=(parts,), words=(words,))


def drawn(*bars):
    return stacked("A tower: how long?", ["seconds (s)"], LOOKS, bars)


def told(svg):
    return {"".join(each.itertext()).strip() for each in ET.fromstring(svg).iter(f"{SVG}text")}  # noqa: S314  our own


def widths(svg, colour):
    """How wide the boxes of one colour are, in points."""
    paths = [each for each in ET.fromstring(svg).iter(f"{SVG}path") if f"fill: {colour}" in each.get("style", "")]  # noqa: S314  our own
    boxes = re.findall(r"M (\S+) \S+\s+L (\S+)", paths[0].get("d")) if paths else []
    return [round(float(right) - float(left), 3) for left, right in boxes]


def test_the_same_bars_make_the_same_bytes():
    assert drawn(bar(first=1.0, second=2.0)) == drawn(bar(first=1.0, second=2.0))


def test_a_part_is_as_wide_as_its_figure_says():
    svg = drawn(bar("one", first=1.0, second=3.0), bar("two", first=2.0))

    one, two = widths(svg, LOOKS["first"])
    (second,) = widths(svg, LOOKS["second"])

    assert two == pytest.approx(2 * one, rel=1e-3)
    assert second == pytest.approx(3 * one, rel=1e-3)


def test_a_part_that_no_bar_has_is_not_in_the_legend():
    words = told(drawn(bar(first=1.0)))

    assert "first" in words
    assert {"second", "never"}.isdisjoint(words)


def test_labels_and_words_are_there_whatever_they_are():
    words = told(drawn(bar("a $x$ <b>&amp;", words="1 < 2 & more", first=1.0), bar("", first=1.0)))

    assert {"a $x$ <b>&amp;", "1 < 2 & more", "-"} <= words


def test_a_long_label_takes_a_few_lines_and_ends_there():
    lines = [word for word in told(drawn(bar(LONG, first=1.0))) if word.startswith(("a-target", "…")) or "name" in word]

    assert 1 <= len(lines) <= strips.LONGEST
    assert max(map(len, lines)) <= strips.WIDEST + 2


def test_a_bar_of_nothing_is_a_bar():
    assert "told nothing" in told(drawn(bar(words="told nothing")))


def test_several_columns_have_the_words_of_each():
    two = Bar(label="one", parts=({"first": 1.0}, {"second": 2.0}), words=("left", "right"))

    words = told(stacked("A tower: where?", ["here (%)", "there (%)"], LOOKS, [two]))

    assert {"left", "right", "here (%)", "there (%)"} <= words


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf], ids=["negative", "nan", "infinite"])
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(UsageError, match="positive, finite numbers"):
        drawn(bar(first=value))


def test_no_bar_and_too_many_are_refused():
    with pytest.raises(UsageError, match="nothing to draw"):
        drawn()
    with pytest.raises(UsageError, match="draw several plots"):
        drawn(*[bar(str(index), first=1.0) for index in range(sheet.MOST_LABELS + 1)])


@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.text(max_size=60), st.floats(0, 1e12), st.text(max_size=200)), min_size=1, max_size=5))
def test_any_words_and_amounts_make_well_formed_xml(several):
    ET.fromstring(drawn(*[bar(label, words=words, first=amount) for label, amount, words in several]))  # noqa: S314  our own
