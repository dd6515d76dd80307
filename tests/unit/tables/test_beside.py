"""Findings of commands on the pages: under their headings, the newest of what is alike, and no name breaks a table."""

import dataclasses

import pytest

from clip_bench import finding
from clip_bench.answered import Evaluation, Fit, Labelled, Scoring
from clip_bench.errors import UsageError
from clip_bench.finding import (
    Added,
    Embedding,
    Finding,
    Gates,
    Indexed,
    Indexing,
    Preprocessing,
    Retrieval,
    Scored,
    Searched,
    Share,
    Transformed,
    Transforms,
    Tried,
)
from clip_bench.report import beside, pages

EVIL = "</td><script>alert(1)</script>|`x`\n# no heading"
MACHINE = {"name": "a_machine", "cpu": "a chip"}


def transformed(name, seconds=0.002, **figures):
    told = {"ratio": 1.0, "processed_diff": 0.0, "encode_diff": 0.0, "cosine": 1.0, "same": None, "recall": None}
    return Transformed(name=name, differs=EVIL, rounds_s=(seconds, 2 * seconds), **(told | figures))


def tried(saboteur, drift, **told):
    cell = {"tower": "x", "precision": "fp32", "batch": 1, "case": "x", "gates": ()}
    return Tried(saboteur=saboteur, kind=saboteur, what=saboteur, drift=drift, **(cell | told))


def every(word="x"):
    """One of each kind, with *word* wherever a name stands."""
    rows = (transformed("reference", same=1.0, recall=0.5), transformed(word, same=0.5, recall=0.75, ratio=0.4))
    sets = (Transforms(name=word, pictures=("a", "b"), rows=rows, missing={word: word}, skipped={word: word}),)
    seconds = dict.fromkeys(("fetch", "prepare", "encode", "write"), (0.1, 0.2, 0.3))
    added = tuple(Added(documents=kind, batch=10, rows=30, seconds=seconds) for kind in ("image", "text"))
    searched = (Searched(batch=10, recall=0.975, seconds=(0.004,)),)
    indexed = Indexed(case=word, title=word, random_weights=True, added=added, searched=searched)
    scores = {"text_to_image_1": Share(share=0.925, queries=40), "i2t_r1": Share(share=None, queries=0)}
    fits = tuple(Fit(label=word, cosine=0.3, score=score) for score in (0.75, 0.25))
    return [
        Evaluation(
            case=word,
            title=word,
            target="openvino-cpu",
            random_weights=True,
            data=word,
            prompts="name",
            classes=10,
            pictures=8,
            first=5,
            among=7,
            silent=1,
            predictions=("x\t0\t0:0.5",) * 8,
            left_out=(word,),
        ),
        Scoring(
            case=word,
            title=word,
            random_weights=True,
            scale=100.0,
            pictures=(Labelled(picture=word, labels=fits),),
            left_out=(word,),
        ),
        Preprocessing(model=word, random_weights=True, rounds=2, versions={}, sets=sets),
        Indexing(threads=2, cases=(indexed,), left_out={word: word}),
        Retrieval(
            data=word, cases=(Scored(case=word, title=word, random_weights=False, scores=scores),), left_out=(word,)
        ),
        Embedding(
            case=word,
            title=word,
            target="openvino-cpu",
            random_weights=False,
            batch=16,
            preprocess=word,
            images=1000,
            seconds=5.38702,
            preprocess_s=0.002,
            inference_s=0.003,
        ),
        Gates(model=word, tried=(tried("", 1e-13), tried(word, 0.001, gates=(word,)))),
    ]


def findings(several, day="2026-01-02"):
    return [Finding(name=f"{told.kind}-{day}", datetime=day, machine=MACHINE, told=told) for told in several]


def test_each_kind_has_its_heading_and_tells_its_figures():
    found = {heading: "\n".join(parts) for heading, parts in beside.sections(findings(every())).items()}

    assert list(found) == list(beside.HEADINGS)
    assert "| x | 0.001 |" in " ".join(found["Gates"].split())
    assert "62.50 |" in found["Zero-shot"]
    assert "87.50 |" in found["Zero-shot"]
    assert "these answers mean nothing" in found["Zero-shot"]
    assert " 0.75 |" in found["Which label fits"]
    assert "3.00 ± 1.41" in found["Preprocessing"]
    assert "+25.0 %" in found["Preprocessing"]
    assert "-50.0 %" in found["Preprocessing"]
    assert "Its weights are random" in found["Preprocessing"]
    assert "Image Indexing Time (CBS = 10)" in found["Indexing"]
    assert " 80.00 |" in found["Indexing"]  # four parts of 0.2 s, over ten documents
    assert "0.975" in found["Indexing"]
    assert "92.5 (40)" in found["Performance"]
    assert "185.63" in found["Embedding a folder"]
    assert "200.00" in found["Embedding a folder"]  # what 2 ms and 3 ms allow in turns
    assert all("2026-01-02.json" in text for text in found.values())


def test_of_what_is_alike_the_newest_is_shown():
    old, new = findings(every(), "2026-01-01"), findings(every(), "2026-02-01")
    other = findings(every("y"), "2025-01-01")

    kept = beside.newest([*old, *new, *other])

    assert [each.datetime for each in kept] == ["2026-02-01"] * 7 + ["2025-01-01"] * 7


def test_a_hostile_name_stays_in_its_place():
    for heading, parts in beside.sections(findings(every(EVIL))).items():
        told = "\n\n".join(parts)
        assert "<script" not in told, heading
        assert not [line for line in told.splitlines() if line.startswith("# ")], heading
        lengths = {line.replace("\\|", "").count("|") for line in told.splitlines() if line.startswith("| ")}
        assert len(lengths) <= 2 + (heading == "Indexing"), heading


def test_a_machine_that_ran_no_cell_has_a_page(tmp_path):
    for told in every():
        (tmp_path / f"{told.kind}.json").write_text(finding.to_json(told, MACHINE), encoding="utf-8")

    made = pages.write([tmp_path], tmp_path / "out")

    text = (tmp_path / "out" / "a_machine" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in made] == ["README.md", "README.md", "published.md", "index.html"]
    assert [f"## {heading}" in text for heading in beside.HEADINGS] == [True] * len(beside.HEADINGS)
    assert "[retrieval.json](retrieval.json)" in text


def test_a_finding_cut_off_is_an_error_that_names_it(tmp_path):
    text = finding.to_json(every()[0], MACHINE)
    (tmp_path / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")

    with pytest.raises(UsageError, match=r"cut\.json: not JSON"):
        pages.write([tmp_path], tmp_path / "out")


def preprocessed(*rounds_s):
    rows = (dataclasses.replace(transformed("reference"), rounds_s=rounds_s),)
    sets = (Transforms(name="a", pictures=("a",), rows=rows),)
    return Preprocessing(model="m", random_weights=False, rounds=1, versions={}, sets=sets)


def added(batch, **seconds):
    parts = dict.fromkeys(("fetch", "prepare", "encode", "write"), (0.1, 0.2)) | seconds
    rows = (Added(documents="image", batch=batch, rows=2, seconds=parts),)
    cases = (Indexed(case="a", title="a", random_weights=False, added=rows, searched=()),)
    return Indexing(threads=1, cases=cases)


@pytest.mark.parametrize(
    "told",
    [
        preprocessed(),
        preprocessed(1e308, 1.0),
        added(0),
        added(10, encode=(0.1,)),
        Gates(model="m", tried=(tried("", 0.1, precision="int8"),)),
    ],
    ids=["no_rounds", "beyond_floats", "batches_of_none", "unlike_lengths", "no_float_cell"],
)
def test_a_finding_whose_values_make_no_figures_is_an_error_that_names_it(told):
    with pytest.raises(UsageError, match=rf"^{told.kind}-2026-01-02: its values make no figures .*; measure it again"):
        beside.sections(findings([told]))
