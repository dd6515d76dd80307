"""A place elsewhere is read as a folder or a file here is, within the same limits; what cannot be is one line."""

import builtins
import json
import os
import re
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from clip_bench import places, witness
from clip_bench.__main__ import main
from clip_bench.errors import UnavailableError, UsageError

GOLDEN = Path(__file__).parent / "tables" / "golden" / "run.json"


class Quiet(SimpleHTTPRequestHandler):
    """A server that sends no part of a file, tells a folder as a page of links, and says nothing of it."""

    def log_message(self, *_):
        pass


class Calling(Quiet):
    """Every file is a page, it says."""

    def guess_type(self, _):
        return "text/html"


class Turning(Quiet):
    """Every folder is in itself, and each holds a link to the one above."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b'<a href="again/">again</a><a href="../up/">up</a><a href="a.json">a</a>')


def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def runs(tmp_path):
    """A folder of runs of one machine, at two depths, beside what is none."""
    folder = tmp_path / "runs"
    (folder / "example").mkdir(parents=True)
    (folder / "a.json").write_bytes(GOLDEN.read_bytes())
    later = json.loads(GOLDEN.read_text(encoding="utf-8")) | {"datetime": "2025-01-03T03:04:05+00:00"}
    witness.seal(later)
    (folder / "example" / "b c.json").write_text(json.dumps(later), encoding="utf-8")
    (folder / "other.txt").write_text("no run", encoding="utf-8")
    return folder


@pytest.fixture
def memory(runs):
    """The same folder in fsspec's memory."""
    system = MemoryFileSystem()
    for path in runs.rglob("*.*"):
        system.pipe_file(f"/runs/{path.relative_to(runs).as_posix()}", path.read_bytes())
    yield "memory://runs"
    system.rm("/runs", recursive=True)


@pytest.fixture
def web(runs):
    """The same folder behind a web server."""
    server = served(partial(Quiet, directory=runs.parent))
    yield f"http://127.0.0.1:{server.server_port}/runs/"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["memory", "web", "local"])
def elsewhere(request):
    """A URI of the folder, by each way."""
    return (
        request.getfixturevalue("runs").as_uri() if request.param == "local" else request.getfixturevalue(request.param)
    )


def told(capsys, *arguments):
    status = main(list(arguments))
    return status, *capsys.readouterr()


@pytest.mark.parametrize("command", ["history", "best", "verify"])
def test_a_command_reads_the_same_from_a_uri_as_from_a_folder(command, elsewhere, runs, capsys):
    here, there = (told(capsys, command, place) for place in (str(runs), elsewhere))

    assert here[0] == there[0]
    names = re.compile(rf"({re.escape(elsewhere.rstrip('/'))}|memory:///?runs|{re.escape(str(runs))})/?")
    assert names.sub("", there[1].replace("%20", " ")) == names.sub("", here[1])
    assert "b c" in there[1].replace("%20", " ") or command != "verify"


def test_pages_are_the_same_whether_runs_lie_here_or_elsewhere(memory, runs, tmp_path, capsys):
    for place, out in ((str(runs), "here"), (memory, "there")):
        assert main(["report", place, "-o", str(tmp_path / out)]) == 0
    capsys.readouterr()

    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / out).rglob("*.*")} for out in ("here", "there")
    )
    assert len(here) > 5
    assert there == here


def test_a_side_of_a_comparison_may_be_elsewhere(elsewhere, runs, capsys):
    status, out, _ = told(capsys, "compare", str(runs / "a.json"), elsewhere)

    assert status == 0
    assert "no difference seen" in out


def test_pages_elsewhere_are_held_to_their_runs(memory, runs, capsys):
    assert main(["report", str(runs), "-o", str(runs)]) == 0
    system = MemoryFileSystem()
    for path in runs.rglob("*.*"):
        system.pipe_file(f"/runs/{path.relative_to(runs).as_posix()}", path.read_bytes())
    capsys.readouterr()

    assert told(capsys, "verify", memory)[0] == 0
    system.pipe_file("/runs/README.md", (runs / "README.md").read_bytes() + b"more\n")
    system.pipe_file("/runs/example/latency-strange.svg", b"<svg/>")
    status, out, _ = told(capsys, "verify", memory)

    assert status == 1
    assert re.search(r"memory://.*README.md: line \d+ is 'more'", out)
    assert "latency-strange.svg: these runs do not make it" in out


def test_a_file_elsewhere_is_read_within_the_same_limits(memory):
    place = places.of(f"{memory}/a.json")
    size = GOLDEN.stat().st_size

    assert places.read(place, size) == GOLDEN.read_bytes()
    with pytest.raises(OSError, match=f"{size} bytes: more than {size - 1} are not read"):
        places.read(place, size - 1)
    with pytest.raises(IsADirectoryError):
        places.read(places.of(memory))


def test_a_server_that_says_too_little_of_a_size_is_not_believed(memory, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "info", lambda _, path: {"name": path, "size": 0, "type": "file"})

    with pytest.raises(OSError, match="more than 1000 bytes are not read"):
        places.read(places.of(f"{memory}/a.json"), 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_is_refused_by_every_name_of_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")

    for uri in ((tmp_path / "pipe.json").as_uri(), f"local://{tmp_path}/pipe.json"):
        with pytest.raises(OSError, match="no regular file"):
            places.read(places.of(uri))


def test_a_run_that_a_server_calls_a_page_is_a_run(runs):
    server = served(partial(Calling, directory=runs))
    try:
        place = places.of(f"http://127.0.0.1:{server.server_port}/a.json")

        assert not place.is_dir()
        assert places.read(place) == GOLDEN.read_bytes()
    finally:
        server.shutdown()
        server.server_close()


def test_links_that_go_round_end():
    server = served(Turning)
    try:
        found = places.inside(places.of(f"http://127.0.0.1:{server.server_port}/"), "*.json")
    finally:
        server.shutdown()
        server.server_close()

    assert len(found) == places.DEEPEST + 1
    assert not [place for place in found if "up" in str(place)]


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("strange://x", UsageError, "Protocol not known: strange"),
        ("file://host/x.json", UsageError, "three slashes"),
        ("oss://bucket/x", UnavailableError, "its driver for fsspec is not installed"),
    ],
    ids=list("abc"),
)
def test_a_uri_that_nothing_reads_says_why(uri, error, words):
    with pytest.raises(error, match=words):
        places.of(uri)


def test_a_uri_without_fsspec_says_what_to_install(monkeypatch):
    plain = builtins.__import__

    def lacking(name, *rest, **named):
        if name.partition(".")[0] == "fsspec":
            raise ImportError(name)
        return plain(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "fsspec.core")
    monkeypatch.setattr(builtins, "__import__", lacking)

    with pytest.raises(UnavailableError, match=r"pip install 'clip-bench\[remote\]'"):
        places.of("memory://runs")


@pytest.mark.parametrize("command", ["report", "history", "best", "verify", "compare", "archive"], ids=list("abcdef"))
def test_what_cannot_be_reached_is_one_line_without_a_password(command, tmp_path, capsys):
    uri = "http://someone:secret@127.0.0.1:9/runs/?signature=abc"

    status, out, err = told(
        capsys, command, uri, *{"compare": [uri], "archive": ["-o", str(tmp_path)]}.get(command, [])
    )

    assert status == 2
    assert "http://127.0.0.1:9/runs/: cannot be reached" in out + err
    assert "secret" not in out + err
    assert "abc" not in out + err
    assert "Traceback" not in err


def test_an_error_of_a_drivers_own_kind_is_one_line(memory, monkeypatch, capsys):
    class NoCredentialsError(Exception):
        pass

    def refuse(*_, **__):
        msg = "unable to\nlocate them"
        raise NoCredentialsError(msg)

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)

    status, _, err = told(capsys, "history", memory)

    assert status == 2
    assert re.fullmatch(
        r"clip-bench: memory://runs: cannot be reached \(NoCredentialsError: unable to locate them\); .*\n", err
    )


def test_nothing_there_is_said_as_of_a_path(web, capsys):
    for place in ("memory://none/x.json", f"{web}none.json"):
        status, _, err = told(capsys, "history", place)

        assert (status, err) == (
            2,
            f"clip-bench: {place}: cannot be read (No such file or directory); give the JSON file of a run\n",
        )


def test_two_files_of_one_name_are_two(memory):
    one, other = places.of("memory://runs/a.json"), places.of(f"{memory}/example/a.json")

    assert places.key(one) != places.key(other)
    assert places.key(one) == places.key(places.of("memory://runs/a.json"))
    assert fsspec.filesystem("memory") is one.system
