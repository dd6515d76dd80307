"""What the plots promise: the same bytes for the same data, words that are words, and nothing drawn of nothing."""

import math
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.record import Work
from clip_bench.report import plots, sheet
from clip_bench.report.plots import Curve, Mark, Point, Roof, Series
from clip_bench.timing.roofline import Ceiling

ODD = ['a $x$ of _one_ <b>&amp; "two"', "_hidden", "中文 ẞ", "two\nlines", "\x00\ud800 broken", ""]
LONG = "a-target-with-a-name-that-does-not-end " * 6
SVG = "{http://www.w3.org/2000/svg}"


def curves(labels):
    return [
        Curve(label=label, seconds=tuple(1e-3 * (rank + 1) * (1 + call / 10) for call in range(20)))
        for rank, label in enumerate(labels)
    ]


def distribution(labels):
    return plots.latencies("A tower", curves(labels))


def sizes(labels):
    return plots.batches(
        "A tower",
        [
            Series(label=label, points=tuple((batch, 1e-3 * (batch + rank)) for batch in (1, 2, 8)))
            for rank, label in enumerate(labels, 1)
        ],
    )


def roofs(labels):
    points = [
        Point(label=label, work=Work(flops=1e9 * rank, bytes=1e7), seconds=0.01) for rank, label in enumerate(labels, 1)
    ]
    told = [
        Roof(label="measured", ceiling=Ceiling(1e12, 2e10, "a test")),
        Roof(label="flat", ceiling=Ceiling(2e12, math.inf, "a test")),
    ]
    return plots.roofline("A machine", told, points)


KINDS = {"distribution": distribution, "batch": sizes, "roofs": roofs}
kinds = pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)


def words(svg):
    """Every text of a plot with its height on the page, from above."""
    found = []
    for each in ET.fromstring(svg).iter(f"{SVG}text"):  # noqa: S314  our own
        shift = re.search(r"translate\(\S+ (\S+)\)", each.get("transform", ""))
        found.append(("".join(each.itertext()), float(each.get("y") or 0) + (float(shift[1]) if shift else 0)))
    return found


@kinds
def test_the_same_data_make_the_same_bytes(draw):
    assert draw(["one", "two"]) == draw(["one", "two"])


@kinds
def test_no_day_and_no_version_is_in_a_plot(draw):
    svg = draw(["one"])

    assert "dc:date" not in svg
    assert mpl.__version__ not in svg
    assert "<image" not in svg


@kinds
def test_labels_are_words_below_the_plot(draw):
    labels = ["torch on 2 cores", "a second <runtime> & its $options$", "_third"]

    told = dict(words(draw(labels)))

    assert set(labels) <= set(told)
    axis = max(told[word] for word in told if "(" in word and "?" not in word and word not in labels)
    assert min(told[label] for label in labels) > axis


@kinds
def test_the_title_states_a_question(draw):
    svg = draw(["one"])

    title = ET.fromstring(svg).find(".//{http://purl.org/dc/elements/1.1/}title")  # noqa: S314  our own
    assert title.text.startswith("A ")
    assert title.text.endswith("?")
    assert set(title.text.split()) <= set(" ".join(word for word, _ in words(svg)).split())


@kinds
def test_a_long_label_is_broken_and_stays_below_the_plot(draw):
    told = words(draw([LONG, "short"]))

    lines = [(word, height) for word, height in told if word.startswith("a-target")]
    assert " ".join(word for word, _ in lines) == LONG.strip()
    assert max(len(word) for word, _ in lines) <= sheet.LINE
    assert min(height for _, height in lines) > max(height for word, height in told if "(" in word and "?" not in word)


@kinds
def test_odd_labels_make_a_plot_that_can_be_read(draw):
    told = {word for word, _ in words(draw(ODD))}

    assert {'a $x$ of _one_ <b>&amp; "two"', "_hidden", "中文 ẞ", "two lines", "broken", "-"} <= told


@settings(deadline=None, max_examples=8)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=sheet.MOST_CURVES), st.text(max_size=200))
def test_any_words_make_well_formed_xml(labels, subject):
    ET.fromstring(plots.latencies(subject, curves(labels)))  # noqa: S314  our own


@settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=1e12), st.floats(min_value=1.0001, max_value=1e12))
def test_an_axis_has_a_few_ticks_however_wide_it_is(low, times):
    ticks = sheet._ticks(low, low * times)

    assert 1 < len(ticks) <= sheet.MANY + 1
    assert ticks == sorted(ticks)
    assert all(low <= tick <= low * times for tick in ticks)


def test_the_colours_are_told_apart_on_light_and_dark_pages():
    """WCAG's contrast: 3 : 1 for words as they are here on both; no colour twice, and none of the two that vanish."""
    assert min(contrast(sheet.GREY, page) for page in ("#ffffff", "#0d1117")) > 4
    assert min(contrast(colour, page) for colour in sheet.COLOURS for page in ("#ffffff", "#0d1117")) > 2
    assert len({(sheet.colour(index), sheet.dash(index)) for index in range(sheet.MOST_CURVES)}) == sheet.MOST_CURVES
    looks = {(sheet.colour(index), sheet.marker(index)) for index in range(sheet.MOST_LABELS)}
    assert len(looks) == sheet.MOST_LABELS


def contrast(one, other):
    dark, light = sorted(luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_proven_percentile_is_marked_and_explained():
    (curve,) = curves(["one"])
    marked = Curve(label="one", seconds=curve.seconds, marks=(Mark(share=0.9, seconds=0.005),))

    plain, shown = (plots.latencies("A tower", [each]) for each in (curve, marked))

    assert plots.PROVEN in {word for word, _ in words(shown)}
    assert plots.PROVEN not in {word for word, _ in words(plain)}


def test_a_roof_has_its_ridge_where_bandwidth_and_compute_meet():
    xs, ys = plots._outline(Ceiling(1e12, 1e10, "a test"), (1.0, 1e4))

    assert (xs, ys) == ([1.0, 100.0, 1e4], [10.0, 1000.0, 1000.0])
    assert plots._outline(Ceiling(1e12, math.inf, "a test"), (1.0, 10.0)) == ([1.0, 10.0], [1000.0, 1000.0])
    assert plots._outline(Ceiling(1e12, 1e9, "a test"), (1.0, 10.0)) == ([1.0, 10.0], [1.0, 10.0])


@kinds
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(UsageError, match="nothing to draw"):
        draw([])


@kinds
def test_more_than_can_be_told_apart_is_refused(draw):
    with pytest.raises(UsageError, match="draw several plots"):
        draw([str(index) for index in range(sheet.MOST_LABELS + 1)])


@pytest.mark.parametrize("second", [0.0, -1.0, math.nan, math.inf], ids=["zero", "negative", "nan", "infinite"])
def test_what_is_no_time_is_refused(second):
    fine = Work(flops=1.0, bytes=1.0)

    with pytest.raises(UsageError, match="positive, finite numbers"):
        plots.latencies("A tower", [Curve(label="one", seconds=(second,))])
    with pytest.raises(UsageError, match="positive, finite numbers"):
        plots.batches("A tower", [Series(label="one", points=((1, second),))])
    with pytest.raises(UsageError, match="positive, finite numbers"):
        plots.roofline("A machine", [], [Point(label="one", work=fine, seconds=second)])


def test_a_cell_without_calls_is_refused():
    with pytest.raises(UsageError, match="some of each cell"):
        plots.latencies("A tower", [*curves(["one"]), Curve(label="two", seconds=())])
    with pytest.raises(UsageError, match="some of each cell"):
        plots.batches("A tower", [Series(label="one", points=())])
    with pytest.raises(UsageError, match="positive, finite numbers"):
        plots.roofline("A machine", [], [Point(label="one", work=Work(flops=1.0, bytes=0.0), seconds=1.0)])


@pytest.mark.parametrize("share", [0.0, 1.0, 90.0, math.nan], ids=["none", "all", "percent", "nan"])
def test_a_share_that_no_percentile_has_is_refused(share):
    with pytest.raises(UsageError, match="positive, finite numbers"):
        plots.latencies("A tower", [Curve(label="one", seconds=(1.0,), marks=(Mark(share=share, seconds=1.0),))])


def test_roofs_that_look_alike_are_refused():
    points = [Point(label="one", work=Work(flops=1.0, bytes=1.0), seconds=1.0)]
    several = [Roof(label=str(rank), ceiling=Ceiling(1e9, 1e9, "a test")) for rank in range(5)]

    assert plots.roofline("A machine", several[:4], points)
    with pytest.raises(UsageError, match="5 labels, and 4 can be told apart"):
        plots.roofline("A machine", several, points)


def test_one_call_is_a_plot_too():
    assert plots.latencies("A tower", [Curve(label="one", seconds=(0.001,))])
    assert plots.roofline("A machine", [], [Point(label="one", work=Work(flops=1.0, bytes=1.0), seconds=1.0)])


def test_a_plot_leaves_no_state_behind():
    before = dict(mpl.rcParams)

    distribution(["one"])

    assert dict(mpl.rcParams) == before


def test_the_style_of_the_user_changes_nothing():
    plain = distribution(["one"])

    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "svg.fonttype": "path", "figure.dpi": 300}):
        assert distribution(["one"]) == plain


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from clip_bench.report import plots; from clip_bench.report.plots import Curve;"
        "assert 'matplotlib' not in sys.modules; plots.latencies('A tower', [Curve(label='one', seconds=(1.0,))]);"
        "print('matplotlib.pyplot' in sys.modules)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert ended.stdout.strip() == "False"


def test_every_batch_of_both_panels_is_drawn_in_its_order_and_curves_differ():
    several = [plots.Curve(label=f"CBS = {size}", seconds=(0.3, 0.1, 0.2)[: 1 + size % 3]) for size in range(8)]

    drawn = plots.convergence("Adding", {"One": several, "Other": several[::-1]})

    assert drawn.count("time per document (ms)") == 2
    assert all(f"CBS = {size}" in drawn for size in range(8))
    assert "stroke-dasharray" in drawn
    with pytest.raises(UsageError, match="8 can be told apart"):
        plots.convergence("Adding", {"One": [*several, plots.Curve(label="more", seconds=(1.0,))]})
    with pytest.raises(UsageError, match="positive"):
        plots.convergence("Adding", {"One": [plots.Curve(label="none", seconds=())]})
