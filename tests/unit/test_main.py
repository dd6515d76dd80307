"""The clip-bench command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clip_bench
from clip_bench.__main__ import main
from clip_bench.backends import discover

HEAVY = {"numpy", "pandas", "torch", "onnx", "onnxruntime", "openvino", "open_clip", "pydantic", "psutil", "PIL"}


@pytest.fixture
def listed(monkeypatch, cache, capsys):
    """The lines of ``clip-bench list``."""
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))

    def lines(*arguments):
        assert main(["list", *arguments]) == 0
        printed = capsys.readouterr().out.splitlines()
        return [line for line in printed if not line.startswith(("device ", "option "))]

    return lines


def test_every_cell_is_listed_with_what_will_become_of_it(listed):
    *lines, _ = listed()

    told = dict(line.split("  ", maxsplit=1) for line in lines)

    assert len(told) == len(lines) > 100
    assert [
        line for line in lines if not re.fullmatch(r"\S+  (will run|will run with --full|not here: .+)", line)
    ] == []
    assert told["image-shapes_tiny-null-cpu-fp32"] == "will run"
    assert told["pair-vit_b_32_random-null-cpu-fp32"] == "will run with --full"
    assert told["image-shapes_tiny-openvino-npu-fp16"].startswith("not here: ")


def test_the_last_line_counts_the_cells(listed):
    *lines, last = listed("--model", "shapes_tiny")

    ready = sum("  will run" in line for line in lines)

    planned = sum("  will run with --full" not in line and "-emulated-" not in line for line in lines)
    planned += sum("-emulated-" in line and not line.startswith("pair-") for line in lines)
    assert last == f"{ready} cells can run here; {planned} are in this selection"


def test_every_device_is_listed_as_found_or_with_what_it_takes(monkeypatch, cache, capsys):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))

    assert main(["list", "--devices"]) == 0
    told = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]

    state = {name: text for kind, name, text in told if kind == "device"}
    assert state["onnxruntime-cpu"].startswith("here: CPUExecutionProvider, ONNX Runtime ")
    assert state["openvino-npu"].startswith("not here: no NPU for OpenVINO: needs ")
    assert all(text.startswith(("here: ", "not here: ")) for text in state.values())
    assert set(state) == {str(target) for backend in discover().values() for target in backend.TARGETS}


def test_a_model_that_one_names_is_listed_alone(listed):
    *lines, _ = listed("--model", "vit_b_32_random")

    assert {line.split("-")[1] for line in lines} == {"vit_b_32_random"}


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "clip_bench", "list", "--model", "shapes_tiny"],
        cwd=tmp_path,
        env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with started:
        started.stdout.close()
        said = started.stderr.read()

    assert (started.returncode, said) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--model", "vit_b_32_opena"], "no model is called 'vit_b_32_opena' (did you mean vit_b_32_openai"),
        (["list", "--samples", "0"], "--samples 0: at least 2"),
        (["compile", "--bm1684x", "--precision", "fp32"], "--bm1684x compiles in fp16 alone"),
        (["compile", "--soc", "SM8650", "--batch", "8"], "--batch is for --bm1684x"),
        (["compile", "--bm1684x", "--model", "shapes_tiny"], "by --option sophon.tpu_mlir_python=PYTHON"),
        (["compile", "--trtrtx", "SM89", "--model", "shapes_tiny"], "pip install tensorrt-rtx"),
        (["report"], "reports: cannot be read"),
        (["report", "missing.json"], "missing.json: cannot be read"),
        (["report", "foreign.json"], "foreign.json: no clip-bench run in it"),
        (["report", "empty.json"], "empty.json: not JSON"),
    ],
    ids=["model", "samples", "narrow", "batch", "compiler", "builder", "no_run", "missing", "foreign", "empty"],
)
def test_a_bad_argument_is_one_line_that_says_what_to_do(tmp_path, monkeypatch, cache, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    (tmp_path / "foreign.json").write_text(json.dumps({"benchmarks": []}), encoding="utf-8")
    (tmp_path / "empty.json").touch()

    status = main(arguments)

    told = capsys.readouterr()
    assert status == 2
    assert told.err.startswith("clip-bench: ")
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.json", "foreign.json"]


@pytest.mark.parametrize("arguments", [[], ["lst"], ["list", "--threads", "many"]], ids=["none", "typo", "words"])
def test_what_cannot_be_parsed_ends_with_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: clip-bench" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["clip_bench", "clip_bench.__main__"], ids=["package", "command"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert loaded.stdout.split() == []


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="only tox installs the wheel: tox run -e tests")
def test_tox_tests_the_wheel_and_not_the_checkout(pytestconfig):
    assert not Path(clip_bench.__file__).is_relative_to(pytestconfig.rootpath / "clip_bench")


def test_an_interruption_is_one_line(monkeypatch, capsys, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("clip_bench.embed.listed", interrupted)

    assert main(["embed", str(tmp_path), "-o", str(tmp_path / "out.parquet")]) == 130
    assert capsys.readouterr().err == "clip-bench: interrupted; what is written is kept\n"
