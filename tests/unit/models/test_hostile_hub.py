"""A hub that answers as none should: one clear line in a bounded time, and nothing of it stays in the cache."""

import hashlib
import http.server
import threading
import time

import pytest
from huggingface_hub import constants as told

from clip_bench.errors import ClipBenchError, CorruptError, UnavailableError
from clip_bench.models import hub, weights
from clip_bench.specs import ModelSpec, Weights

REPO, FILE = "acme/tiny", "w.safetensors"
SPEC = ModelSpec(name="tiny", architecture="ViT-B-32", weights=Weights(kind="hub", repo=REPO, file=FILE))
BODY = bytes(range(256)) * 400
PAGE = b"<html>please log in</html>"
LIMIT_S = 0.3


class Answer(http.server.BaseHTTPRequestHandler):
    """One file, as the server's *manner* has it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Keep the test's own lines readable."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):  # noqa: PLR0911  a manner each
        manner, body = self.server.manner, self.command == "GET"
        if self.path == "/" and manner != "silent":
            return self.head(200, 0)
        if manner in {"silent", "asleep"}:
            return self.server.over.wait(20)
        if manner.isdecimal():
            return self.head(int(manner), 0)
        if manner == "loop":
            return self.head(302, 0, Location=self.path)
        if manner == "far":
            return self.head(302, 0, Location="file:///etc/passwd")
        if manner == "page":
            self.head(200, len(PAGE))
            return body and self.wfile.write(PAGE)
        claimed = hashlib.sha256(BODY).hexdigest()
        length = len(BODY) * (2 if manner == "longer" and body else 1)
        told = {"X-Repo-Commit": "0" * 40, "X-Linked-Size": str(len(BODY)), "Connection": "close"}
        self.head(200, length, ETag=f'"{claimed}"', **told)
        self.close_connection = True
        if body:
            self.wfile.write((PAGE * len(BODY))[: len(BODY)] if manner == "other" else BODY[: len(BODY) // 2])
            if manner == "stalled":
                self.server.over.wait(20)
        return None

    def head(self, status, length, **names):
        self.send_response(status)
        for name, value in names.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A hub on the loopback, little patience with it, and an empty cache."""
    for name, value in {
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DOWNLOAD_TIMEOUT": LIMIT_S,
    }.items():
        monkeypatch.setattr(told, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # a second before each of its five further attempts
    hub._unreachable.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.over = threading.Event()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
    hub._unreachable.cache_clear()


@pytest.mark.parametrize(
    "manner",
    [
        "silent",
        "asleep",
        "401",
        "403",
        "404",
        "429",
        "500",
        "503",
        "loop",
        "far",
        "page",
        "cut",
        "longer",
        "stalled",
        "other",
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_nothing_that_could_be_taken_for_weights(served, tmp_path, manner):
    served.manner = manner

    with pytest.raises(ClipBenchError) as caught:
        weights.locate(SPEC, folder=None, store_root=tmp_path / "store")

    assert isinstance(caught.value, CorruptError if manner == "other" else UnavailableError)
    assert str(caught.value).startswith("tiny: ")
    assert "\n" not in str(caught.value)
    assert hub.cached(SPEC.weights) is None
    assert not (tmp_path / "store" / weights.held.HASHES).exists()
    left = [path for kind in ("blobs", "snapshots") for path in (tmp_path / "cache").rglob(f"{kind}/**/*")]
    assert not [path for path in left if not path.is_dir() and path.suffix != ".incomplete"]
