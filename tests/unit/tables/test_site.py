"""The page of all machines: every cell is in it, whatever a run file holds is text, and it loads nothing."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.finding import Finding, Retrieval, Scored, Share
from clip_bench.record import Compared
from clip_bench.report import pages, shown, site
from clip_bench.runfile import Run, read

GOLDEN = Path(__file__).parent / "golden" / "run.json"
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "</table></style><!--",
    '"><img src=x onerror=alert(3)>',
    "' onmouseover='alert(4)",
    "| a | b |\n|---|---|",
    "&lt;b&gt; &amp;",
    "\u2028\u2029\u202e",
)
REMOTE = re.compile(
    r"""(?:src|srcset|action|poster|data)\s*=|url\(|@import|https?://|fetch\(|XMLHttpRequest|import\("""
)


class Reader(HTMLParser):
    """What a browser without scripts sees: elements with their attributes, and the words of each row."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.rows, self.scripts, self._inside = [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in {"script", "style"} else ""
        if tag == "tr":
            self.rows.append([])
        elif tag == "script":
            self.scripts.append("")
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, _):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self.rows and self.rows[-1] and not self._inside:
            self.rows[-1][-1] += data

    @property
    def cells(self):
        """The rows that have a record, as one line each."""
        numbered = [attrs for tag, attrs in self.elements if tag == "tr"]
        return [" ".join(row) for row, attrs in zip(self.rows, numbered, strict=True) if "data-record" in attrs]


def made(*runs):
    by_folder = {f"machine_{index}": [run] for index, run in enumerate(runs)}
    return site.page({name: pages.current(each) for name, each in by_folder.items()}, by_folder)


def hostile(run, words):
    """*run* with *words* wherever a run file may hold any."""
    entries = tuple(
        replace(entry, reason=words, record=replace(entry.record, model=words, target=f"{words}-cpu", variant=words))
        for entry in run.entries
    )
    return replace(run, name=words, machine=run.machine | {"name": words, "cpu": words}, entries=entries)


@pytest.fixture(scope="module")
def golden():
    return read(GOLDEN)


def test_every_planned_cell_is_a_row_and_has_its_record(golden):
    reader = Reader(made(golden))

    records = json.loads(reader.scripts[0])
    told = [records["parts"][record["cell"]]["case"] for record in records["records"]]
    assert sorted(told) == sorted(entry.case for entry in golden.entries)
    assert len(reader.cells) == len(golden.entries)


def test_a_record_stands_at_its_own_row(golden):
    reader = Reader(made(golden))

    records = json.loads(reader.scripts[0])
    cells = [records["parts"][record["cell"]] for record in records["records"]]
    assert all(cell["model"] in row and cell["target"] in row for cell, row in zip(cells, reader.cells, strict=True))


def test_a_cell_without_a_time_tells_its_outcome_and_why(golden):
    rows = Reader(made(golden)).cells

    ended = [entry for entry in golden.entries if entry.outcome != "ok"]
    assert len({entry.outcome for entry in ended}) > 3
    for entry in ended:
        words = (entry.record.model, entry.record.target, entry.outcome.replace("_", " "), entry.reason)
        assert any(all(word in row for word in words) for row in rows), entry.case


def test_a_record_tells_what_the_file_tells(golden):
    reader = Reader(made(golden))

    records = json.loads(reader.scripts[0])
    timed = next(record for record in records["records"] if {"timing", "quality"} <= record.keys())
    part = {heading: records["parts"][index] for heading, index in timed.items()}
    entry = next(entry for entry in golden.entries if entry.case == part["cell"]["case"])
    assert part["boundary"]["digest"] == entry.boundary
    assert part["boundary"]["inside_clock"] == list(entry.record.boundary.inside_clock)
    assert part["placement"]["nodes"] == entry.record.executed.nodes
    assert part["quality"]["similarity"][0]["mean"] == pytest.approx(entry.record.quality.similarity[0].mean, rel=1e-5)
    assert part["cold path"]["load_s"] == entry.record.cold.load_s
    assert part["timing"]["min_ms"] == pytest.approx(1e3 * min(entry.record.timing.rounds_s), rel=1e-5)


def test_unlike_calls_are_in_tables_of_their_own(golden):
    html = made(golden)

    for table in html.split("<section>")[1:-1]:
        numbers = [int(number) for number in re.findall(r'data-record="(\d+)"', table)]
        records = json.loads(Reader(html).scripts[0])
        parts = [records["parts"][records["records"][number]["boundary"]] for number in numbers if 'class="n"' in table]
        kinds = {(part["tower"], part["batch"], part["load"], part["instances"]) for part in parts}
        assert len(kinds) <= 1 or "<h2>Harness overhead</h2>" in table


def test_marks_are_told_in_words(golden):
    html = made(golden)

    marked = re.findall(r'<span class="badge" title="[^"]+">([^<]+)</span>', html)
    assert {"random weights", "emulated", "not stable"} <= set(marked)


def test_machines_are_told_apart_and_linked(golden):
    other = replace(golden, machine=golden.machine | {"name": "another"})

    reader = Reader(made(golden, other))

    links = {attrs["href"] for tag, attrs in reader.elements if tag == "a" and "href" in attrs}
    assert links == {f"machine_{index}/{file}" for index in (0, 1) for file in ("README.md", f"{golden.name}.json")}
    assert sum("another" in row for row in reader.cells) == len(golden.entries)


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_whatever_a_file_holds_is_shown_and_never_run(golden, index):
    plain, attacked = Reader(made(golden)), Reader(made(hostile(golden, HOSTILE[index])))

    def outline(reader):
        tags = sorted(tag for tag, _ in reader.elements if tag not in {"td", "th", "section", "div", "h2", "p"})
        return [tag for tag in tags if tag not in {"table", "thead", "tbody", "tr", "small", "span"}]

    assert {name for _, attrs in attacked.elements for name in attrs} == {n for _, a in plain.elements for n in a}
    assert set(outline(attacked)) == set(outline(plain))
    assert len(attacked.scripts) == len(plain.scripts) == 2
    assert all(" ".join(HOSTILE[index].split()) in row for row in attacked.cells)
    assert len(attacked.cells) == len(golden.entries)


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_what_was_measured_beside_the_matrix_is_a_table_of_words(golden, index):
    words = HOSTILE[index]
    scored = Scored(case=words, title=words, random_weights=False, scores={"t2i_r1": Share(share=0.925, queries=40)})
    told = Retrieval(data=words, cases=(scored,), left_out=(words,))
    found = Finding(name=f"retrieval {words}", datetime="2026-01-02", machine={}, told=told)
    tables, runs = {"here": pages.current([golden])}, {"here": [golden]}

    plain, reader = Reader(site.page(tables, runs)), Reader(site.page(tables, runs, {"here": [found]}))

    assert [row for row in reader.rows if "92.5 (40)" in row]
    assert not [row for row in plain.rows if "92.5 (40)" in row]
    assert {tag for tag, _ in reader.elements} <= {tag for tag, _ in plain.elements} | {"em", "h3"}
    (link,) = [attrs["href"] for tag, attrs in reader.elements if tag == "a" and "retrieval" in attrs.get("href", "")]
    assert link.startswith("here/retrieval%20")


def test_values_of_each_sample_are_told_in_four_figures(golden):
    cell = next(entry for entry in golden.entries if entry.record.quality)
    each = Compared(output="embeds", drift="1e-9 3e-9", identified="1 1", difference="0 0", floor={"again": "0 2e-14"})
    quality = replace(cell.record.quality, compared=(each,))
    run = replace(golden, entries=(replace(cell, record=replace(cell.record, quality=quality)),))

    (block,) = Reader(made(run)).scripts[:1]

    short = {"output": "embeds", "nearest": 1e-9, "mean": 2e-9, "farthest": 3e-9, "noise": 1e-14}
    assert [part["distance"] for part in json.loads(block)["parts"] if "distance" in part] == [[short]]
    assert "3e-9 " not in block
    assert "compared" not in block


@given(st.text(st.characters(codec="utf-8")))
def test_any_words_come_back_from_the_block_of_records(words):
    text = shown._dumps({words: [words]})

    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {words: [words]}


@given(st.text())
def test_any_words_are_one_line_without_markup(words):
    text = site._text(words)

    assert not set("<>\"'\n\r") & set(text)
    text.encode("utf-8")


def test_the_page_loads_nothing_and_runs_its_own_script_alone(golden):
    html = made(golden)

    assert REMOTE.search(html.replace('"http://www.w3.org/2000/svg"', "")) is None  # a name: SVG has no other
    policy = next(attrs["content"] for _, attrs in Reader(html).elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none';")
    hashed = base64.b64encode(hashlib.sha256(Reader(html).scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}'" in policy
    assert [attrs for tag, attrs in Reader(html).elements if tag == "link"] == [{"rel": "icon", "href": "data:,"}]


def test_the_page_is_written_beside_the_others_and_links_runs_that_are_there(tmp_path):
    run = tmp_path / "example" / "run.json"
    run.parent.mkdir()
    run.write_bytes(GOLDEN.read_bytes())

    written = pages.write([tmp_path], tmp_path)

    assert tmp_path / "index.html" in written
    elements = Reader((tmp_path / "index.html").read_text(encoding="utf-8")).elements
    links = {attrs["href"] for tag, attrs in elements if tag == "a" and "href" in attrs}
    assert links == {"example/README.md", "example/run.json"}
    assert all((tmp_path / link).is_file() for link in links)


def test_the_same_runs_make_the_same_bytes(golden):
    assert made(golden, golden) == made(golden, golden)


def test_a_file_name_is_linked_whatever_it_is(golden):
    reader = Reader(made(replace(golden, name='a b#c?"d%e')))

    assert "machine_0/a%20b%23c%3F%22d%25e.json" in {attrs.get("href") for _, attrs in reader.elements}


def test_a_run_of_nothing_is_a_page_that_says_so():
    html = made(Run(name="empty", datetime="", machine={}, entries=()))

    assert "No cell was planned." in html
    assert Reader(html).cells == []


def test_what_many_records_share_is_held_once(golden):
    again = [replace(golden, machine=golden.machine | {"name": f"m{index}"}) for index in range(10)]

    one, ten = (json.loads(Reader(made(*runs)).scripts[0]) for runs in (again[:1], again))

    assert len(ten["records"]) == 10 * len(one["records"])
    cells = len(golden.entries)
    assert len(ten["parts"]) == len(one["parts"]) + 9 * cells
