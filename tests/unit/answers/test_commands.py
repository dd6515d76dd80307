"""score, evaluate, topk and tokens as a user runs them, on scenes and shapes_tiny."""

import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from clip_bench import backends, cases, encoder, finding
from clip_bench.__main__ import main
from clip_bench.answers import classify, encoders
from clip_bench.data import classes, scenes
from clip_bench.data.listing import Entry
from clip_bench.models import catalog, feeds, shapes_tiny
from clip_bench.quality import metrics
from clip_bench.report import refound

FOLDER = Path(shapes_tiny.__file__).parent
SIDE = 64
PICTURES = 40
PLOTTED = re.compile(r"<title>(.*?)</title>")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, cache):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Single objects in class folders called after them, with one bad file, and the same ones in folders of wnids."""
    root = tmp_path_factory.mktemp("shown")
    wnids = classes.of("imagenet").wnids
    for i in range(PICTURES):
        kind = scenes.label(i)
        drawn = Image.fromarray(scenes.render(scenes.scene(scenes.Split.EVALUATION, i, 1), SIDE))
        for folder in (root / "named" / scenes.CLASSES[kind], root / "wnids" / wnids[kind]):
            folder.mkdir(parents=True, exist_ok=True)
            drawn.save(folder / f"{i}.png")
    (root / "wnids" / wnids[0] / "bad.JPEG").write_bytes(b"no picture")
    return root


@pytest.fixture
def ran(capsys):
    """The exit status of a command, its lines, and those of stderr; one thread, since others test at the same time."""

    def run(command, *arguments):
        threads = ["--threads", "1"] if command in {"score", "evaluate"} else []
        status = main([command, *map(str, arguments), *threads])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err.splitlines()

    return run


def first(shown):
    """One picture and what it shows."""
    path = min((shown / "named").rglob("*.png"))
    return path, path.parent.name


def test_the_right_label_is_first_and_every_score_is_written(ran, shown, tmp_path):
    path, kind = first(shown)
    labels = [f"a {kind}", "a red star", "a blue ring", "a pink heart"]

    status, out, err = ran("score", path, "--labels", ",".join(labels), "--json", tmp_path / "s.json", "--top", 3)

    assert (status, err) == (0, [])
    assert out[0] == "Top3:"
    assert out[1].startswith(f"0th, string: a {kind}, score: ")
    assert len(out) == 4
    told = finding.read(tmp_path / "s.json")
    assert told.told.case == "image-shapes_tiny-torch-cpu-fp32"
    (scored,) = told.told.pictures
    assert scored.picture == path.name
    assert sum(each.score for each in scored.labels) == pytest.approx(1)
    assert {each.label for each in scored.labels} == set(labels)
    assert not list(refound.faults(told))


@pytest.mark.parametrize("words", ["onnxruntime-cpu", "pair-onnxruntime-cpu"], ids=["towers", "fused"])
def test_every_cell_gives_the_scores_of_the_first(ran, shown, tmp_path, words):
    path, kind = first(shown)
    found = []

    for name, more in (("a.json", []), ("b.json", ["--case", words])):
        assert ran("score", path, "--labels", f"a {kind},a red star", "--json", tmp_path / name, *more)[0] == 0
        found.append(finding.read(tmp_path / name).told.pictures[0].labels)

    assert [each.label for each in found[0]] == [each.label for each in found[1]]
    assert [each.score for each in found[0]] == pytest.approx([each.score for each in found[1]], abs=1e-4)


def test_a_picture_that_cannot_be_opened_is_named_and_the_others_go_on(ran, shown, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (1, 500)).save(tmp_path / "thin.png")
    path, kind = first(shown)

    status, out, err = ran(
        "score",
        tmp_path / "bad.png",
        path,
        tmp_path / "gone.png",
        tmp_path / "thin.png",
        tmp_path / "pipe.png",
        "--labels",
        f"a {kind},a ring",
    )

    assert status == 1
    assert out[:2] == [path.name, "Top5:"]
    assert [line.split(": ", 2)[1].rpartition("/")[2] for line in err] == [
        "bad.png",
        "gone.png",
        "thin.png",
        "pipe.png",
    ]
    assert "one side is more than 64 times the other" in err[2]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F"], ids=list("abcdefgh"))
def test_a_picture_of_any_mode_is_scored_or_named(ran, tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.tif")
    Image.new(mode, (30, 20)).save(path)

    status, out, err = ran("score", path, "--labels", "a red star,a blue ring")

    assert (status, bool(out), len(err)) in {(0, True, 0), (1, False, 1)}


def test_labels_that_read_alike_are_told(ran, shown):
    status, _, err = ran("score", first(shown)[0], "--labels", "a dog,a cat,a red star")

    assert (status, err) == (0, ["shapes_tiny: read alike, so scored alike: a dog, a cat"])


def test_strange_names_are_printed_and_drawn(ran, shown, tmp_path):
    odd = tmp_path / "a\x07\udcff<b>&.png"
    try:
        odd.write_bytes(first(shown)[0].read_bytes())
    except (OSError, UnicodeEncodeError):
        pytest.skip("needs a file system that takes any bytes as a name")
    (tmp_path / "labels").write_text("a red star\n<b>&\x01\n")

    status, out, _ = ran(
        "score", odd, odd, "--labels", tmp_path / "labels", "--plot", tmp_path / "s.svg", "--json", tmp_path / "s.json"
    )

    assert (status, out[0]) == (0, r"a\x07?<b>&.png")
    ET.parse(tmp_path / "s.svg")  # noqa: S314  our own file
    assert len(finding.read(tmp_path / "s.json").told.pictures) == 2


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_plot_asks_its_question(ran, shown, tmp_path, kind):
    path, label = first(shown)
    plot = tmp_path / f"s.{kind}"

    assert ran("score", path, "--labels", f"a {label},a red star", "--plot", plot)[0] == 0

    if kind == "svg":
        drawn = plot.read_text()
        assert PLOTTED.search(drawn)[1] == f"{path.name}: which label fits, says image-shapes_tiny-torch-cpu-fp32?"
        assert all(f">{words}<" in drawn for words in (f"a {label}", "a red star"))
    else:
        with Image.open(plot) as drawn:
            assert drawn.size[0] > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", ","], "no label"),
        (["--labels", "a", "--plot", "s.pdf"], "a name that ends in .svg or .png"),
        (["--labels", "a", "--json", "gone/s.json"], "its folder does not exist"),
        (["--labels", "a", "--top", "0"], "at least 1"),
        (["--labels", "a", "--case", "pentium"], "no cell"),
        (["--labels", "a", "--batch", "0"], "a number of at least 1"),
        (["--labels", "a", "--tokens", "gone"], "no npz in it"),
    ],
    ids=list("abcdefg"),
)
def test_what_cannot_be_done_is_one_clear_line(ran, shown, arguments, said):
    status, out, err = ran("score", first(shown)[0], *arguments)

    assert (status, out, len(err)) == (2, [], 1)
    assert said in err[0]


def test_the_figures_come_out_of_the_file_again(ran, shown, tmp_path):
    written = tmp_path / "p.txt"

    status, figures, _ = ran("evaluate", "--data", shown / "named", "--prompts", "name", "--predictions", written)

    assert status == 0
    assert figures[1] == f"{PICTURES} pictures, {PICTURES} classes; 0 without an answer"
    assert float(re.search(r"top1_rate: (\S+)", figures[0])[1]) > 80
    assert ran("topk", written) == (0, figures, [])
    lines = [line for line in written.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == PICTURES
    assert all(line.count("\t") == 6 for line in lines)


def test_batches_and_prompts_change_nothing_that_they_should_not(ran, shown):
    named = ("evaluate", "--data", shown / "named", "--prompts", "name")

    alone, eight = ran(*named)[1], ran(*named, "--batch", 8)[1]

    assert eight == alone


def test_a_thousand_classes_are_told_with_what_was_left_out(ran, shown, tmp_path):
    data = f"imagenet:{shown / 'wnids'}"
    wnid = classes.of("imagenet").wnids[0]

    status, figures, err = ran("evaluate", "--data", data, "--batch", 50, "--predictions", tmp_path / "p.txt")

    assert status == 0
    assert figures[1].startswith(f"{PICTURES} pictures, 1,000 classes; ")
    assert err[0] == f"imagenet: 50,000 expected, {PICTURES + 1} found"
    assert err[1].startswith(f"left out: {wnid}/bad.JPEG: no picture of a known format")
    assert err[-1] == "1 pictures could not be opened, and are in no figure"
    assert ran("topk", tmp_path / "p.txt")[1] == figures


def test_samples_are_so_many_pictures(ran, shown):
    _, figures, _ = ran("evaluate", "--data", shown / "named", "--samples", 10)

    assert figures[1].startswith(f"10 pictures, {PICTURES} classes; ")


def test_pictures_that_a_cell_is_calibrated_on_are_not_classified_by_it(ran, shown):
    asked = ("evaluate", "--data", shown / "named", "--samples", "10", "--case", "onnxruntime-cpu-int8_qdq")

    status, figures, err = ran(*asked)

    assert status == 0
    assert figures[1].startswith("10 pictures, ")
    assert f"{PICTURES - 10} pictures that the cell is calibrated on are not among those classified" in err


def test_captions_alone_are_no_classes(ran, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "captions.txt").write_text("a.png#0\tone\n")

    status, _, err = ran("evaluate", "--data", f"flickr8k:{tmp_path}")

    assert status == 2
    assert "flickr8k has captions and no classes" in err[-1]


def test_without_data_there_is_nothing_to_evaluate(ran):
    assert ran("evaluate")[2] == [
        "clip-bench: --data NAME:PATH, or a folder of class folders, says what to evaluate on: docs/data.md"
    ]


def test_saved_tokens_give_the_same_scores(ran, shown, tmp_path):
    path, kind = first(shown)
    (tmp_path / "labels.txt").write_text(f"a {kind}\na red star\na blue ring\n")
    asked = ("score", path, "--labels", tmp_path / "labels.txt")

    saved = ran("tokens", "--labels", tmp_path / "labels.txt", "--model", "shapes_tiny", "-o", tmp_path / "npz")

    assert saved == (0, [f"{tmp_path / 'npz'}  3 files of tokens (1, 24) for shapes_tiny"], [])
    assert ran(*asked, "--tokens", tmp_path / "npz") == ran(*asked)


def test_what_is_said_of_a_thousand_classes_can_be_saved_before(ran, shown, tmp_path):
    data = ("evaluate", "--data", f"imagenet:{shown / 'wnids'}", "--samples", 8, "--prompts", "name", "--batch", 50)

    assert ran("tokens", "--classes", "imagenet", "--prompts", "name", "-o", tmp_path / "npz")[0] == 0

    assert len(list((tmp_path / "npz").iterdir())) == 998
    assert ran(*data, "--tokens", tmp_path / "npz")[1] == ran(*data)[1]


@pytest.fixture(scope="module")
def made(small):
    """shapes_tiny's encoders."""
    found = backends.discover()
    settings = replace(small, threads=1)
    with encoders.opened(cases.choose(settings, found, "", "", ""), settings, batch=1) as opened:
        yield opened


def test_an_ensemble_is_the_mean_of_unit_rows(made):
    spec = catalog.MODELS["shapes_tiny"]
    texts = [["a red star", "a star"], ["a blue ring", "a ring"], ["a pink heart", "a heart"]]

    rows = made.classes(texts, feeds.tokenizer(spec))

    for row, several in zip(rows, texts, strict=True):
        units = metrics.normalised(encoder.stacked(made.text(feeds.tokens(spec, several))))
        assert row == pytest.approx(metrics.normalised(units.mean(axis=0)[np.newaxis])[0])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)


def test_an_ensemble_is_that_of_open_clip(made, small):
    torch = pytest.importorskip("torch", reason="needs PyTorch and open_clip")
    open_clip = pytest.importorskip("open_clip", reason="needs PyTorch and open_clip")
    from clip_bench.evaluation import source

    spec = catalog.MODELS["shapes_tiny"]
    names, templates = ["red star", "blue ring", "pink heart"], ["a {}.", "one {}", "{}"]

    theirs = open_clip.build_zero_shot_classifier(
        source(small, spec).model(),
        lambda texts: torch.from_numpy(feeds.tokens(spec, texts)),
        names,
        [each.format for each in templates],
    )
    ours = made.classes([[each.format(name) for each in templates] for name in names], feeds.tokenizer(spec))

    assert ours == pytest.approx(theirs.numpy().T, abs=1e-5)


def test_pictures_are_read_as_they_are_needed(made, shown):
    stored, read = first(shown)[0].read_bytes(), []
    entries = [Entry(name=f"{i}", stored=lambda: read.append(1) or stored, label=0) for i in range(100)]
    texts = [["a red star"], ["a blue ring"]]
    rows = made.classes(texts, feeds.tokenizer(catalog.MODELS["shapes_tiny"]))

    found = classify.predictions(made, rows, classify.twins_of(texts), entries, frozenset(), [])

    assert next(found).file == "0"
    assert len(read) < 2 * classify.TOGETHER
    assert len([*found]) == 99


def test_the_scale_is_the_models_own(made):
    with safe_open(FOLDER / "weights.safetensors", "numpy") as stored:
        assert made.scale == pytest.approx(np.exp(stored.get_tensor("logit_scale")).item())


def test_real_photographs_are_scored(ran, request):
    folder = Path(request.config.rootpath).parent / "shared" / "data" / "images"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/images beside the repository: real photographs")

    status, out, _ = ran("score", folder / "CLIP.png", folder / "coco.jpg", "--labels", "a red star,a white square")

    assert status == 0
    assert out[::4] == ["CLIP.png", "coco.jpg"]


def test_an_evaluation_is_kept_with_each_prediction_and_its_counts_follow_from_them(ran, shown, tmp_path):
    kept, written = tmp_path / "e.json", tmp_path / "p.txt"
    asked = ("evaluate", "--data", shown / "named", "--prompts", "name", "--samples", 10)

    assert ran(*asked, "--json", kept, "--reports", tmp_path, "--predictions", written)[0] == 0

    found = finding.read(kept)
    lines = [line for line in written.read_text().splitlines() if not line.startswith("#")]
    assert list(found.told.predictions) == lines
    assert (found.told.pictures, found.told.classes, found.told.data) == (10, PICTURES, "named")
    assert not list(refound.faults(found))
    (again,) = tmp_path.glob("*/evaluate-*.json")
    assert finding.read(again).told == found.told


def test_where_no_picture_could_be_scored_there_is_no_finding(ran, tmp_path):
    status, *_ = ran("score", tmp_path / "gone.png", "--labels", "a,b", "--reports", tmp_path / "reports")

    assert status == 1
    assert not (tmp_path / "reports").exists()


def test_a_finding_keeps_names_without_their_folders(ran, shown, tmp_path):
    path, kind = first(shown)
    gone = tmp_path / "gone.png"

    status, *_ = ran("score", path, gone, "--labels", f"a {kind},a ring", "--json", tmp_path / "s.json")

    assert status == 1
    assert finding.read(tmp_path / "s.json").told.left_out == ("gone.png: No such file or directory",)
    assert str(tmp_path) not in (tmp_path / "s.json").read_text()
