"""Make dist/ of the commit that is checked out: wheel, sdist, bill of materials, SHA256SUMS. ``tox run -e release``.

Both are built twice from what git holds, in two folders, and have to be the same bytes: SOURCE_DATE_EPOCH is the
commit's. The wheel is installed alone, with the versions and hashes of constraints.txt, and has to answer from
outside of the checkout; what was installed is the bill of materials (CycloneDX). Nothing is uploaded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
EXTRA = "cpu"


def main() -> None:
    """Everything, or an exit with the step that failed."""
    if told := output("git", "status", "--porcelain"):
        sys.exit(f"a release is of a commit: commit or stash what git status shows first\n{told}")
    epoch = output("git", "log", "-1", "--format=%ct")
    with TemporaryDirectory() as folder:
        os.umask(0o022)  # the modes of files are in a wheel
        first, second = (built(Path(folder, name), epoch) for name in "ab")
        if first != second:
            sys.exit(f"two builds of one commit differ: {sorted(dict(first.items() ^ second.items()))}")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(Path(folder, "a", "dist"), DIST, ignore=shutil.ignore_patterns(".gitignore"))
        files = [DIST / name for name in first]
        (wheel,) = (file for file in files if file.suffix == ".whl")
        run("twine", "check", "--strict", *files)
        run("check-wheel-contents", wheel)
        bill = DIST / f"{wheel.name.split('-py3')[0]}.cdx.json"
        bill.write_text(materials(wheel, Path(folder, "alone")), encoding="utf-8", newline="\n")
    sums = {file.name: sha256(file) for file in sorted([*files, bill])}
    lines = "".join(f"{told}  {name}\n" for name, told in sums.items())
    (DIST / "SHA256SUMS").write_text(lines, encoding="utf-8", newline="\n")
    sys.stdout.write(f"dist/ of {output('git', 'rev-parse', 'HEAD')}, built twice with the same bytes:\n{lines}")


def built(home: Path, epoch: str) -> Mapping[str, str]:
    """The sha256 of each file that *home* / dist has after a build."""
    source = home / "source"
    run("git", "-C", ROOT, "checkout-index", "--all", f"--prefix={source}/")
    held = "".join(f"{'graft' if path.is_dir() else 'include'} {path.name}\n" for path in sorted(source.iterdir()))
    (source / "MANIFEST.in").write_text(held, encoding="utf-8")  # of itself setuptools leaves out all but the package
    constraints = ("--build-constraints", ROOT / "constraints.txt")
    run("uv", "build", *constraints, "--out-dir", home / "dist", source, SOURCE_DATE_EPOCH=epoch)
    for sdist in (home / "dist").glob("*.tar.gz"):
        settle(sdist, int(epoch))
    return {file.name: sha256(file) for file in (home / "dist").iterdir() if file.name.startswith("clip_bench")}


def settle(sdist: Path, epoch: int) -> None:
    """Pack *sdist* again in the order of its names, of nobody and at *epoch*: setuptools leaves times and owners in it."""
    with tarfile.open(sdist) as packed:
        parts = [(each, reader.read() if (reader := packed.extractfile(each)) else b"") for each in packed.getmembers()]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for each, data in sorted(parts, key=lambda part: part[0].name):
            kept = tarfile.TarInfo(each.name)
            kept.type, kept.size, kept.mtime = each.type, len(data), epoch
            kept.mode = 0o755 if each.isdir() or each.mode & 0o100 else 0o644
            packed.addfile(kept, io.BytesIO(data))
    sdist.write_bytes(gzip.compress(made.getvalue(), mtime=epoch))


def materials(wheel: Path, home: Path) -> str:
    """What *wheel* brings with it where nothing else is installed, as CycloneDX JSON, after it has answered there."""
    run("uv", "venv", "--python", sys.executable, home)
    python = next(path for path in (home / "bin/python", home / "Scripts/python.exe") if path.exists())
    constraints = ("--constraint", ROOT / "constraints.txt")
    run("uv", "pip", "install", "--python", python, *constraints, f"clip-bench[{EXTRA}] @ {wheel.as_uri()}")
    shutil.copy(max((ROOT / "reports").glob("*/2*.json")), home / "run.json")  # a run: findings begin with their kind
    for words in (["list"], ["report", "run.json", "--out", "pages"], ["verify", "run.json"]):
        alone = subprocess.run([python, "-I", "-m", "clip_bench", *words], cwd=home, check=True, stdout=subprocess.PIPE)  # noqa: S603
        sys.stdout.write(f"installed alone, clip-bench {words[0]}: {len(alone.stdout.splitlines())} lines\n")
    options = ("--output-reproducible", "--of", "JSON", "--pyproject", ROOT / "pyproject.toml")
    bill = json.loads(output("cyclonedx-py", "environment", *options, python))
    for each in bill["components"]:  # where the wheel lay when it was installed is of this machine
        each["externalReferences"] = [
            told for told in each.get("externalReferences", []) if not told["url"].startswith("file:")
        ]
    return json.dumps(bill, indent=1, sort_keys=True) + "\n"


def run(*command: str | Path, **environment: str) -> None:
    """Run *command*; it fails where that does."""
    sys.stdout.flush()
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True, env=os.environ | environment)  # noqa: S603


def output(*command: str | Path) -> str:
    """What *command* prints."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()  # noqa: S603


def sha256(file: Path) -> str:
    """Of the bytes of *file*, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
