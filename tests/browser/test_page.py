"""The page in a real Chromium, the distribution's own: it orders, filters and opens records, and asks for nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench import finding
from clip_bench.finding import Retrieval, Scored, Share
from clip_bench.report import frame, many, overview, pages, site, write
from clip_bench.runfile import read

GOLDEN = Path(__file__).parents[1] / "unit" / "tables" / "golden" / "run.json"
HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)> | a | <b>'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VISIBLE = "tr[data-record]"


def searched(words):
    """A finding beside the matrix with *words* wherever a name stands."""
    shares = {"b": 0.5, "a": 0.125, "c": None}
    cases = tuple(
        Scored(
            case=name,
            title=f"{name} {words}",
            random_weights=False,
            scores={"t2i_r1": Share(share=share, queries=40), "image_to_text": Share(share=share or 0.25, queries=8)},
        )
        for name, share in shares.items()
    )
    return Retrieval(data=words, cases=cases, left_out=(words,))


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: tox run -e browser")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Two machines: one as the golden run has it, and one whose every word is hostile."""
    folder = tmp_path_factory.mktemp("site")
    told = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name in ("one", "two"):
        (folder / name).mkdir()
        told["machine_info"]["clip_bench"] |= {"name": name}
        if name == "two":
            told["machine_info"]["clip_bench"] |= {"cpu": HOSTILE, "accelerators": [HOSTILE]}
            for entry in told["outcomes"]:
                entry["reason"] = entry["record"]["model"] = entry["record"]["variant"] = HOSTILE
                if entry["record"]["executed"]:
                    entry["record"]["executed"] |= {"note": HOSTILE, "nodes": {HOSTILE: 3}}
        (folder / name / "run.json").write_text(json.dumps(told), encoding="utf-8")
        found = finding.to_json(searched(HOSTILE if name == "two" else "a set"), told["machine_info"]["clip_bench"])
        (folder / name / "retrieval.json").write_text(found, encoding="utf-8")
    write([folder], folder)
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(chromium, address):
    """Open the page, at an address of its filters; at the end nothing was complained of, and nothing was asked for."""
    frame = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = frame.new_page()
    noted, asked = [], []
    page.on("console", lambda message: noted.append(message.text))
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("dialog", lambda dialog: (noted.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))

    def go(fragment=""):
        page.goto(address + fragment)
        return page

    yield go
    frame.close()
    assert noted == []
    assert {url.partition("#")[0] for url in asked} == {address}


def column(page, head, place=0):
    """The words of a column of a table, from the rows that are seen."""
    table = page.locator("table.cells").nth(place)
    heads = [words.split("\n")[0].strip() for words in table.locator("thead th").all_inner_texts()]
    return [row.locator("td").nth(heads.index(head)).inner_text() for row in table.locator(VISIBLE).all()]


def press(page, head):
    page.locator("table.cells").first.get_by_role("button", name=head).click()


def test_all_cells_are_there_at_first(opened):
    page = opened()

    planned = 2 * len(json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"])
    assert page.locator("#count").inner_text() == f"{planned} of {planned} cells"
    assert page.locator(VISIBLE).count() == planned


def test_a_head_orders_its_own_table_by_its_figures_and_back(opened):
    page = opened()
    others = column(page, "P50", place=1)

    press(page, "P50")
    up = column(page, "P50")
    press(page, "P50")
    down = column(page, "P50")

    times = [float(words) for words in up if words != "-"]
    assert len(set(times)) > 5
    assert times == sorted(times)
    assert up[len(times) :] == ["-"] * (len(up) - len(times))
    assert [float(words) for words in down if words != "-"] == times[::-1]
    assert down[len(times) :] == up[len(times) :]
    assert page.locator("table.cells").first.locator("[aria-sort=descending]").count() == 1
    assert column(page, "P50", place=1) == others


def test_a_head_of_words_orders_by_them(opened):
    page = opened()

    press(page, "Target")

    targets = column(page, "Target")
    assert len(set(targets)) > 2
    assert targets == sorted(targets)


@pytest.mark.parametrize("axis", ["machine", "model", "tower", "target", "precision", "outcome"])
def test_every_axis_filters(opened, axis):
    page = opened()
    every = page.locator(VISIBLE).count()
    options = page.locator(f"#{axis} option").all_inner_texts()[1:]

    found = []
    for option in options:
        page.select_option(f"#{axis}", option)
        found.append(page.locator(VISIBLE).count())

    assert len(options) > 1
    assert min(found) > 0
    assert sum(found) == every


def test_filters_and_words_narrow_together_and_clear(opened):
    page = opened()
    every = page.locator(VISIBLE).count()

    page.select_option("#machine", "one")
    page.select_option("#outcome", "skipped")
    page.fill("#search", "OPENVINO npu")
    rows = page.locator(VISIBLE).all_inner_texts()

    assert 0 < len(rows) < every
    assert all("openvino-npu" in row and "skipped" in row for row in rows)
    page.fill("#search", "no such words")
    assert page.locator("#none").is_visible()
    page.get_by_role("button", name="Clear").click()
    assert page.locator(VISIBLE).count() == every


def test_a_skipped_cell_tells_why(opened):
    page = opened("#machine=one&outcome=skipped")

    rows = page.locator(VISIBLE).all_inner_texts()

    skipped = [
        entry for entry in json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"] if entry["outcome"] == "skipped"
    ]
    assert len(rows) == len(skipped) > 1
    assert all(any(entry["reason"] in row for row in rows) for entry in skipped)


def test_an_address_keeps_the_filters(opened):
    page = opened()

    page.select_option("#tower", "text")
    page.fill("#search", "torch")
    count, address = page.locator("#count").inner_text(), page.url
    page.goto("about:blank")
    page.goto(address)

    assert page.locator("#tower").input_value() == "text"
    assert page.locator("#count").inner_text() == count


def test_an_address_of_what_is_not_there_filters_nothing(opened):
    page = opened("#tower=none&model=%3Cimg%3E")

    planned = 2 * len(json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"])
    assert page.locator(VISIBLE).count() == planned
    assert page.locator("#tower").input_value() == ""


def test_a_click_on_a_figure_opens_its_record(opened):
    page = opened("#machine=one")

    page.locator(f"{VISIBLE} td.n").first.click()

    dialog = page.get_by_role("dialog")
    words = dialog.inner_text()
    assert page.locator("#case").inner_text() in GOLDEN.read_text(encoding="utf-8")
    assert all(head in words for head in ("TIMING", "QUALITY", "PLACEMENT", "COLD PATH", "BOUNDARY", "inside_clock"))
    assert dialog.get_by_role("link").get_attribute("href") == "one/run.json"
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def test_a_plot_has_a_point_for_each_accuracy_that_was_timed(opened):
    page = opened("#machine=one")
    table = page.locator("section", has=page.locator("table.cells")).first
    rows = list(zip(column(page, "P50"), column(page, "Top-1"), strict=True))
    both = [(p50, top1) for p50, top1 in rows if "-" not in (p50, top1)]

    table.get_by_text("Time against accuracy").click()

    points = table.locator("circle")
    points.first.wait_for()
    assert points.count() == len(both) > 2
    fastest = min(both, key=lambda pair: float(pair[0]))
    assert f"{fastest[1]} %" in table.locator("circle.ahead title").first.text_content()
    points.first.click(force=True)
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.select_option("#precision", "bf16")
    assert not points.first.is_visible()


@pytest.mark.parametrize("title", ["Before the first steady call", "Size"])
def test_bars_are_those_of_the_rows_that_fit_and_open_their_records(opened, title):
    page = opened("#machine=one")
    section = next(
        each for each in page.locator("section").all() if each.get_by_text(title, exact=True).first.is_visible()
    )
    plot = section.locator("details", has_text=title)

    plot.locator("summary").click()

    bars = plot.locator("rect.bar")
    bars.first.wait_for()
    before = bars.count()
    bars.first.click(force=True)
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.locator("#search").fill("torch")
    assert bars.count() < before


def test_what_was_measured_beside_the_matrix_is_ordered_by_its_figures(opened):
    page = opened()
    table = page.locator("table.sorts", has_text="a set")

    def cells(place):
        return [row.locator("td").nth(place).inner_text() for row in table.locator("tbody tr").all()]

    head = table.get_by_role("button", name="Image-to-text score")
    head.click()
    up = cells(0)
    head.click()

    assert up == ["a a set", "c a set", "b a set"]
    assert cells(0) == ["b a set", "c a set", "a a set"]
    table.get_by_role("button", name="Caption-to-image").click()
    assert cells(0)[-1] == "c a set"


def test_the_keys_alone_are_enough(opened):
    page = opened()

    head = page.locator("table.cells").first.get_by_role("button", name="Precision")
    head.focus()
    page.keyboard.press("Enter")
    assert page.locator("[aria-sort=ascending]").count() == 1
    page.locator(f"{VISIBLE} a").first.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "A"


def test_hostile_words_are_words_in_rows_options_and_records(opened):
    page = opened("#machine=two")

    page.select_option("#model", HOSTILE)
    assert HOSTILE in page.locator(VISIBLE).first.inner_text()
    page.locator(f"{VISIBLE} td.n").first.click()

    assert page.locator("#parts").inner_text().count(HOSTILE) > 3
    assert page.locator("img, b b, body script:not([type])").count() == 1


def test_a_long_table_begins_with_a_hundred_rows_and_shows_all_when_asked(chromium, tmp_path):
    run = read(GOLDEN)
    runs = {f"m{index}": [replace(run, machine=run.machine | {"name": f"m{index}"})] for index in range(40)}
    path = tmp_path / "index.html"
    path.write_text(site.page({name: pages.current(each) for name, each in runs.items()}, runs), encoding="utf-8")
    frame = chromium.new_context()
    page = frame.new_page()

    page.goto(path.as_uri())
    table = page.locator("table.cells").first
    first = table.locator(VISIBLE).count()
    button = page.get_by_role("button", name="Show all").first
    every = int(button.inner_text().split()[2])
    button.click()

    assert first == 100 < every
    assert table.locator(VISIBLE).count() == every
    assert not table.locator("xpath=ancestor::section").get_by_role("button", name="Show all").is_visible()
    frame.close()


def test_the_best_cells_of_many_machines_are_filtered_by_device_and_open_their_records(chromium, tmp_path):
    cells = frame([read(GOLDEN)]).to_dict("records")
    best = overview.Overview()
    for index in range(30):
        elsewhere = {"target": "openvino-npu", "device": "npu"} if index % 3 == 0 else {}
        best.take(
            each | {"machine": f"m{index}"} | (elsewhere if each["backend"] == "openvino" else {}) for each in cells
        )
    path = tmp_path / "index.html"
    path.write_text(many.page(best, str, machines=[], pages=""), encoding="utf-8")
    context, noted = chromium.new_context(viewport={"width": 420, "height": 800}), []
    page = context.new_page()
    page.on("pageerror", lambda error: noted.append(str(error)))

    page.goto(path.as_uri() + "#device=npu&tower=image")
    machines = set(column(page, "Machine"))
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.locator(VISIBLE).first.locator("td.n").first.click()

    assert machines == {f"m{index}" for index in range(0, 30, 3)}
    assert "m0" in page.locator("#parts").inner_text()
    assert wide == 420
    assert noted == []
    context.close()


def test_without_its_script_the_page_shows_every_cell(chromium, address):
    frame = chromium.new_context(java_script_enabled=False)
    page = frame.new_page()

    page.goto(address)

    planned = 2 * len(json.loads(GOLDEN.read_text(encoding="utf-8"))["outcomes"])
    assert page.locator(VISIBLE).count() == planned
    assert not page.locator("#filters").is_visible()
    assert page.locator("tr[data-record] a").first.get_attribute("href") in {"one/run.json", "two/run.json"}
    frame.close()


def test_a_dark_page_is_dark_and_a_narrow_one_does_not_overflow(chromium, address):
    frame = chromium.new_context(color_scheme="dark", viewport={"width": 390, "height": 800})
    page = frame.new_page()

    page.goto(address)

    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(ground) < 64
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    frame.close()
