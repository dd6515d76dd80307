"""Figures follow from the file alone, and a bad file is named by its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.answers import predictions
from clip_bench.errors import UsageError
from clip_bench.quality.predictions import Prediction, Tally


def written(path, found, classes=10):
    predictions.write(path, [*predictions.header("a-case", "few", classes, "single"), *map(str, found)])
    return path


FOUND = [
    Prediction(file="a b.png", label=3, best=((3, 0.9), (1, 0.05), (2, 0.02), (4, 0.01), (5, 1e-9))),
    Prediction(file="n/b.png", label=5, best=((3, 0.9), (1, 0.05), (2, 0.02), (4, 0.01), (5, 0.0))),
    Prediction(file="c.png", label=9, best=((3, 0.9), (1, 0.05), (2, 0.02), (4, 0.01), (5, 0.0))),
    Prediction(file="d.png", label=0, best=()),
]


def test_the_right_class_is_first_among_five_or_neither(tmp_path):
    name, classes, counted = predictions.tally(written(tmp_path / "p.txt", FOUND))

    assert list(counted.lines(name, classes)) == [
        "[a-case]: top1_rate: 25 top5_rate: 50",
        "4 pictures, 10 classes; 1 without an answer",
    ]


@given(
    st.lists(
        st.builds(
            lambda label, numbers, score: Prediction(
                file="x.png", label=label, best=tuple((number, score) for number in numbers)
            ),
            st.integers(0, 8),
            st.lists(st.integers(0, 8), max_size=5, unique=True),
            st.floats(0, 1),
        ),
        min_size=1,
    )
)
def test_a_file_gives_the_figures_that_it_was_written_with(tmp_path_factory, found):
    counted = Tally()
    for each in found:
        counted.add(each)

    path = written(tmp_path_factory.mktemp("p") / "p.txt", found, 9)

    assert predictions.tally(path) == ("a-case", 9, counted)


def test_of_five_classes_or_fewer_no_five_are_told():
    counted = Tally(pictures=3, first=1, among=3)

    assert next(counted.lines("x", 5)) == "[x]: top1_rate: 33.3333"
    assert next(counted.lines("x", 6)) == "[x]: top1_rate: 33.3333 top5_rate: 100"


def test_a_strange_name_stays_in_its_line(tmp_path):
    odd = Prediction(file="a\tb\nc\ud800.png", label=1, best=((1, 1.0),))

    assert predictions.tally(written(tmp_path / "p.txt", [odd]))[2] == Tally(pictures=1, first=1, among=1)


def test_a_file_without_a_heading_is_read_too(tmp_path):
    (tmp_path / "mine.txt").write_text("a.png\t3\t3:0.9\t1:0.1\nb.png\t1\t7:0.9\n")

    assert predictions.tally(tmp_path / "mine.txt") == ("mine", 8, Tally(pictures=2, first=1, among=1))


@pytest.mark.parametrize(
    "line",
    [
        "a.png",
        "a.png 3 3:0.9",
        "a.png\tcat\t3:0.9",
        "a.png\t3\t0.9",
        "a.png\t3\t3:0.9\t3:0.1",
        "\t3\t3:0.9",
        "a.png\t-1\t3:0.9",
        "a.png\t3\t0:0.1\t1:0.1\t2:0.1\t3:0.1\t4:0.1\t5:0.1",
        "a.png\t3\t3:0.9\t",
        "a.png\t3\t3:e",
        "\x00\xff",
        f"a.png\t{'3' * 5000}\t3:0.9",
        f"a.png\t3\t{'3' * 5000}:0.9",
    ],
    ids=list("abcdefghijklm"),
)
def test_a_line_of_another_form_is_named(tmp_path, line):
    (tmp_path / "p.txt").write_text(f"a.png\t3\t3:0.9\n{line}\n", encoding="utf-8")

    with pytest.raises(UsageError, match=r"p\.txt, line 2: "):
        predictions.tally(tmp_path / "p.txt")


def test_a_class_beyond_those_told_is_refused(tmp_path):
    (tmp_path / "p.txt").write_text("# classes: 3\na.png\t3\t1:0.9\n")

    with pytest.raises(UsageError, match="a class with the number 3, of 3 that are counted from 0"):
        predictions.tally(tmp_path / "p.txt")


def test_no_prediction_is_no_figure(tmp_path):
    name, classes, counted = predictions.tally(written(tmp_path / "p.txt", []))

    with pytest.raises(UsageError, match="no prediction, so no figure"):
        list(counted.lines(name, classes))


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.txt: No such file"):
        predictions.tally(tmp_path / "gone.txt")


def test_what_was_written_before_a_failure_is_kept_under_another_name(tmp_path):
    def failing():
        yield "one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictions.write(tmp_path / "p.txt", failing())

    assert [path.name for path in tmp_path.iterdir()] == ["p.txt.part"]
    assert (tmp_path / "p.txt.part").read_text() == "one\n"
