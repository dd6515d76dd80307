"""Build once: artifacts found by the hash of their recipe, atomic, locked, and verified when read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clip_bench import locks, memory, room
from clip_bench.errors import CorruptError
from clip_bench.memory import Step

MANIFEST = "manifest.json"
LAYOUT = 2  # of folders and manifests: a cache of another one is neither read nor written

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Artifact:
    """A folder of files and the recipe that made them.

    ``key`` hashes the recipe and finds the folder; ``sha256`` hashes the bytes of the files, with their names, and
    proves what was measured; ``size_bytes`` is their sum. ``built_s`` is how long the build took, its parents'
    included, on whatever machine and day they ran; ``steps`` are these builds one by one, parents first.
    ``clip-bench cache prune`` removes no artifact of which such an object lives, in whichever process.
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

    @property
    def home(self) -> Path:
        """Where in the root the artifacts of this layout are."""
        return self.root / f"v{LAYOUT}"

    def get(
        self, recipe: Mapping[str, object], build: Callable[[Path], None], parent: Artifact | None = None
    ) -> Artifact:
        """Return the artifact for *recipe* (JSON data), calling ``build(folder)`` only where none is whole.

        *parent* is what it is made from, if anything: its build counts as part of this one.

        *build* writes one or more files into the folder it is given, and no folders. A folder whose files differ
        from their manifest, or whose manifest differs from its own hash or is another recipe's (deleted, truncated,
        altered, swapped), is built anew. A second process waits for the first. What a killed build left is removed
        by the next of its recipe. A whole artifact is found without a lock, and in a cache that is read-only.

        Raises:
            StoreError: there is no room for it, or the cache cannot be written or locked.
            CorruptError: what was just written reads otherwise.
        """
        recipe = json.loads(_canonical(recipe))
        key = _sha256(recipe)
        home = self.home / key[:2] / key
        if (found := whole(home, key)) is not None:
            return found
        name = str(recipe.get("step", "an artifact"))
        with room.writable(self.root, name):
            home.parent.mkdir(parents=True, exist_ok=True)
            with locks.alone(home.with_suffix(".lock"), f"making {name}"):
                if (found := whole(home, key)) is not None:
                    return found
                remove(home)
                _build(home, recipe, build, parent)
                if (made := whole(home, key)) is not None:
                    return made
        msg = f"{home} changed while it was written, or is not plain files: is the disk failing?"
        raise CorruptError(msg)


def default_root() -> Path:
    """``$CLIP_BENCH_CACHE``, or the user's cache folder for clip-bench."""
    from platformdirs import user_cache_path

    named = os.environ.get("CLIP_BENCH_CACHE")
    return Path(named) if named else user_cache_path("clip-bench")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def whole(home: Path, key: str) -> Artifact | None:
    """The artifact at *home* if its manifest is that of *key*, and exactly the files that it tells are there."""
    try:
        using = locks.shared(home / MANIFEST)
    except OSError:
        return None
    found = verified(home, key)
    if found is None:
        os.close(using)
        return None
    weakref.finalize(found, os.close, using)
    with suppress(OSError):  # its time is that of the last use; a read-only cache keeps none
        os.utime(home / MANIFEST)
    return found


def verified(home: Path, key: str) -> Artifact | None:
    """The artifact at *home* as :func:`whole` finds it, without a trace of its use."""
    told = manifest(home, key)
    if told is None:
        return None
    try:
        files: dict[str, str] = told["files"]
        if any(sha256_file(home / name) != sha for name, sha in files.items()):
            return None
        return Artifact(
            path=home,
            key=key,
            sha256=_sha256(files),
            size_bytes=sum((home / name).stat().st_size for name in files),
            built_s=told["built_s"],
            recipe=told["recipe"],
            steps=tuple(Step(**step) for step in told["steps"]),
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return None


def manifest(home: Path, key: str) -> dict[str, Any] | None:
    """What the manifest at *home* tells if it is unaltered and that of *key*; the files are not read."""
    try:
        inside = {path.name: path.lstat().st_mode for path in home.iterdir()}
        if home.is_symlink() or not all(map(stat.S_ISREG, inside.values())):
            return None
        told = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.pop("sha256", "") != _sha256(told):
            return None
        if told["layout"] != LAYOUT or _sha256(told["recipe"]) != key or not isinstance(told["files"], dict):
            return None
        return told if told["files"] and inside.keys() == {MANIFEST, *told["files"]} else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remove(path: Path) -> None:
    """Remove a folder, a file or a link, never what a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _canonical(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(data: object) -> str:
    return hashlib.sha256(_canonical(data)).hexdigest()


def _build(home: Path, recipe: Mapping[str, object], build: Callable[[Path], None], parent: Artifact | None) -> None:
    """Build beside *home* and rename; the caller holds the lock, so a folder found there is a killed build's."""
    partial = home.with_suffix(".partial")
    remove(partial)
    partial.mkdir()
    try:
        name = str(recipe.get("step", "an artifact"))
        _log.info("making %s", name)
        level, began = memory.reset(), time.perf_counter()
        with room.filling(home.parents[2], partial, name):
            build(partial)
            own = Step(name=name, seconds=time.perf_counter() - began, peak_bytes=memory.growth_bytes(level))
            _write_manifest(partial, recipe, parent, own)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_manifest(folder: Path, recipe: Mapping[str, object], parent: Artifact | None, own: Step) -> None:
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    if not files:
        msg = f"the build of {recipe} wrote no file; a build must write at least one"
        raise FileNotFoundError(msg)
    body = {
        "layout": LAYOUT,
        "recipe": recipe,
        "files": files,
        "built_s": own.seconds + (parent.built_s if parent else 0.0),
        "steps": [asdict(step) for step in (*(parent.steps if parent else ()), own)],
    }
    text = json.dumps({"sha256": _sha256(body), **body}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
