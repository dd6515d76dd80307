"""Who times something has the machine alone: one lock of a user's, or of all that share a folder."""

import os
import subprocess
import sys
import time

import pytest

from clip_bench import locks
from clip_bench.errors import StoreError

LONGEST_S = 240
RUN = ("-k", "null and image and shapes_tiny", "--model", "shapes_tiny", "--samples", "24", "--benchmark-only")


@pytest.fixture
def unshared(tmp_path, monkeypatch):
    """No folder is named, and the system's own for temporary files is the test's."""
    monkeypatch.delenv("CLIP_BENCH_LOCKS")
    monkeypatch.setattr(locks, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"clip-bench-{locks._user()}"


@pytest.mark.parametrize("how", [("pytest", "tests/bench"), ("clip_bench", "run")], ids=["plain", "supervised"])
def test_a_run_waits_for_another_and_says_so(pytestconfig, cache, scenes, tmp_path, how):
    module, *words = how
    said = tmp_path / "said"
    with said.open("w") as output, locks.timing("measuring something else"):
        process = subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-P", "-m", module, *words, *RUN, "-p", "no:cacheprovider", "--data", str(scenes)],
            cwd=pytestconfig.rootpath,
            env={**os.environ, "CLIP_BENCH_CACHE": str(cache), "PYTEST_ADDOPTS": "", "PYTHONUNBUFFERED": ""},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        limit = time.monotonic() + LONGEST_S
        while "waiting for" not in said.read_text() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.1)
        before = said.read_text()

    process.wait(LONGEST_S)

    assert f"waiting for process {os.getpid()} on " in before
    assert "measuring something else since" in before
    assert " passed" not in before
    assert process.returncode == 0
    assert "1 passed" in said.read_text()


def test_the_lock_of_a_user_is_nobody_elses(unshared):
    with locks.timing("timing"):
        assert unshared.stat().st_mode & 0o777 == 0o700


def test_a_link_where_the_lock_should_be_is_refused(unshared, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    unshared.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match=r"it is somebody else's.: set CLIP_BENCH_LOCKS"), locks.timing("timing"):
        pass

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_is_shared_has_a_lock_that_all_may_take(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_BENCH_LOCKS", str(tmp_path / "shared"))

    with locks.timing("timing"):
        assert (tmp_path / "shared" / "machine.lock").stat().st_mode & 0o777 == 0o666


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLIP_BENCH_LOCKS", str(tmp_path / "file" / "locks"))

    with pytest.raises(StoreError, match="no lock can be kept there"), locks.timing("timing"):
        pass
