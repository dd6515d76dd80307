"""clip-bench preprocess: what ways of preprocessing take, and what they change."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench.commands import choosing, tell

HELP = "ways from a picture to what a model takes: their time, and what they change"
PACKAGES = ("pillow", "kornia-rs", "opencv-python-headless", "torch", "torchvision", "open-clip-torch", "numpy")


def add(parser: argparse.ArgumentParser) -> None:
    """Pictures, the model, and how long."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help="a table for each")
    parser.add_argument("--model", default="vit_b_32_random", metavar="NAME", help="(default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="file or folder of the model's weights")
    parser.add_argument("--captions", type=Path, metavar="FILE", help="JSON or CSV: R@1 from caption to picture")
    parser.add_argument(
        "--variant", action="append", metavar="NAME", help="may be repeated; the reference is added (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="timed turns (default: %(default)s)")
    choosing.add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, and print; the exit status is 1 where nothing could be measured."""
    from dataclasses import replace

    from clip_bench.data import captions
    from clip_bench.errors import UsageError
    from clip_bench.finding import Preprocessing
    from clip_bench.models import catalog, weights
    from clip_bench.preprocess import VARIANTS, encode, find, measure
    from clip_bench.report.preprocessing import page
    from clip_bench.store import default_root

    if options.rounds < 2:  # noqa: PLR2004  a spread
        msg = f"--rounds {options.rounds}: a spread needs at least 2"
        raise UsageError(msg)
    names = options.variant or list(VARIANTS)
    for name in names:
        find(name)
    captioned = captions.parse(options.captions)[0] if options.captions else {}
    choosing.writable("--json", options.json)
    found = {str(path): _stored(path) for path in options.paths}
    spec = catalog.find(options.model)
    source = weights.Source(spec=spec, folder=options.weights, store_root=default_root())
    pictures, texts = encode.towers_of(source)
    sets = []
    for path, (stored, unread) in found.items():
        measured = measure.measure(
            stored,
            spec,
            pictures,
            name=Path(path).name,
            rounds=options.rounds,
            names=names,
            captions=encode.captions(captioned, source, texts),
        )
        sets.append(replace(measured, skipped={**unread, **measured.skipped}))
    told = Preprocessing(
        model=spec.name,
        random_weights=not spec.trained,
        rounds=options.rounds,
        versions=_versions(),
        sets=tuple(sets),
    )
    tell(page(told).splitlines())
    choosing.keep(options, told, 1)
    return int(not any(each.rows for each in sets))


def _stored(path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """The bytes of a file, or of every file under a folder that is not hidden, by name; and why others are not read.

    Raises:
        UsageError: there is no such file or folder.
    """
    from clip_bench.data import folders
    from clip_bench.errors import UsageError

    if not path.is_dir() and not path.is_file():
        msg = f"{path}: no such file or folder; give pictures, or folders of them"
        raise UsageError(msg)
    files = {path.name: path}
    if path.is_dir():
        inside = {below.relative_to(path): below for below in sorted(path.rglob("*")) if not below.is_dir()}
        shown = (name for name in inside if not any(part.startswith(".") for part in name.parts))
        files = {name.as_posix(): inside[name] for name in shown}
    stored, unread = {}, {} if files else {path.name: "an empty folder"}
    for name, file in files.items():
        try:
            stored[name] = folders.stored(file)
        except OSError as exc:
            unread[name] = exc.strerror or str(exc)
    return stored, unread


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    return versions
