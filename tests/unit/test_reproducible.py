"""The same commit and the same machine give the same again: recipes, versions, and what a record tells of the rest."""

import importlib
import re
import subprocess
import sys
import zipfile

import pytest
from uv import find_uv_bin

from clip_bench.backends import Options, onnxruntime, openvino, torch
from clip_bench.graphs import build
from clip_bench.specs import Format, Precision, Tower
from clip_bench.store import sha256_file

PIN = re.compile(r"^([\w.-]+)==(\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)*)$", re.MULTILINE)
UNHASHED = {"torch", "torchao", "torchvision", "triton"}  # uv takes them from the index that UV_TORCH_BACKEND means
LOADED = (
    (onnxruntime, onnxruntime.CPU, Format.ONNX, "use_deterministic_compute"),
    (openvino, openvino.CPU, Format.OPENVINO_IR, "INFERENCE_NUM_THREADS"),
    (torch, torch.CPU, Format.TORCH_EXPORT, "deterministic_algorithms"),
)


@pytest.fixture
def rebuilt(pytestconfig, monkeypatch):
    """The claim's script, as Python finds it where it lies."""
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath / "tests" / "claims"))
    for name in ("rebuilt", "verdict"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("rebuilt")
    for name in ("rebuilt", "verdict"):
        sys.modules.pop(name, None)


def test_recipes_have_the_same_hashes_wherever_they_are_made(rebuilt, tmp_path):
    one, two = rebuilt.stores(tmp_path, ["onnx:int8_dynamic"])

    assert {each.told.split()[0] for each in one.values()} == {"feeds", "reference", "program", "onnx", "int8_dynamic"}
    assert one.keys() == two.keys()


def test_the_claim_tells_a_recipe_that_is_made_in_one_place_alone_and_a_file_of_other_bytes(rebuilt):
    first = rebuilt.Built(told="onnx", files={"a.onnx": "1", "b.json": "2"})
    other = rebuilt.Built(told="onnx", files={"a.onnx": "3", "b.json": "2"})

    moved, changed = rebuilt.rows({"k1": first, "k2": first}, {"k2": other})

    assert (moved["made"], moved["verdict"]) == ("by one alone", "does not hold")
    assert (changed["same bytes"], changed["verdict"]) == ("not a.onnx", "holds")


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-rknn.txt"], ids=["main", "toolkit"])
def test_every_version_that_is_installed_has_its_hashes_but_for_those_whose_build_differs(pytestconfig, name):
    lines = (pytestconfig.rootpath / name).read_text(encoding="utf-8")
    pins = PIN.findall(lines)

    assert len(pins) == len(re.findall(r"^[^\s#]", lines, re.MULTILINE)) > 80
    assert {pin for pin, _, hashes in pins if not hashes} <= UNHASHED
    assert {pin for pin, _, hashes in pins if hashes} & UNHASHED == set()
    assert "://" not in re.sub(r"^#.*", "", lines, flags=re.MULTILINE)


@pytest.fixture
def wheel(tmp_path):
    """A distribution of nothing but its name."""
    path = tmp_path / "wheels" / "clip_example-1.0-py3-none-any.whl"
    path.parent.mkdir()
    told = {
        "METADATA": "Metadata-Version: 2.1\nName: clip-example\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as packed:
        for name, lines in told.items():
            packed.writestr(f"clip_example-1.0.dist-info/{name}", lines)
    return path


def installed(wheel, sha256):
    """How uv ends that is to install *wheel* and no other hash than *sha256*, as tox tells it."""
    held = wheel.parent.parent / "held.txt"
    held.write_text(f"clip-example==1.0 \\\n    --hash=sha256:{sha256}\n", encoding="utf-8")
    where = ["--python", sys.executable, "--target", str(held.with_name(sha256)), "--find-links", str(wheel.parent)]
    alone = ["--no-index", "--no-cache", "--no-config", "--constraint", str(held), "clip-example"]
    command = [find_uv_bin(), "pip", "install", *where, *alone]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  uv's own program


def test_a_download_with_another_hash_than_that_of_the_constraints_is_refused(wheel):
    own, other = installed(wheel, sha256_file(wheel)), installed(wheel, "0" * 64)

    assert own.returncode == 0, own.stderr
    assert other.returncode != 0
    assert "hash" in other.stderr.lower()


@pytest.mark.parametrize(("backend", "target", "kind", "flag"), LOADED, ids=["microsoft", "intel", "eager"])
def test_a_session_tells_what_decides_whether_it_repeats_itself(shapes, backend, target, kind, flag):
    artifact = build(shapes.graph(Tower.TEXT), Precision.FP32, kind)
    session = backend.load(artifact, target, Options(precision=Precision.FP32, threads=2))

    told = session.placement().flags
    session.close()

    assert flag in told
    assert "2" in {told.get(name) for name in ("threads", "intra_op_num_threads", "INFERENCE_NUM_THREADS")}
    assert all(isinstance(value, str) and len(value) < 40 for value in told.values())


def test_a_deterministic_session_tells_so(shapes):
    import torch as library

    artifact = build(shapes.graph(Tower.TEXT), Precision.FP32, Format.TORCH_EXPORT)
    session = torch.load(artifact, torch.CPU, Options(precision=Precision.FP32, threads=1))
    library.use_deterministic_algorithms(mode=True)
    try:
        told = session.placement().flags
    finally:
        library.use_deterministic_algorithms(mode=False)

    assert told["deterministic_algorithms"] == "True"
