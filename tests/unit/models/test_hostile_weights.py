"""Checkpoints that are none, or another model's: one clear line from the command, and nothing in them is executed."""

import os
import pickle
import struct

import open_clip
import pytest
import torch
from safetensors.torch import save

from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.models import catalog, weights

ARCHITECTURE = "ViT-S-32-alt"
MATRIX = "visual.proj"


class Hostile:
    """What makes a file when an ordinary unpickler reads it."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture(scope="module")
def state():
    """The weights of a small model, in half precision."""
    made = open_clip.create_model(ARCHITECTURE, pretrained=None, pretrained_text=False)
    return {name: value.half() for name, value in made.state_dict().items()}


def header(text, length=None):
    return struct.pack("<Q", len(text) if length is None else length) + text.encode()


TENSORS = {
    "shape": (lambda state: state | {MATRIX: torch.ones(3, 3)}, f"{MATRIX} is (3, 3), not"),
    "missing": (lambda state: {name: value for name, value in state.items() if name != MATRIX}, f"{MATRIX} is missing"),
    "extra": (lambda state: state | {"more": torch.ones(2)}, "more is (2,), not known"),
    "none": (lambda _: {}, "tensors differ"),
    "whole": (
        lambda state: {name: (8 * value).to(torch.int8) for name, value in state.items()},
        "not a floating-point",
    ),
    "nan": (lambda state: state | {MATRIX: state[MATRIX] * float("nan")}, f"{MATRIX} holds what is no finite number"),
    "infinite": (lambda state: state | {MATRIX: state[MATRIX] / 0}, f"{MATRIX} holds what is no finite number"),
    "scale": (lambda state: state | {"logit_scale": torch.ones(2)}, f"not weights of {ARCHITECTURE}"),
    "other": (lambda _: {"image_encoder.model.patch_emb.0.block.conv.weight": torch.ones(1)}, "not weights of"),
}
BYTES = {
    "empty": (b"", "is not a safetensors file"),
    "page": (b"<html>please log in</html>" * 99, "is not a safetensors file"),
    "huge": (header("{}", 10 << 40), "is not a safetensors file"),
    "vast": (header('{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'), "is not"),
    "negative": (header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}'), "is not a safetensors file"),
}


@pytest.fixture
def refused(tmp_path, monkeypatch, cache, capsys):
    """The one line with which a checkpoint is refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(cache))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()

    def line(path):
        status = main(["embed", "in", "-o", "out.parquet", "--model", f"{ARCHITECTURE}:{path}", "--threads", "1"])
        told = capsys.readouterr()
        assert (status, told.out) == (2, "")
        (said,) = told.err.splitlines()
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["in", path.name])
        return said

    return line


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_another_model_are_refused(refused, tmp_path, state, kind):
    change, said = TENSORS[kind]
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(change(state)))

    assert said in refused(path)


@pytest.mark.parametrize("kind", BYTES)
def test_what_is_no_checkpoint_is_refused(refused, tmp_path, kind):
    path = tmp_path / "w.safetensors"
    path.write_bytes(BYTES[kind][0])

    assert BYTES[kind][1] in refused(path)


def test_half_a_checkpoint_is_refused(refused, tmp_path, state):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(state)[:-1000])

    assert "is not a safetensors file" in refused(path)


@pytest.mark.parametrize("kind", ["zipped", "plain", "inside"])
def test_code_in_a_pickle_is_refused_and_not_executed(refused, tmp_path, kind):
    path = tmp_path / "w.pt"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Hostile()))
    else:
        torch.save({"state_dict": Hostile()} if kind == "inside" else Hostile(), path)

    said = refused(path)

    assert "is not a plain state dict" in said
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content", [None, [1, 2], {3: torch.ones(2)}, {"state_dict": 7}, {"a": "b"}], ids=list("abcde")
)
def test_a_pickle_of_something_else_is_refused(refused, tmp_path, content):
    path = tmp_path / "w.pt"
    torch.save(content, path)

    assert "is not a plain state dict" in refused(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zipped", "legacy"])
def test_a_damaged_pickle_is_refused_whatever_its_reader_raises(tmp_path, zipped):
    """The fuzzer found AssertionError, OSError and others."""
    path = tmp_path / "w.pt"
    torch.save({"state_dict": {"a": torch.ones(2)}}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0

    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            weights.state_dict(catalog.MODELS["vit_b_32_random"], path)
        except UsageError:
            refused += 1

    assert refused
