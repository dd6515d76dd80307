"""What a corpus is made of: pictures in files of their own, in tar shards as webdataset has them, or in parquet files.

Who plans lists units without reading one picture; who works reads the unit that it was given, picture by picture.
"""

from __future__ import annotations

import errno
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from clip_bench import embed, files, places
from clip_bench.data import folders, parquet
from clip_bench.errors import UsageError
from clip_bench.places import Place

AT_ONCE = 16  # rows of a parquet file
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
    tarfile.TarError,
    zlib.error,
    LZMAError,
)

Row = tuple[str, bytes | str]  # a picture's name, and what its file holds or what is wrong with it


class Kind(StrEnum):
    """How the pictures of a corpus lie there."""

    FILES = "files"
    TAR = "tar"
    PARQUET = "parquet"


SUFFIXES = {
    Kind.FILES: tuple(sorted(embed.SUFFIXES)),
    Kind.TAR: (".tar", ".tar.gz", ".tgz"),
    Kind.PARQUET: (".parquet",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The pictures that become one shard: files of *names* below the folder *root*, or one file that holds many."""

    kind: Kind
    root: str
    names: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """Each picture's name and its bytes, or what is wrong with it, in order; at least one.

        Raises:
            UsageError: where it lies cannot be reached, which is no picture's fault.
            UnavailableError: what reads it is not installed.
        """
        if self.kind is Kind.FILES:
            for name in self.names:
                yield name, embed.stored(name, places.read, _below(self.root, name), folders.LARGEST)
            return
        (name,) = self.names
        found = False
        try:
            for inside, row in (_tar if self.kind is Kind.TAR else _parquet)(_below(self.root, name)):
                found = True
                yield f"{name}/{inside}", row
        except BROKEN as exc:
            yield name, f"it cannot be read{' further' if found else ''}: {_said(exc)}"
        else:
            if not found:
                yield name, "no picture in it"


def units(source: str, most: int) -> list[Unit]:
    """What *source*, a folder or a file, on this machine or by URI, is made of: a unit for *most* pictures, or for a shard.

    The pictures of a folder count where it has any, else its tar shards, else its parquet files.

    Raises:
        UsageError: nothing is there, or nothing of that.
        UnavailableError: what reads a URI is not installed.
    """
    place = places.of(source)
    if not place.is_dir():
        return [_alone(source, place)]
    names = _listed(place)
    for kind, suffixes in SUFFIXES.items():
        if fitting := [name for name in names if name.lower().endswith(suffixes)]:
            several = most if kind is Kind.FILES else 1
            return [
                Unit(kind=kind, root=_root(source, place), names=tuple(fitting[first : first + several]))
                for first in range(0, len(fitting), several)
            ]
    msg = f"{place}: none of its {len(names)} files is a picture ({', '.join(SUFFIXES[Kind.FILES])}), a tar or a parquet file"
    raise UsageError(msg)


def _alone(source: str, place: Place) -> Unit:
    """One file that holds many pictures."""
    kind = next((kind for kind in (Kind.TAR, Kind.PARQUET) if place.name.lower().endswith(SUFFIXES[kind])), None)
    if kind is None or not place.exists():
        why = "nothing is there" if kind else "neither a folder nor a tar or parquet file"
        msg = f"{place}: {why}; give pictures in a folder, or in shards"
        raise UsageError(msg)
    root = _root(source, place).rstrip("/").removesuffix(place.name)
    return Unit(kind=kind, root=root, names=(place.name,))


def _root(source: str, place: Place) -> str:
    """What a process in another folder calls *source*."""
    return str(place.absolute()) if isinstance(place, Path) else source


def _listed(folder: Place) -> Sequence[str]:
    """The files below *folder*, relative, with forward slashes, in order; hidden ones are passed over."""
    if isinstance(folder, Path):
        return files.below(folder)
    here = len(folder.path.rstrip("/")) + 1
    names = (each.path[here:] for each in folder.rglob("*"))
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def _below(root: str, name: str) -> Place:
    return places.of(root) / name


def _tar(path: Place) -> Iterator[Row]:
    """The pictures among the members, whatever else a sample has; hidden ones are passed over, as in a folder."""
    with places.opened(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as shard:
        for member in shard:
            name = PurePosixPath(member.name)  # without the ./ that tar may put before
            hidden = any(part.startswith(".") for part in name.parts)
            if name.suffix.lower() in embed.SUFFIXES and not (hidden or member.isdir()):
                yield str(name), embed.stored(str(name), _member, shard, member)


def _member(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """OSError where there is no such file in the shard, as :func:`clip_bench.files.read`."""
    if not member.isreg():
        raise OSError(errno.EINVAL, "no regular file")
    if member.size > folders.LARGEST:
        raise OSError(errno.EINVAL, f"{member.size} bytes: more than {folders.LARGEST} are not read")
    file = shard.extractfile(member)
    held = b"" if file is None else file.read()
    if len(held) != member.size:
        raise OSError(errno.EINVAL, "the shard ends in it")
    return held


def _parquet(path: Place) -> Iterator[Row]:
    """The pictures of the first column that is called as one, by the number of the row."""
    import pyarrow.parquet as pq

    number = 0
    with places.opened(path, seekable=True) as stream, pq.ParquetFile(stream) as table:
        column = parquet.called(table.schema_arrow.names, parquet.PICTURE)
        if not column:
            msg = f"columns {', '.join(table.schema_arrow.names)}; needs one of {', '.join(parquet.PICTURE)}"
            raise ValueError(msg)
        for batch in table.iter_batches(AT_ONCE, columns=[column]):
            for held in batch.column(0):
                try:
                    row: bytes | str = parquet.stored(held.as_py())
                except ValueError as exc:
                    row = str(exc)
                yield f"{number}", row
                number += 1


def _said(exc: BaseException) -> str:
    words = getattr(exc, "strerror", None) or str(exc)
    return " ".join(words.split()) or type(exc).__name__
