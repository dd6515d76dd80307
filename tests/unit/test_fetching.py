"""Documents come over HTTP from a process that ends with its client; what does not come is a reason, no error."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import numpy as np
import psutil
import pytest

from clip_bench import fetching
from clip_bench.errors import UnavailableError, UsageError


def number(data):
    if not data.isdigit():
        msg = "no number"
        raise UsageError(msg)
    return np.full(2, int(data), np.float32)


@pytest.fixture
def folder(tmp_path):
    for name, data in (("a", b"7"), ("b", b"none"), ("c", b"9")):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_files_come_from_another_process_in_the_order_asked_for(folder):
    with fetching.served(folder) as port, ThreadPoolExecutor(2) as pool:
        source = fetching.pictures(["a", "c"], port, pool, number)
        listening = {
            each.pid
            for each in psutil.Process().children()
            if port in {connection.laddr.port for connection in each.net_connections()}
        }

        assert len(listening) == 1
        assert source.fetch(["c", "a", "c"]) == [b"9", b"7", b"9"]
        assert [each.tolist() for each in source.prepare([b"9", b"7"])] == [[9, 9], [7, 7]]


def test_a_server_that_does_not_start_is_told(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))

    with (
        pytest.raises(UnavailableError, match=r"no HTTP server could be started on 127\.0\.0\.1"),
        fetching.served(folder),
    ):
        pass


def test_what_is_not_there_or_is_bad_is_told_in_its_place(folder):
    with fetching.served(folder) as port, ThreadPoolExecutor(2) as pool:
        source = fetching.pictures(["a", "b", "gone", "c"], port, pool, number)

        first, bad, gone, last = source.prepare(source.fetch(source.documents))

    assert (first[0], last[0]) == (7, 9)
    assert str(bad) == "no number"
    assert str(gone) == "not fetched: 404 File not found"


def test_the_server_is_gone_after_an_error_and_fetches_from_it_are_told(folder):
    with pytest.raises(KeyboardInterrupt), fetching.served(folder) as port:
        raise KeyboardInterrupt

    with pytest.raises(ConnectionError):
        HTTPConnection(fetching.HOST, port, timeout=5).connect()
    with ThreadPoolExecutor(1) as pool:
        (found,) = fetching.pictures(["a"], port, pool, number).fetch(["a"])
    assert isinstance(found, UsageError)
    assert str(found).startswith("not fetched: ")


def test_the_server_ends_when_its_client_is_killed(folder, pytestconfig):
    code = "import sys, os; from pathlib import Path; from clip_bench import fetching\n"
    code += "with fetching.served(Path(sys.argv[1])) as port: print(port, flush=True); os.kill(os.getpid(), 9)"
    ended = subprocess.run(  # noqa: S603  ourselves
        [sys.executable, "-c", code, str(folder)],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    port = int(ended.stdout)

    assert ended.returncode != 0
    for _ in range(100):
        try:
            with closing(HTTPConnection(fetching.HOST, port, timeout=5)) as connection:
                connection.connect()
        except ConnectionError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server still answers")


def test_words_are_prepared_in_one_call():
    calls = []

    def tokens(words):
        calls.append(words)
        return np.array([[len(word)] for word in words])

    source = fetching.texts(["a", "bcd"], tokens)

    assert [row.tolist() for row in source.prepare(source.fetch(["bcd", "a"]))] == [[3], [1]]
    assert calls == [["bcd", "a"]]
