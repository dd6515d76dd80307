"""Token inputs as files: an npz for each text, named after it, as VastStreamX's samples keep them."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import files
from clip_bench.answers.encoders import Tokens
from clip_bench.errors import UsageError
from clip_bench.specs import ModelSpec

UNSAFE = re.compile(r"[^\w ,.()'+-]")
TOGETHER = 1000  # texts that are tokenized at once
LARGEST = 1 << 20  # bytes of an npz, packed and unpacked: a hundred times what tokens and a long text take
# What numpy and zipfile raise on a damaged file: RuntimeError asks for a password, or knows no such compression.
DAMAGE = (
    OSError, ValueError, TypeError, LookupError, EOFError, AttributeError, RuntimeError, OverflowError, SyntaxError, struct.error,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError,
)  # fmt: skip
LONGEST = 100  # characters of a text that stand in a file's name


def save(spec: ModelSpec, texts: Sequence[str], encode: Tokens, folder: Path) -> Iterable[Path]:
    """Write the tokens of each of *texts* for *spec* to *folder*, and yield each file.

    An npz holds ``tokens`` (1, context) int64, ``text``, and the ``model`` they are for.

    Raises:
        UsageError: the folder cannot be written.
    """
    distinct = list(dict.fromkeys(texts))
    names = _names(distinct)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(distinct), TOGETHER):
            part = distinct[start : start + TOGETHER]
            for text, row in zip(part, encode(part), strict=True):
                path = folder / names[text]
                np.savez(path, tokens=row[np.newaxis], text=np.array(text), model=np.array(spec.name))
                yield path
    except OSError as exc:
        msg = f"{folder}: {exc.strerror or exc}; name a folder that can be written"
        raise UsageError(msg) from exc


def reader(spec: ModelSpec, folder: Path) -> Tokens:
    """What :func:`save` wrote to *folder* for *spec*, in the place of its tokenizer.

    Raises:
        UsageError: the folder has no npz, or one that is not for this model; when asked, a text that it lacks.
    """
    found = _read(spec, folder)

    def encode(texts: Sequence[str]) -> NDArray[np.int64]:
        if missing := [text for text in texts if text not in found]:
            msg = (
                f"--tokens {folder}: nothing for {missing[0]!r}{f' and {len(missing) - 1} more' if missing[1:] else ''}; "
                f"make them: clip-bench tokens --model {spec.name} -o {folder}"
            )
            raise UsageError(msg)
        return np.stack([found[text] for text in texts])

    return encode


def _names(texts: Sequence[str]) -> Mapping[str, str]:
    """A file name for each text: itself where every file system takes it and tells it apart, else with its hash."""
    plain = {text: UNSAFE.sub("_", text)[:LONGEST].strip(" .") for text in texts}
    folded = [name.casefold() for name in plain.values()]
    return {
        text: f"{name}.npz"
        if name == text and folded.count(name.casefold()) == 1
        else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.npz"
        for text, name in plain.items()
    }


def _check(stored: Any) -> None:  # noqa: ANN401  numpy tells no type of what an npz opens as
    """ValueError where what np.load made is no archive, or one that unpacks to more than :data:`LARGEST` bytes."""
    archive = stored.zip if isinstance(stored, np.lib.npyio.NpzFile) else None
    if archive is None or sum(each.file_size for each in archive.infolist()) > LARGEST:
        msg = f"no npz, or one of more than {LARGEST} bytes"
        raise ValueError(msg)


def _read(spec: ModelSpec, folder: Path) -> dict[str, NDArray[np.int64]]:
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        msg = f"--tokens {folder}: no npz in it; make them: clip-bench tokens --model {spec.name} -o {folder}"
        raise UsageError(msg)
    found = {}
    for path in paths:
        try:
            with np.load(io.BytesIO(files.read(path, LARGEST)), allow_pickle=False) as stored:
                _check(stored)
                tokens, text, model = stored["tokens"], str(stored["text"]), str(stored["model"])
        except DAMAGE as exc:
            msg = f"{path}: no npz with tokens, text and model; make it anew with clip-bench tokens"
            raise UsageError(msg) from exc
        if model != spec.name or tokens.shape != (1, spec.context) or not np.issubdtype(tokens.dtype, np.integer):
            msg = f"{path}: {tokens.dtype} {tokens.shape} for {model}, not tokens (1, {spec.context}) for {spec.name}"
            raise UsageError(msg)
        found[text] = tokens[0].astype(np.int64)
    return found
