"""Weights: found in the user's folder, the hub's cache or the hub, verified by their hash, and loaded."""

from __future__ import annotations

import functools
import json
import logging
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_bench.errors import CorruptError, UnavailableError, UsageError
from clip_bench.models import held, hub, product, seeded, shapes_tiny
from clip_bench.plain import said
from clip_bench.specs import ModelSpec
from clip_bench.store import sha256_file

if TYPE_CHECKING:
    from open_clip import CLIP
    from torch import Tensor, nn

# What torch raises on what is no checkpoint, and what open_clip does on tensors of another model.
DAMAGE = (
    pickle.UnpicklingError, OSError, RuntimeError, EOFError, AttributeError, TypeError, ValueError, LookupError, AssertionError,
    OverflowError, MemoryError, struct.error, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


def locate(spec: ModelSpec, *, folder: Path | None, store_root: Path) -> Path:
    """The weights file of *spec*: the user's, else the one in the hub's cache, else downloaded; its hash verified.

    *folder* is a file or a folder, searched for ``NAME.safetensors``, ``NAME/FILE``, and ``FILE`` with the published
    hash, FILE being the hub's name. A hub file of no published hash is held to that of its first download.

    Raises:
        UnavailableError: the weights are not here and cannot be fetched; the message says how to get them.
        CorruptError: the bytes are not those published, or not those downloaded first.
    """
    weights = spec.weights
    if weights.kind == "random":
        msg = f"{spec.name} is generated, not read from a file"
        raise UsageError(msg)
    if (found := _local(spec, folder)) is not None:
        _verify(spec, found, weights.sha256)
        return found
    if weights.kind != "hub":
        raise UnavailableError(_how(spec))
    if (found := hub.cached(weights)) is not None:
        _verify(spec, found, weights.sha256 or hub.published(found.resolve().name))
    else:
        try:
            found, published = hub.download(weights)
        except UnavailableError as exc:
            raise UnavailableError(_how(spec, str(exc))) from exc
        if published and (actual := _sha256(found)) != published:
            found.resolve().unlink()  # or the next run would find it
            found.unlink()
            msg = (
                f"{spec.name}: the sha256 of what {weights.repo} sent begins {actual[:12]}, published is {published[:12]};"
                " it was removed: run again"
            )
            raise CorruptError(msg)
        _verify(spec, found, weights.sha256)
    held.hold(found, _sha256(found), weights, store_root)
    return found


def here(spec: ModelSpec, folder: Path | None) -> str:
    """Nothing where the weights are on this machine, else how to get them in one line; asks no network."""
    if spec.weights.kind == "random" or _local(spec, folder) is not None:
        return ""
    return "" if spec.weights.kind == "hub" and hub.cached(spec.weights) is not None else _how(spec)


def state_dict(spec: ModelSpec, path: Path) -> dict[str, Tensor]:
    """The tensors in the file at *path*, by the names in the file; shapes_tiny's token table in full.

    Raises:
        UsageError: it is neither safetensors nor a plain PyTorch state dict; nothing in a file is ever executed.
    """
    stored = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    return shapes_tiny.expand(stored) if spec.weights.kind == "embedded" else stored


def load(spec: ModelSpec, *, folder: Path | None, store_root: Path) -> tuple[nn.Module, str]:
    """The open_clip model of *spec* in eval mode, FP32, on the CPU, and the sha256 of its weights.

    That is the hash of the weights file, or for ``random`` of the generated values (:func:`seeded.digest`).

    Raises:
        UnavailableError: as :func:`locate`.
        CorruptError: as :func:`locate`, or this platform generates other values than those in the catalog.
        UsageError: the file's tensors are not those of the architecture.
    """
    if spec.weights.kind == "random":
        model = architecture(spec)
        state = seeded.weights(model.state_dict())
        sha256 = seeded.digest(state)
        if spec.weights.sha256 not in {"", sha256}:
            msg = (
                f"{spec.name}: this platform generates other bytes ({sha256}); are open_clip and timm the locked ones?"
            )
            raise CorruptError(msg)
    else:
        path = locate(spec, folder=folder, store_root=store_root)
        sha256 = _sha256(path)
        state = state_dict(spec, path)
        model = architecture(spec)
        try:
            state = _converted(model, state)
        except DAMAGE as exc:
            msg = f"{path}: these are not weights of {spec.architecture}: {said(exc)}; give a checkpoint of it"
            raise UsageError(msg) from exc
    _fill(spec, model, state)
    return model.eval(), sha256


def config(spec: ModelSpec) -> Mapping[str, Any] | None:
    """open_clip's description of the architecture of *spec*, read from its files; None where it has none."""
    if spec.weights.kind == "embedded":
        return shapes_tiny.CONFIG
    package = find_spec("open_clip")  # its import takes seconds
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "model_configs", f"{spec.architecture.replace('/', '-')}.json")
        if path.is_file():
            found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return None


def architecture(spec: ModelSpec) -> nn.Module:
    """The model of *spec* with whatever weights its constructor gives it; downloads nothing and logs nothing."""
    if spec.architecture.startswith(product.PREFIX):
        return product.architecture(spec.architecture)
    import open_clip

    with _silent():
        model: nn.Module = (
            shapes_tiny.architecture()
            if spec.weights.kind == "embedded"
            else open_clip.create_model(spec.architecture, pretrained=None, pretrained_text=False)
        )
    return model


def _local(spec: ModelSpec, folder: Path | None) -> Path | None:
    """The file that the package or the user holds for *spec*."""
    weights = spec.weights
    if weights.kind != "hub":
        own = shapes_tiny.WEIGHTS if weights.kind == "embedded" else Path(weights.file)
        return own if own.is_file() else None
    if folder is None:
        return None
    home = folder.parent if folder.is_file() else folder
    names = [f"{spec.name}{Path(file).suffix}" for file in hub.files(weights)]
    names += [f"{spec.name}/{file}" for file in hub.files(weights)]
    bare = home / weights.file  # every model's file has this name at the hub: only its hash tells whose it is
    if weights.sha256 and bare.is_file() and _sha256(bare) == weights.sha256:
        names.append(weights.file)
    found = (home / name for name in names if (home / name).is_file())
    return next((path for path in found if folder in {home, path}), None)


def _how(spec: ModelSpec, reason: str = "") -> str:
    """One line: what is missing, why, and how to get it."""
    weights = spec.weights
    if weights.kind == "embedded":
        return f"{spec.name}: {shapes_tiny.WEIGHTS.name} is missing from this installation; install clip-bench again"
    if weights.kind == "file":
        return f"{spec.name}: there is no file {weights.file}"
    at = "" if weights.revision == "main" else f" --revision {weights.revision}"
    because = f" ({reason})" if reason else ""
    return (
        f"{spec.name}: its weights are not on this machine{because}: run `hf download {weights.repo} {weights.file}{at}`"
        f" where the hub can be reached, or save that file as FOLDER/{spec.name}.safetensors and pass --weights FOLDER"
    )


def _verify(spec: ModelSpec, path: Path, sha256: str) -> None:
    """Refuse the file at *path* unless its hash is *sha256*, where there is one."""
    if sha256 and (actual := _sha256(path)) != sha256:
        msg = (
            f"{path.resolve()} is damaged or not {spec.name}: its sha256 begins {actual[:12]}, published is {sha256[:12]};"
            f" delete it and run again, or name it as {spec.architecture}:PATH if it is meant"
        )
        raise CorruptError(msg)


def _sha256(path: Path) -> str:
    """The file's hash, read once per process unless it changes."""
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@functools.cache
def _hashed(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  part of the key
    return sha256_file(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, *DAMAGE) as exc:
        msg = f"{path} is not a safetensors file: {said(exc)}; get it anew"
        raise UsageError(msg) from exc


def _pickled(path: Path) -> dict[str, Tensor]:
    """A plain state dict, bare or as open_clip's trainer saves it."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a TorchScript archive, which is refused next
            stored = torch.load(path, map_location="cpu", weights_only=True)
        stored = stored.get("state_dict", stored)
        return {name.removeprefix("module."): torch.as_tensor(value) for name, value in stored.items()}
    except DAMAGE as exc:
        msg = f"{path} is not a plain state dict (a TorchScript archive, or code?): convert it to safetensors"
        raise UsageError(msg) from exc


def _converted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """*state* by open_clip's names, as its load_checkpoint does, but never resizing a table of positions."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    scalars = {"logit_scale", "logit_bias"} & set(state) & set(own)  # stored with one dimension or none
    state |= {name: state[name].reshape(own[name].shape) for name in scalars}
    stale = {"input_resolution", "context_length", "vocab_size", "text.transformer.embeddings.position_ids"} - set(own)
    return {name: value for name, value in state.items() if name not in stale}


def _fill(spec: ModelSpec, model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load *state* into *model* if names and shapes are the same."""
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    if wrong := sorted(name for name in own | given if own.get(name) != given.get(name)):
        shown = ", ".join(f"{name} is {given.get(name, 'missing')}, not {own.get(name, 'known')}" for name in wrong[:3])
        msg = f"{spec.name}: these are not weights of {spec.architecture}: {len(wrong)} tensors differ: {shown}"
        raise UsageError(msg)
    kinds = {name: value.is_floating_point() for name, value in model.state_dict().items()}
    if wrong := [name for name, value in state.items() if kinds[name] and not value.is_floating_point()]:
        msg = (
            f"{spec.name}: {wrong[0]} is {state[wrong[0]].dtype}, not a floating-point number: give weights as trained"
        )
        raise UsageError(msg)
    if wrong := [name for name, value in state.items() if kinds[name] and not value.float().sum().isfinite()]:
        msg = f"{spec.name}: {wrong[0]} holds what is no finite number: get the checkpoint anew"
        raise UsageError(msg)
    model.load_state_dict(state)


@contextmanager
def _silent() -> Iterator[None]:
    """open_clip warns on the root logger that weights are random, which they are only until we fill them in."""
    root, before = logging.getLogger(), logging.root.manager.disable
    handler = logging.NullHandler()  # or logging.info() would install a real one
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model's weights, found and loaded when asked for; *folder* and *store_root* as in :func:`locate`."""

    spec: ModelSpec
    folder: Path | None
    store_root: Path

    def sha256(self) -> str:
        """The hash of the weights, without loading them where it is known."""
        spec = self.spec
        if spec.weights.kind == "random" and spec.weights.sha256:
            return spec.weights.sha256
        if spec.weights.kind == "random":
            return _loaded(self)[1]
        return _sha256(locate(spec, folder=self.folder, store_root=self.store_root))

    def model(self) -> CLIP:
        """The open_clip model, FP32, on the CPU; the last one asked for stays in memory."""
        return _loaded(self)[0]


@functools.lru_cache(maxsize=1)
def _loaded(source: Source) -> tuple[CLIP, str]:
    return load(source.spec, folder=source.folder, store_root=source.store_root)
