"""The command compiles for SOPHON's and NVIDIA's chips what it was asked for, and promises no more than it saw."""

import json

import pytest

from clip_bench import offline
from clip_bench.__main__ import main
from clip_bench.graphs import bmodel
from clip_bench.graphs.trtrtx import Engine
from clip_bench.specs import Tower


@pytest.fixture
def command(monkeypatch, cache, tmp_path, capsys):
    """Run the command on shapes_tiny: its exit status and its lines."""
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))

    def run(*arguments):
        status = main(["compile", "--model", "shapes_tiny", "-o", str(tmp_path), *arguments])
        return status, capsys.readouterr().out.splitlines()

    return run


def test_an_engine_is_told_as_built_and_never_run_with_its_evidence_beside_it(command, monkeypatch, tmp_path):
    def built(onnx, out, capability):
        out.parent.mkdir(parents=True)
        out.write_bytes(onnx.read_bytes())
        facts = {"tensorrt_rtx": "1", "onnx_sha256": "a", "sha256": "b"}
        return Engine(capability=capability, size_bytes=2**20, build_s=0.5, **facts)

    monkeypatch.setattr(offline.trtrtx, "compiles", built)

    status, lines = command("--trtrtx", "SM89", "--trtrtx", "SM120")

    folders = [tmp_path / sm / f"{tower}-shapes_tiny-fp16" for tower in ("image", "text") for sm in ("SM89", "SM120")]
    assert status == 0
    assert lines == [f"{each}  {each.parent.name}, 1.0 MiB in 0.5 s: compiles, never run" for each in folders]
    assert [json.loads((each / "evidence.json").read_text())["capability"] for each in folders] == ["SM89", "SM120"] * 2
    assert len({(each / "model.engine").read_bytes() for each in folders}) == 2


def test_pictures_are_made_ready_at_each_batch_and_captions_by_fours(command, monkeypatch, tmp_path):
    asked = []

    def compiled(graphs, folder):
        (graph,) = graphs
        asked.append((graph.tower, bmodel.batch(graph)))
        path = folder / bmodel.names(graph)[0]
        path.write_bytes(bytes(2**20))
        return [path]

    monkeypatch.setattr(bmodel, "compile_offline", compiled)

    status, lines = command("--bm1684x", "--batch", "1", "--batch", "8", "--tpu-mlir-python", "python3.10")

    assert status == 0
    assert asked == [(Tower.IMAGE, 1), (Tower.IMAGE, 8), (Tower.TEXT, 4)]
    assert lines[1] == f"{tmp_path / 'shapes_tiny_image_bm1684x_f16_8b.bmodel'}  1.0 MiB"
