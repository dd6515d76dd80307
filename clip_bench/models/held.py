"""The hashes that files of the hub had when they were first downloaded, for those of which none is published."""

from __future__ import annotations

import json
from pathlib import Path

from clip_bench import files, locks, room
from clip_bench.errors import CorruptError
from clip_bench.specs import Weights

HASHES = "weights.json"  # under the store's root


def hold(path: Path, actual: str, weights: Weights, root: Path) -> None:
    """Record that the hub file at *path* has the sha256 *actual* when it is first seen; refuse another from then on.

    Raises:
        CorruptError: it has another hash than it first had, or the record is damaged.
        StoreError: a hash has to be recorded, and *root* cannot be written.
    """
    key = f"{weights.repo}/{path.name}@{weights.revision}"
    book = root / HASHES
    if (first := _held(book).get(key)) is None:
        with room.writable(root, f"hash of {path.name}"):
            first = _note(book, key, actual)
    if first != actual:
        msg = (
            f"{path.resolve()} has changed since it was first downloaded: its sha256 began {first[:12]} and now begins"
            f" {actual[:12]}; delete it to fetch it again, or its line in {book} to accept it"
        )
        raise CorruptError(msg)


def _note(book: Path, key: str, sha256: str) -> str:
    """The hash that *book* has for *key*, which is *sha256* if it has none yet."""
    book.parent.mkdir(parents=True, exist_ok=True)
    with locks.alone(book.with_name(f"{HASHES}.lock"), f"noting {key}"):
        held = _held(book)
        if key not in held:
            with files.whole(book) as partial:
                partial.write_text(json.dumps({**held, key: sha256}, indent=1, sort_keys=True), encoding="utf-8")
        return held.get(key, sha256)


def _held(book: Path) -> dict[str, str]:
    """The hashes in *book*; none where it is not there.

    Raises:
        CorruptError: it is damaged. Starting another in silence would believe any file.
    """
    try:
        held = json.loads(book.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        held = None
    if not isinstance(held, dict) or not all(isinstance(sha256, str) for sha256 in held.values()):
        msg = f"{book}, which holds the hashes of downloaded weights, cannot be read: delete it to record them anew"
        raise CorruptError(msg)
    return held
