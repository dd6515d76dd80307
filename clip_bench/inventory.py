"""What a cache folder holds, and what of it can go: nothing that a process uses or builds."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from clip_bench import locks, store
from clip_bench.errors import StoreError
from clip_bench.specs import Precision

KEY = re.compile(r"[0-9a-f]{64}")
SHELF = re.compile(r"[0-9a-f]{2}")  # a folder of artifacts, by how their keys begin; in the root: of the first layout
PARTIAL, LOCK = ".partial", ".lock"
ANCESTORS = ("parent", "parents", "reference")  # what a recipe calls the keys of what it is made from
FLOATS = {"float32": Precision.FP32, "float16": Precision.FP16, "bfloat16": Precision.BF16}
DAY_S = 86400.0

Recipe = Mapping[str, object]


class State(StrEnum):
    """What an item is good for."""

    WHOLE = "whole"
    BROKEN = "broken"
    UNFINISHED = "unfinished"
    EARLIER = "of an earlier layout"
    OTHER = "not the store's"


SPENT = (State.BROKEN, State.UNFINISHED, State.EARLIER)  # no run reads these again


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A folder of a cache, or a file in its root; ``used_s`` is when it was last used, in seconds of the epoch."""

    path: Path
    state: State
    size_bytes: int
    used_s: float
    step: str = ""
    model: str = ""
    precision: str = ""


def items(root: Path) -> list[Item]:
    """All that *root* holds: artifacts by their manifests, without reading their files, and whatever else there is."""
    home = store.Store(root).home
    shelves = [shelf for shelf in _inside(home) if SHELF.fullmatch(shelf.name) and not shelf.is_symlink()]
    stored = [path for shelf in shelves for path in _inside(shelf) if path.suffix != LOCK]
    told = {path.name: store.manifest(path, path.name) for path in stored if KEY.fullmatch(path.name)}
    recipes: dict[str, Recipe] = {key: manifest["recipe"] for key, manifest in told.items() if manifest is not None}
    found = [_stored(path, recipes) for path in stored]
    for path in _inside(root):
        if path != home and path.suffix != LOCK:
            earlier = (
                SHELF.fullmatch(path.stem) and path.suffix in {"", PARTIAL} and path.is_dir() and not path.is_symlink()
            )
            found.append(_item(path, State.EARLIER if earlier else State.OTHER))
    return found


def searched(found: Iterable[Item]) -> Iterator[Item]:
    """*found*, an artifact whose files differ from their hashes being broken: this reads every file."""
    for item in found:
        damaged = item.state is State.WHOLE and store.verified(item.path, item.path.name) is None
        yield replace(item, state=State.BROKEN) if damaged else item


def older(found: Sequence[Item], days: float) -> list[Item]:
    """What was not used for *days*, and what is spent."""
    return [item for item in ours(found) if item.state in SPENT or item.used_s < time.time() - days * DAY_S]


def beyond(found: Sequence[Item], size_bytes: float) -> list[Item]:
    """What is spent, and of the rest what has to go, the longest unused first, to leave no more than *size_bytes*."""
    kept, gone = 0, []
    for item in sorted(ours(found), key=lambda each: (each.state in SPENT, -each.used_s)):
        kept += item.size_bytes
        if item.state in SPENT or kept > size_bytes:
            gone.append(item)
    return gone


def ours(found: Iterable[Item]) -> list[Item]:
    """What the store made."""
    return [item for item in found if item.state is not State.OTHER]


def remove(item: Item) -> bool:
    """Remove *item*, unless a process uses or builds it, or has used it since it was found; whether it is gone.

    It is moved away before it is removed: a reader finds all of it, or nothing.

    Raises:
        StoreError: the cache cannot be written or locked.
    """
    try:
        with ExitStack() as stack:
            held = _locks(item)
            if not all(stack.enter_context(locks.at_once(path)) for path in held):
                return False
            if not stack.enter_context(locks.unused(item.path / store.MANIFEST)) or _used_s(item.path) > item.used_s:
                return False
            aside = item.path.with_suffix(PARTIAL)
            if aside != item.path:
                store.remove(aside)
                item.path.rename(aside)
            store.remove(aside)
            for path in held:
                with suppress(OSError):  # it went with its folder; Windows, which keeps what is open
                    path.unlink()
    except OSError as exc:
        msg = f"{item.path} cannot be removed ({exc.strerror}): prune the cache as a user, and where, it can be written"
        raise StoreError(msg) from exc
    return True


def _locks(item: Item) -> list[Path]:
    """The lock files of all builds in *item*."""
    return sorted(item.path.glob(f"*{LOCK}")) if item.state is State.EARLIER else [item.path.with_suffix(LOCK)]


def _stored(path: Path, recipes: Mapping[str, Recipe]) -> Item:
    if path.name in recipes:
        line = list(_line(path.name, recipes))
        item = _item(path, State.WHOLE)
        step = str(line[0].get("step", ""))
        return replace(item, step=step, model=_first(map(_model, line)), precision=_first(map(_precision, line)))
    if KEY.fullmatch(path.stem) and path.suffix in {"", PARTIAL}:
        return _item(path, State.UNFINISHED if path.suffix else State.BROKEN)
    return _item(path, State.OTHER)


def _line(key: str, recipes: Mapping[str, Recipe]) -> Iterator[Recipe]:
    """The recipe of *key*, that of what it is made from, and so on."""
    recipe: Recipe | None = recipes.get(key)
    while recipe is not None:
        yield recipe
        named = next((recipe[name] for name in ANCESTORS if name in recipe), "")
        named = named[0] if isinstance(named, list) and named else named
        recipe = recipes.get(named) if isinstance(named, str) else None  # a key is a hash of its recipe: no circles


def _model(recipe: Recipe) -> str:
    return str(recipe.get("architecture", recipe.get("model", "")))


def _precision(recipe: Recipe) -> str:
    """What the step's name, or a field of the recipe, tells."""
    words = (str(recipe.get(name, "")) for name in ("precision", "dtype", "weights"))
    told = [FLOATS.get(word, word) for word in words]
    step = str(recipe.get("step", ""))
    named = [each for each in Precision if step == each or step.endswith(f"_{each}")]
    return _first([*named, *(word for word in told if word in set(Precision))])


def _first(words: Iterable[str]) -> str:
    return next(filter(None, words), "")


def _item(path: Path, state: State) -> Item:
    files = (
        [each for each in path.rglob("*") if not each.is_dir()] if path.is_dir() and not path.is_symlink() else [path]
    )
    return Item(path=path, state=state, size_bytes=sum(map(_size, files)), used_s=_used_s(path))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # gone since
        return 0


def _used_s(path: Path) -> float:
    """When *path* was last used: the time of its manifest, else its own."""
    for each in (path / store.MANIFEST, path):
        with suppress(OSError):
            return each.lstat().st_mtime
    return 0.0


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        msg = f"{folder} cannot be read ({exc.strerror}): set CLIP_BENCH_CACHE to a folder of yours"
        raise StoreError(msg) from exc
