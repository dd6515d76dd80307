"""Build once: artifacts found by the hash of their recipe, atomic, locked, and verified when read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from clip_bench import memory
from clip_bench.memory import Step

MANIFEST = "manifest.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A folder of files and the recipe that made them.

    ``key`` hashes the recipe and finds the folder; ``sha256`` hashes the bytes of the files, with their names, and
    proves what was measured; ``size_bytes`` is their sum. ``built_s`` is how long the build took, its parents'
    included, on whatever machine and day they ran; ``steps`` are these builds one by one, parents first.
    """

    path: Path
    key: str
    sha256: str
    size_bytes: int
    built_s: float
    recipe: Mapping[str, object]
    steps: tuple[Step, ...] = ()

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names that the recipe holds under *key*."""
        names = self.recipe[key]
        if not isinstance(names, (list, tuple)):
            msg = f"the recipe of {self.key} holds no list of {key}"
            raise TypeError(msg)
        return tuple(names)

    def file(self, suffix: str) -> Path:
        """The one built file that ends in *suffix*; the manifest is none of them."""
        (found,) = (path for path in self.path.iterdir() if path.name.endswith(suffix) and path.name != MANIFEST)
        return found


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of artifacts, shared by processes."""

    root: Path

    def get(
        self, recipe: Mapping[str, object], build: Callable[[Path], None], parent: Artifact | None = None
    ) -> Artifact:
        """Return the artifact for *recipe* (JSON data), calling ``build(folder)`` only where none is whole.

        *parent* is what it is made from, if anything: its build counts as part of this one.

        *build* writes one or more files into the folder it is given, and no folders. A folder whose files differ
        from their manifest, or whose manifest differs from its own hash (deleted, truncated, altered), is built
        anew. A second process waits for the first. What a killed build left is removed by the next of its recipe.
        """
        recipe = json.loads(_canonical(recipe))
        key = _sha256(recipe)
        home = self.root / key[:2] / key
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_suffix(".lock")):
            if (found := _whole(home, key)) is not None:
                return found
            shutil.rmtree(home, ignore_errors=True)
            _build(home, recipe, build, parent)
            if (made := _whole(home, key)) is not None:
                return made
        msg = f"{home} changed while it was written; is the disk full or failing?"
        raise OSError(msg)


def default_root() -> Path:
    """``$CLIP_BENCH_CACHE``, or the user's cache folder for clip-bench."""
    from platformdirs import user_cache_path

    named = os.environ.get("CLIP_BENCH_CACHE")
    return Path(named) if named else user_cache_path("clip-bench")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _canonical(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(data: object) -> str:
    return hashlib.sha256(_canonical(data)).hexdigest()


def _build(home: Path, recipe: Mapping[str, object], build: Callable[[Path], None], parent: Artifact | None) -> None:
    """Build beside *home* and rename; the caller holds the lock, so a folder found there is a killed build's."""
    partial = home.with_suffix(".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        name = str(recipe.get("step", "an artifact"))
        _log.info("making %s", name)
        level, began = memory.reset(), time.perf_counter()
        build(partial)
        own = Step(name=name, seconds=time.perf_counter() - began, peak_bytes=memory.growth_bytes(level))
        files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
        if not files:
            msg = f"the build of {recipe} wrote no file; a build must write at least one"
            raise FileNotFoundError(msg)
        built_s = own.seconds + (parent.built_s if parent else 0.0)
        steps = [asdict(step) for step in (*(parent.steps if parent else ()), own)]
        body = {"recipe": recipe, "files": files, "built_s": built_s, "steps": steps}
        manifest = json.dumps({"sha256": _sha256(body), **body}, indent=1)
        (partial / MANIFEST).write_text(manifest, encoding="utf-8")
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _whole(home: Path, key: str) -> Artifact | None:
    """The artifact at *home* if its manifest and every file are there with their recorded hashes."""
    try:
        manifest = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or manifest.pop("sha256", "") != _sha256(manifest):
            return None
        files: dict[str, str] = manifest["files"]
        if not files or any(sha256_file(home / name) != sha for name, sha in files.items()):
            return None
    except (OSError, ValueError):
        return None
    return Artifact(
        path=home,
        key=key,
        sha256=_sha256(files),
        size_bytes=sum((home / name).stat().st_size for name in files),
        built_s=manifest["built_s"],
        recipe=manifest["recipe"],
        steps=tuple(Step(**step) for step in manifest.get("steps", ())),  # a store of version 0.1.0 has none
    )
