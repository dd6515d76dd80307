"""Weights are found, fetched, verified and loaded, or refused in one line that says what to do."""

import dataclasses
import hashlib
import http.server
import json
import logging
import re
import threading
import time

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors.torch import load, save, save_file

from clip_bench.errors import CorruptError, UnavailableError, UsageError
from clip_bench.models import catalog, held, shapes_tiny, weights
from clip_bench.specs import ModelSpec, Weights

REPO = "acme/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SPEC = ModelSpec(name="tiny", architecture="ViT-B-32", weights=Weights(kind="hub", repo=REPO, file="w.safetensors"))
BODY = save({"a": torch.arange(50_000, dtype=torch.float32)})


class Hub(http.server.ThreadingHTTPServer):
    """As much of the hub as one file needs; *claims* is the body whose hash it publishes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {"w.safetensors": BODY}
        self.claims = {}
        self.cut_at = 0
        self.ranges = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Keep the test's own lines readable."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        if self.path == "/":
            return self.head(200, 0)
        repo, _, rest = self.path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        body = self.server.files.get(file) if repo == REPO and revision in ("main", COMMIT) else None
        if body is None:
            return self.head(404, 0, {"X-Error-Code": "EntryNotFound"})
        claim = hashlib.sha256(self.server.claims.get(file, body)).hexdigest()
        names = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{claim}"',
            "X-Linked-Etag": f'"{claim}"',
            "X-Linked-Size": len(body),
        }
        begin = int(re.sub("[^0-9]", "", self.headers.get("Range", "0")))
        if begin:
            self.server.ranges.append(begin)
            names["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self.head(206 if begin else 200, len(body) - begin, names)
        if with_body:
            end = self.server.cut_at or len(body)
            self.server.cut_at = 0
            self.wfile.write(body[begin:end])
            self.close_connection = end < len(body)
        return None

    def head(self, status, length, names=()):
        self.send_response(status)
        for name, value in dict(names).items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(length))
        self.end_headers()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on the loopback, and an empty cache for it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An empty cache and a hub that nobody runs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    weights.hub._unreachable.cache_clear()


def empty_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another"))


@pytest.mark.usefixtures("hub")
def test_a_file_is_downloaded_and_its_hash_recorded(root):
    path = weights.locate(SPEC, folder=None, store_root=root)

    assert path.read_bytes() == BODY
    assert json.loads((root / weights.held.HASHES).read_text()) == {
        "acme/tiny/w.safetensors@main": hashlib.sha256(BODY).hexdigest()
    }
    assert torch.equal(weights.state_dict(SPEC, path)["a"], load(BODY)["a"])


def test_a_cached_file_needs_no_hub(hub, root):
    first = weights.locate(SPEC, folder=None, store_root=root)
    hub.files.clear()

    assert weights.locate(SPEC, folder=None, store_root=root) == first
    assert weights.here(SPEC, None) == ""


def test_a_damaged_body_is_refused_and_removed(hub, root, tmp_path):
    hub.claims["w.safetensors"] = BODY + b"!"

    for _ in range(2):
        with pytest.raises(CorruptError, match="it was removed: run again") as caught:
            weights.locate(SPEC, folder=None, store_root=root)

    assert not (root / weights.held.HASHES).exists()
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.read_bytes() == BODY]
    hub.claims.clear()
    assert weights.locate(SPEC, folder=None, store_root=root).read_bytes() == BODY


@pytest.mark.usefixtures("hub")
def test_a_file_that_was_damaged_in_the_cache_is_refused_until_it_is_deleted(root):
    path = weights.locate(SPEC, folder=None, store_root=root).resolve()
    path.write_bytes(BODY + b"!")

    for _ in range(2):
        with pytest.raises(CorruptError, match="delete it and run again"):
            weights.locate(SPEC, folder=None, store_root=root)
    path.unlink()

    assert weights.locate(SPEC, folder=None, store_root=root).read_bytes() == BODY


def test_a_cut_download_resumes(hub, root, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # what is kept of a cut download
    hub.cut_at = 150_000

    path = weights.locate(SPEC, folder=None, store_root=root)

    assert path.read_bytes() == BODY
    assert hub.ranges == [150_000]


@pytest.mark.usefixtures("hub")
def test_another_hash_than_the_catalog_is_refused(root):
    spec = dataclasses.replace(SPEC, weights=dataclasses.replace(SPEC.weights, sha256="0" * 64))

    with pytest.raises(CorruptError, match="published is 000000000000"):
        weights.locate(spec, folder=None, store_root=root)


def test_bytes_that_changed_upstream_are_refused(hub, root, monkeypatch, tmp_path):
    weights.locate(SPEC, folder=None, store_root=root)
    empty_the_cache(monkeypatch, tmp_path)
    hub.files["w.safetensors"] = BODY[:-1] + b"!"

    with pytest.raises(CorruptError, match="has changed since it was first downloaded") as caught:
        weights.locate(SPEC, folder=None, store_root=root)

    assert str(root / weights.held.HASHES) in str(caught.value)


def test_a_pickled_file_stands_in_where_the_hub_has_no_other(hub, root, tmp_path):
    torch.save({"state_dict": {"module.a": torch.ones(2)}}, tmp_path / "p.bin")
    hub.files["open_clip_pytorch_model.bin"] = (tmp_path / "p.bin").read_bytes()
    spec = dataclasses.replace(SPEC, weights=Weights(kind="hub", repo=REPO, file=weights.hub.SAFE))

    path = weights.locate(spec, folder=None, store_root=root)

    assert path.name == "open_clip_pytorch_model.bin"
    assert weights.state_dict(spec, path)["a"].tolist() == [1.0, 1.0]


def test_a_file_that_the_hub_lacks_is_unavailable(hub, root):
    hub.files.clear()

    with pytest.raises(UnavailableError, match=re.escape("the hub has no w.safetensors in acme/tiny at main")):
        weights.locate(SPEC, folder=None, store_root=root)


@pytest.mark.usefixtures("nowhere")
def test_an_unreachable_hub_is_told_fast_and_once(root):
    began = time.monotonic()

    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        weights.locate(SPEC, folder=None, store_root=root)
    first_s = time.monotonic() - began
    with pytest.raises(UnavailableError):
        weights.locate(SPEC, folder=None, store_root=root)

    assert first_s < weights.hub.TIMEOUT_S + 3
    assert weights.hub._unreachable.cache_info().misses == 1
    assert "hf download acme/tiny w.safetensors" in str(caught.value)
    assert "--weights FOLDER" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("nowhere")
def test_what_is_not_here_is_told_without_a_question():
    assert weights.here(SPEC, None).startswith("tiny: its weights are not on this machine: run `hf download")
    assert weights.hub._unreachable.cache_info().misses == 0


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("where", ["tiny.safetensors", "tiny/w.safetensors"], ids=["by_name", "in_a_folder"])
def test_the_folder_of_the_user_comes_first(where, root, tmp_path):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(BODY)

    assert weights.locate(SPEC, folder=tmp_path, store_root=root) == path
    assert weights.here(SPEC, tmp_path) == ""


@pytest.mark.usefixtures("nowhere")
def test_a_named_file_is_for_the_model_of_its_name(root, tmp_path):
    path, other = tmp_path / "tiny.safetensors", tmp_path / "other.safetensors"
    path.write_bytes(BODY)
    other.write_bytes(BODY)

    assert weights.locate(SPEC, folder=path, store_root=root) == path
    assert weights.here(SPEC, other)


@pytest.mark.usefixtures("nowhere")
def test_a_file_with_the_name_of_every_model_needs_the_published_hash(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(BODY)
    mine = Weights(kind="hub", repo=REPO, file="w.safetensors", sha256=hashlib.sha256(BODY).hexdigest())
    other = dataclasses.replace(mine, sha256="0" * 64)

    assert weights.here(dataclasses.replace(SPEC, weights=mine), tmp_path) == ""
    assert weights.here(dataclasses.replace(SPEC, weights=other), tmp_path)
    assert weights.here(SPEC, tmp_path)


def test_weights_in_the_package_are_here(root, tmp_path, monkeypatch):
    spec = dataclasses.replace(catalog.MODELS["shapes_tiny"], weights=Weights(kind="embedded"))
    known = torch.tensor([5, 49407])
    model = shapes_tiny.architecture(vocabulary=2)
    monkeypatch.setattr(shapes_tiny, "WEIGHTS", tmp_path / "weights.safetensors")
    missing = weights.here(spec, None)
    save_file(shapes_tiny.compact(model, known), shapes_tiny.WEIGHTS)

    loaded, sha256 = weights.load(spec, folder=None, store_root=root)

    assert "install clip-bench again" in missing
    assert not loaded.training
    assert sha256 == hashlib.sha256(shapes_tiny.WEIGHTS.read_bytes()).hexdigest()
    assert torch.equal(loaded.token_embedding.weight[known], model.token_embedding.weight)


def test_random_weights_are_always_here():
    assert weights.here(catalog.MODELS["vit_b_32_random"], None) == ""


def test_generated_weights_have_no_file(root):
    with pytest.raises(UsageError, match="vit_b_32_random is generated, not read from a file"):
        weights.locate(catalog.MODELS["vit_b_32_random"], folder=None, store_root=root)


@pytest.mark.parametrize("stored", ["{", "[]", '{"a": 1}', "[" * 100_000], ids=["cut", "list", "number", "deep"])
def test_a_damaged_record_of_hashes_believes_no_file(tmp_path, stored):
    (tmp_path / held.HASHES).write_text(stored)

    with pytest.raises(CorruptError, match=r"weights\.json, which holds the hashes .* delete it to record them anew"):
        held.hold(tmp_path / "w.safetensors", "0" * 64, SPEC.weights, tmp_path)
    assert (tmp_path / held.HASHES).read_text() == stored


def test_other_generated_bytes_are_refused(root, monkeypatch):
    spec = dataclasses.replace(catalog.MODELS["vit_b_32_random"], weights=Weights(kind="random", sha256="0" * 64))
    monkeypatch.setattr(weights, "architecture", lambda _: torch.nn.Linear(2, 2))

    with pytest.raises(CorruptError, match="generates other bytes"):
        weights.load(spec, folder=None, store_root=root)


def test_building_an_architecture_is_silent(caplog):
    with caplog.at_level(logging.DEBUG):
        weights.architecture(catalog.MODELS["shapes_tiny"])
        weights.architecture(catalog.MODELS["mobileclip_s1_random"])

    assert caplog.records == []


def test_weights_of_the_older_layout_are_renamed(root, tmp_path, monkeypatch):
    """OpenAI's layout in a model with a text module of its own, and a temperature of one dimension."""
    old = shapes_tiny.architecture().state_dict()
    path = tmp_path / "old.safetensors"
    save_file(old | {"logit_scale": old["logit_scale"].reshape(1)}, path)
    spec = dataclasses.replace(SPEC, weights=Weights(kind="file", file=str(path)))
    monkeypatch.setattr(weights, "architecture", lambda _: open_clip.CustomTextCLIP(**shapes_tiny.CONFIG))

    loaded, _ = weights.load(spec, folder=None, store_root=root)

    assert torch.equal(loaded.text.token_embedding.weight, old["token_embedding.weight"])
    assert loaded.logit_scale.shape == ()


def test_wrong_tensors_are_named(monkeypatch, root, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"weight": torch.ones(3, 2), "stray": torch.ones(1)}, path)
    spec = dataclasses.replace(SPEC, weights=Weights(kind="file", file=str(path)))
    monkeypatch.setattr(weights, "architecture", lambda _: torch.nn.Linear(2, 2))

    with pytest.raises(UsageError, match="3 tensors differ: bias is missing") as caught:
        weights.load(spec, folder=None, store_root=root)

    assert "stray is (1,), not known" in str(caught.value)
    assert "weight is (3, 2), not (2, 2)" in str(caught.value)


class Code:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # such archives are still about
@pytest.mark.parametrize("made", ["code", "archive", "noise.bin", "noise.safetensors"])
def test_a_file_that_is_no_state_dict_is_refused_and_not_executed(made, tmp_path, capsys):
    path = tmp_path / (made if "." in made else f"{made}.pt")
    if made == "code":
        torch.save(Code(), path)
    elif made == "archive":
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    else:
        path.write_bytes(b"<html>not found</html>")

    with pytest.raises(UsageError, match="safetensors") as caught:
        weights.state_dict(SPEC, path)

    assert capsys.readouterr().out == ""
    assert "\n" not in str(caught.value)
