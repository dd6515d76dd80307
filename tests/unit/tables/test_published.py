"""Published rows: true as far as they can be checked, judged as by hand, and beside measured cells of the same call alone."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clip_bench.errors import UsageError
from clip_bench.report import naming
from clip_bench.report.published import measured, page, rows, verdicts
from clip_bench.report.published.rows import FACTS, Row, load
from clip_bench.report.published.verdicts import Kind
from clip_bench.report.rows import frame
from clip_bench.runfile import read

GOLDEN = Path(__file__).parent / "golden" / "run.json"
SMALL = Path(__file__).parent / "published"
STEPS = ("host to device", "inference", "device to host")
ROW = Row(
    id="x1",
    model="a model",
    architecture="ViT-L-14",
    tower="image",
    batch=1,
    texts=0,
    precision="fp32",
    hardware="Tesla T4",
    runtime="a runtime",
    inside=", ".join(STEPS),
    source="owner/repo#1",
    note="",
    figures={"mean_ms": 60.0},
)
HEAD = (*FACTS, "mean_ms", "min_ms", "max_ms")
FIRST = {
    "id": "x1",
    "model": "a model",
    "architecture": "ViT-B-32",
    "tower": "image",
    "batch": "1",
    "precision": "fp32",
    "hardware": "Tesla T4",
    "runtime": "a runtime",
    "inside": ", ".join(STEPS),
    "source": "owner/repo@0123abc:a/file.md",
    "note": "A note.",
    "mean_ms": "12.5",
}


@pytest.fixture
def folder(tmp_path):
    """Write rows as the only file of a folder of published rows."""

    def put(*lines, head=HEAD, stem="calls"):
        place = tmp_path / "rows"
        place.mkdir(exist_ok=True)
        with (place / f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, head, restval="")
            out.writeheader()
            out.writerows(lines)
        return place

    return put


@pytest.fixture
def tables(tmp_path):
    """The golden run as a machine's table, its cells of a vision tower changed by field."""

    def make(machine="example", model="vit_b_32_random", clock=STEPS):
        data = json.loads(GOLDEN.read_text(encoding="utf-8"))
        data["machine_info"]["clip_bench"] |= {"name": machine}
        kept = [entry for entry in data["outcomes"] if "vit_b_32_random" in entry["case"]]
        for entry in kept:
            entry["record"]["model"] = model
            if entry["record"].get("boundary"):
                entry["record"]["boundary"]["inside_clock"] = list(clock)
        path = tmp_path / "run.json"
        path.write_text(json.dumps(data | {"outcomes": kept, "benchmarks": []}), encoding="utf-8")
        return {"folder": frame([read(path)])}

    return make


def test_the_rows_that_travel_with_the_package_are_sound():
    told = load()

    assert set(told) == set(page.TITLES)
    assert {name: len(several) > 4 for name, several in told.items()} == dict.fromkeys(told, True)
    assert all(row.link.startswith("https://") for several in told.values() for row in several)


def test_every_collected_row_is_among_them(request):
    path = Path(request.config.rootpath).parent / "shared" / "facts" / "published_clip_numbers.csv"
    if not path.is_file():
        pytest.skip("needs ../shared/facts/published_clip_numbers.csv beside the repository: published CLIP times")
    with path.open(encoding="utf-8", newline="") as file:
        collected = {row["id"]: row["value"] for row in csv.DictReader(file)}

    own = {row.id: row for several in load().values() for row in several}

    assert set(collected) - set(own) == set()
    for name in ("q1", "o1", "o9", "t1", "s1", "m1", "ac1"):
        assert float(collected[name]) in own[name].figures.values(), name


def test_every_row_stands_in_one_table_of_the_page():
    ids = [row.id for several in load().values() for row in several]

    text = page.page({})

    cells = Counter(line.split("]")[0].removeprefix("| [") for line in text.splitlines() if line.startswith("| ["))
    assert cells == Counter(ids)
    assert text == page.page({})


def test_figures_stand_with_the_digits_that_were_published():
    lines = {line.split("]")[0].removeprefix("| ["): line for line in page.page({}).splitlines() if line[:3] == "| ["}

    for row in (row for several in load().values() for row in several):
        cells = {cell.strip() for cell in lines[row.id].split("|")}
        assert {f"{figure:.10g}" for figure in row.figures.values()} <= cells, row.id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "X 1"}, "an id is of small letters"),
        ({"model": ""}, "names no model"),
        ({"tower": "vision"}, "is no tower"),
        ({"texts": "10"}, "those of a pair"),
        ({"batch": "0"}, "batch is a number from 1 on"),
        ({"batch": "1+10"}, "batch is a number from 1 on"),
        ({"precision": "fast"}, "is no one precision"),
        ({"precision": "fp16 / fp32"}, "is no one precision"),
        ({"source": "somewhere"}, "is no owner/repo@commit:path"),
        ({"source": "javascript:alert(1)"}, "is no owner/repo@commit:path"),
        ({"mean_ms": ""}, "has no figure"),
        ({"mean_ms": "fast"}, "mean_ms is a number from"),
        ({"mean_ms": "nan"}, "mean_ms is a number from"),
        ({"mean_ms": "0"}, "mean_ms is a number from"),
        ({"mean_ms": "-1"}, "mean_ms is a number from"),
        ({"min_ms": "9", "max_ms": "8"}, "max_ms fall"),
        ({"min_ms": "20"}, "mean_ms is not between"),
    ],
    ids=range(17),
)
def test_a_row_that_cannot_be_true_is_named(folder, changes, message):
    place = folder(FIRST | changes)

    with pytest.raises(UsageError, match=r"calls\.csv: row .*correct it") as told:
        load(place)

    assert message in str(told.value)


def test_an_id_twice_is_named_even_across_files(folder):
    folder(FIRST)
    place = folder(FIRST, stem="scores")

    with pytest.raises(UsageError, match=r"scores\.csv: row 'x1': the id is there twice"):
        load(place)


@pytest.mark.parametrize(
    "content", [b"", b"id,model\n", b"\xff\xfe", (",".join(FACTS) + ",speed\n").encode()], ids=range(4)
)
def test_a_file_of_other_columns_is_one_line(tmp_path, content):
    (tmp_path / "calls.csv").write_bytes(content)

    with pytest.raises(UsageError, match=r"calls\.csv: .*columns"):
        load(tmp_path)


def test_a_line_of_another_length_is_named(folder):
    place = folder(FIRST)
    with (place / "calls.csv").open("a", encoding="utf-8") as file:
        file.write("x9,a model\n")

    with pytest.raises(UsageError, match="row 'x9': 2 fields under 15 columns"):
        load(place)


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("a/b@0123abc:c/d.md", "https://github.com/a/b/blob/0123abc/c/d.md"),
        ("a/b@0123abc^:c", "https://github.com/a/b/blob/0123abc%5E/c"),
        ("a/b#12", "https://github.com/a/b/issues/12"),
        ("https://example.org/a", "https://example.org/a"),
    ],
    ids=range(4),
)
def test_a_source_is_an_address(source, link):
    assert replace(ROW, source=source).link == link


def test_the_least_time_is_work_over_peak():
    """162.03 GFLOP at the 8.1 TFLOP/s of a T4 are 20.0 ms: a third of 60."""
    told = verdicts.of(ROW)

    assert told.kind is Kind.POSSIBLE
    assert told.least_ms == pytest.approx(162.03 / 8.1, rel=1e-3)
    assert told.words == "possible (33.3 % of the fp32 peak)"


def test_the_longer_of_two_roofs_is_the_least_time():
    """88 million weights of 4 bytes at 93.9 GB/s are 3.7 ms; their 8.82 GFLOP at 4.3 TFLOP/s only 2.1."""
    told = verdicts.of(replace(ROW, architecture="ViT-B-32", hardware="i9-10940X", figures={"mean_ms": 37.5}))

    assert told.least_ms == pytest.approx(4 * 87.9e6 / 93.9e6, rel=0.01)
    assert told.words == "possible (10.0 % of the memory's peak)"


def test_a_time_below_the_peak_is_impossible_and_what_explains_it_is_told():
    """2.49 ms at 65 TFLOP/s is a quarter over 2 ms; at the 130 of eight bits it is 62 % of it."""
    told = verdicts.of(replace(ROW, precision="fp16", figures={"mean_ms": 2.0}))

    assert told.kind is Kind.IMPOSSIBLE
    assert told.words == (
        "**impossible as told** (24.6 % over the fp16 peak): int8 would explain it (62.3 % of the int8 peak)"
    )


def test_a_cache_passes_the_roof_of_memory_alone():
    """0.5 ms are 8.82 GFLOP at 17.6 TFLOP/s, twice the 8.1; at 65 it is 27 %, and 176 MB at 320 GB/s are 0.55 ms."""
    told = verdicts.of(replace(ROW, architecture="ViT-B-32", precision="fp16", figures={"mean_ms": 0.5}))
    wider = verdicts.of(replace(ROW, architecture="ViT-B-32", figures={"mean_ms": 0.5}))

    assert told.words == "possible (110.2 % of the memory's peak: a cache held the weights)"
    assert wider.words.startswith("**impossible as told** (117.7 % over the fp32 peak): fp16 would explain it")


def test_a_time_below_every_peak_is_explained_by_no_precision():
    told = verdicts.of(replace(ROW, precision="int8", figures={"mean_ms": 0.5}))

    assert told.kind is Kind.IMPOSSIBLE
    assert "no precision of this device explains it" in told.words


def test_a_row_that_claims_no_precision_is_held_against_the_usual_one():
    """18.6 ms: 20.0 are 7.5 % more, and at 65 TFLOP/s it would be 13.4 %."""
    quick, slow = (verdicts.of(replace(ROW, precision="", figures={"mean_ms": each})) for each in (18.6, 60.0))

    assert quick.words == (
        "**impossible in fp32, and no other is told** (7.5 % over the fp32 peak): "
        "fp16 would explain it (13.4 % of the fp16 peak)"
    )
    assert slow.words == "possible even in fp32 (33.3 % of the fp32 peak)"


def test_a_rate_without_a_batch_is_a_time_of_one_sample():
    """140 a second are 22.7 TFLOP/s, of 16.3."""
    told = verdicts.of(replace(ROW, batch=0, hardware="TITAN RTX", precision="", figures={"rate_s": 140.0}))

    assert told.kind is Kind.IMPOSSIBLE
    assert told.least_ms == pytest.approx(162.03 / 16.3, rel=1e-3)


def test_of_several_times_of_a_document_the_least_is_judged():
    told = verdicts.of(replace(ROW, batch=0, figures={"cbs100_ms": 50.0, "cbs1_ms": 100.0}))

    assert told.words == "possible (40.0 % of the fp32 peak)"


def test_far_below_the_peak_is_suspect():
    told = verdicts.of(replace(ROW, figures={"mean_ms": 2000.0}))

    assert told.kind is Kind.SUSPECT
    assert told.words == "possible (1.0 % of the fp32 peak), but so slow that it may have run elsewhere"


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"architecture": "MobileCLIP-S0"}, "no closed form of the model's work"),
        ({"batch": 0}, "the batch is not told"),
        ({"tower": "pair"}, "the number of texts is not told"),
        ({"hardware": "a telephone"}, "no peak of the device is published"),
        ({"hardware": "a card, not named"}, "the device is not named"),
    ],
    ids=range(5),
)
def test_a_missing_fact_is_told(changes, fact):
    told = verdicts.of(replace(ROW, **changes))

    assert (told.kind, told.words, told.least_ms) == (Kind.UNTOLD, f"cannot be told: {fact}", None)


def test_no_table_holds_two_boundaries():
    """A fused graph, a tower alone, a batch and a clock of their own have a heading and a line of their own."""
    lines = page.page({}).split("## Documents")[0].splitlines()
    own = {row.id: (row.architecture, row.tower, row.batch, row.texts, row.inside) for row in load()["calls"]}
    tables = [set()]
    for line in lines:
        if line.startswith("| ["):
            tables[-1].add(own[line.removeprefix("| [").split("]")[0]])
        elif tables[-1]:
            tables.append(set())

    assert {len(boundaries) for boundaries in tables if boundaries} == {1}
    assert sum(len(boundaries) for boundaries in tables) == len(set(own.values()))


def test_what_is_no_time_has_no_verdict():
    assert verdicts.of(replace(ROW, figures={"top1_percent": 63.32})) is None
    assert verdicts.of(replace(ROW, tower="", figures={"time_ms": 3.0})) is None


def test_the_page_of_a_small_run_to_the_byte(tables):
    """Made once by ``page.page(tables(), SMALL)``, and read line by line."""
    assert page.page(tables(), SMALL) == (SMALL / "page.md").read_text(encoding="utf-8")


def test_a_cell_of_another_call_does_not_stand_beside_a_row(tables):
    cells = measured.timed(tables())
    plain = replace(ROW, architecture="ViT-B-32")

    kept, why = measured.beside(plain, cells)
    assert (len(kept), why) == (1, "")
    assert kept[0]["target"] == "torch-cpu"

    none = "No measured cell stands here: "
    for changes, reason in (
        ({"architecture": "ViT-L-14"}, "no run has ViT-L-14."),
        ({"architecture": "MobileCLIP-S0"}, "no run has MobileCLIP-S0."),
        ({"tower": "pair", "texts": 1}, "the runs of this model are of another tower: image."),
        ({"batch": 8}, "the runs of this model are of another batch: 1."),
        ({"batch": 0}, "the batch is not told."),
        ({"inside": ""}, "the clock is not told."),
        ({"inside": "inference"}, f"the runs of this model are of another clock: {', '.join(STEPS)}."),
    ):
        assert measured.beside(replace(plain, **changes), cells) == ([], none + reason)


def test_of_each_machine_and_precision_the_fastest_stands_there(tables):
    one, two = (each["folder"] for each in (tables(), tables(model="vit_b_32_openai")))

    kept, _ = measured.beside(replace(ROW, architecture="ViT-B-32"), measured.timed({"b": two, "a": one}))

    assert [cell["folder"] for cell in kept] == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("load", "throughput"), ("inputs", "fresh"), ("fed", "folded"), ("device_ids", "1"), ("image_size", 64)],
    ids=range(5),
)
def test_a_cell_that_is_loaded_or_fed_otherwise_is_of_no_plain_call(tables, column, value):
    table = tables()["folder"]
    assert len(measured.timed({"a": table})) == 2

    table[column] = value

    assert measured.timed({"a": table}) == []


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "[a](https://b)", "a | b\n# c"], ids=range(3))
def test_hostile_words_of_a_run_are_words(folder, tables, hostile):
    plain = page.page(tables(), folder(FIRST))
    made = tables(machine=hostile, model=f"vit_b_32 {hostile}")
    for column in ("chip", "target", "precision", "bare"):
        made["folder"][column] = hostile

    text = page.page(made, folder(FIRST))

    assert text != plain
    assert "<script" not in text
    assert "](https://b" not in text
    assert len(text.splitlines()) == len(plain.splitlines())
    assert [line.count("|") for line in text.splitlines()] == [line.count("|") for line in plain.splitlines()]
    assert "**measured**" in text


def test_every_architecture_is_of_known_work_or_of_another_kind():
    unknown = {row.architecture for row in load()["calls"] if naming.model(row.architecture) is None}

    assert unknown == {"MobileCLIP-B", "MobileCLIP-S0", "chinese-clip-vit-base-patch16"}


def test_published_work_agrees_with_the_closed_form():
    told = page.page({})

    assert told.count("image the same, text the same") == 3
    assert "image 8.82, 0.9 % more" in told


def test_every_figure_has_a_heading_of_its_own():
    heads = [figure.head for figure in rows.FIGURES.values()]

    assert len(set(heads)) == len(heads)
