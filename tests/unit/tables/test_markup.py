"""Our own markdown as HTML: what it says stands there, and nothing that a file holds becomes an element."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.report import markup
from clip_bench.report.blocks import join
from clip_bench.report.figures import clean, linked, markdown

OURS = {"p", "h3", "ul", "li", "em", "code", "a", "div", "table", "thead", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """The elements with their attributes, and the words of each cell."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.cells, self.words = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data):
        self.words += data
        if self.cells:
            self.cells[-1] += data


def test_paragraphs_headings_lists_and_emphasis_are_elements():
    read = Reader(markup.html("### A set\n\nAll of *it* is `said`.\n\n- one\n- two", "here"))

    assert [tag for tag, _ in read.elements] == ["h3", "p", "em", "code", "ul", "li", "li"]
    assert read.words.split() == ["A", "set", "All", "of", "it", "is", "said.", "onetwo"]


def test_a_table_keeps_its_cells_and_marks_columns_of_figures():
    read = Reader(
        markup.html(markdown(["Name", "Time (ms)", "Why"], [["a", "1.5 ± 0.2", "x"], ["b", "-", "y"]]), "here")
    )

    assert [cell.strip() for cell in read.cells] == ["Name", "Time (ms)", "Why", "a", "1.5 ± 0.2", "x", "b", "-", "y"]
    assert [told["class"] for tag, told in read.elements if tag == "th"] == ["w", "n", "w"]


def test_a_link_leads_into_its_folder():
    read = Reader(markup.html(f"From {linked('a b')}, measured.", "my%20folder"))

    assert [told for tag, told in read.elements if tag == "a"] == [{"href": "my%20folder/a%20b.json"}]
    assert "a b.json" in read.words


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script>",
        "</table><img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        'a | b "quoted" & more',
        "&lt;b&gt;",
        "\ud800",
    ],
    ids=["script", "picture", "link", "pipe", "entity", "surrogate"],
)
def test_hostile_words_are_words(words):
    told = join([f"Model {clean(words)}.", markdown(["Name", "Figure"], [[clean(words), "1"]]), f"- {clean(words)}"])

    read = Reader(markup.html(told, "here"))

    assert {tag for tag, _ in read.elements} <= OURS - {"a"}
    assert len(read.cells) == 4


@given(st.text(max_size=80))
def test_no_words_at_all_become_an_element(words):
    read = Reader(markup.html(join([clean(words), markdown(["A", "B"], [[clean(words), "1"]])]), "here"))

    assert {tag for tag, _ in read.elements} <= OURS - {"a"}
    assert all(set(told) <= {"class", "scope", "tabindex", "role", "aria-label"} for _, told in read.elements)
