"""Files for chips that are not here are whole, and proved before they are handed out."""

import json

import onnx
import pytest

from clip_bench import offline
from clip_bench.__main__ import main
from clip_bench.backends.onnxruntime import qnn
from clip_bench.quality import gates
from clip_bench.specs import Tower

pytest.importorskip("onnxruntime_qnn", reason="install onnxruntime-qnn")
if qnn.PROVIDERS[qnn.EMULATED].lacks({}):
    pytest.skip(qnn.EMULATOR_NEEDS, allow_module_level=True)


@pytest.fixture
def command(monkeypatch, cache, tmp_path, capsys):
    """Run the command for the image tower of shapes_tiny: its exit status, its lines, and its words on stderr."""
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    monkeypatch.setattr(offline, "TOWERS", (Tower.IMAGE,))

    def run(*arguments):
        fixed = ["--model", "shapes_tiny", "--samples", "2", "--threads", "1", "-o", str(tmp_path)]
        status = main(["compile", *fixed, *arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return run


def test_each_chip_gets_a_folder_and_a_line_that_tells_how_it_answered(command, tmp_path):
    status, lines, _ = command("--soc", "SC8380XP", "--soc", "SM8750")

    assert status == 0
    assert len(lines) == 2
    for line, chip in zip(lines, ("SC8380XP", "SM8750"), strict=True):
        folder = tmp_path / chip / "image-shapes_tiny-a16w8"
        (node,) = onnx.load(folder / "model.onnx", load_external_data=False).graph.node
        named = {each.name: each.s.decode() for each in node.attribute}["ep_cache_context"]
        assert node.op_type == "EPContext"
        assert (folder / named).stat().st_size > 100_000
        assert json.loads((folder / "manifest.json").read_text())["recipe"]["options"]["soc_model"] == qnn.SOCS[chip]
        assert line.startswith(f"{folder}  {chip}, ")
        assert "1 EPContext; on the emulator, mean cosine over 2 samples: image_embedding 0.99" in line
        assert line.endswith("holds its floors")


def test_an_answer_below_its_floors_is_a_failure_of_the_command(command, monkeypatch):
    monkeypatch.setattr(gates, "COLLAPSED", 10.0)  # no rows differ by ten times the reference's

    status, lines, _ = command("--soc", "SM8650")

    assert status == 1
    assert "constant: rows differ by" in lines[0]


@pytest.mark.parametrize(
    ("chip", "said"),
    [
        pytest.param("999", "refuses the graph on onnxruntime-qnn-emulated", id="number"),
        pytest.param("SM9999", "no such chip; there are SC8380XP", id="name"),
    ],
)
def test_a_chip_that_nobody_knows_is_refused_and_nothing_is_written(command, tmp_path, chip, said):
    status, lines, errors = command("--soc", chip)

    assert (status, lines) == (2, [])
    assert said in errors
    assert list(tmp_path.iterdir()) == []
