"""clip-bench preprocess: what ways of preprocessing take, and what they change."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.commands import tell

if TYPE_CHECKING:
    from clip_bench.preprocess.measure import Measured, Row
    from clip_bench.specs import ModelSpec

HELP = "ways from a picture to what a model takes: their time, and what they change"
COLUMNS = ("TRANSFORMS", "TIME (ms)", "RATIO", "PROCESSED DIFF (mean)", "ENCODE DIFF (mean)", "COSINE")


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure and each round's seconds")


def run(options: argparse.Namespace) -> int:
    """Measure, and print; the exit status is 1 where nothing could be measured."""
    from dataclasses import replace

    from clip_bench.data import captions
    from clip_bench.errors import UsageError
    from clip_bench.models import catalog, weights
    from clip_bench.preprocess import VARIANTS, embed, find, measure
    from clip_bench.store import default_root

    if options.rounds < 2:  # noqa: PLR2004  a spread
        msg = f"--rounds {options.rounds}: a spread needs at least 2"
        raise UsageError(msg)
    names = options.variant or list(VARIANTS)
    for name in names:
        find(name)
    told = captions.parse(options.captions)[0] if options.captions else {}
    found = {str(path): _stored(path) for path in options.paths}
    spec = catalog.find(options.model)
    source = weights.Source(spec=spec, folder=options.weights, store_root=default_root())
    pictures, texts = embed.towers_of(source)
    tell([_about(spec, options.rounds), ""])
    results = {}
    for path, (stored, unread) in found.items():
        measured = measure.measure(
            stored, spec, pictures, rounds=options.rounds, names=names, captions=embed.captions(told, source, texts)
        )
        results[path] = replace(measured, skipped={**unread, **measured.skipped})
        tell(_page(path, results[path]))
    if options.json:
        _write(options.json, spec, options.rounds, results)
    return int(not any(each.rows for each in results.values()))


def _about(spec: ModelSpec, rounds: int) -> str:
    trained = (
        "" if spec.trained else " Its weights are random: figures of embeddings show no accuracy, nor does recall."
    )
    return (
        f"Model {spec.name}. Each variant's time is per picture on one core, mean ± standard deviation of {rounds} "
        f"rounds in which all variants take turns; RATIO is the median of each round's.{trained}"
    )


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
        inside = {below.relative_to(path): below for below in sorted(path.rglob("*")) if below.is_file()}
        shown = (name for name in inside if not any(part.startswith(".") for part in name.parts))
        files = {name.as_posix(): inside[name] for name in shown}
    stored, unread = {}, {} if files else {path.name: "an empty folder"}
    for name, file in files.items():
        try:
            stored[name] = folders.stored(file)
        except OSError as exc:
            unread[name] = exc.strerror or str(exc)
    return stored, unread


def _page(path: str, result: Measured) -> Iterator[str]:
    from tabulate import tabulate

    count = len(result.pictures)
    yield f"## {Path(path).name}" + (f" ({count} pictures)" if count > 1 else "")
    yield ""
    if result.rows:
        reference = result.rows[0]
        columns = [*COLUMNS]
        columns += ["Δ R@1 caption to picture"] if reference.recall is not None else []
        columns += ["Δ top-1 picture to picture"] if reference.same is not None else []
        rows = [_cells(row, reference) for row in result.rows]
        yield tabulate(rows, headers=[*columns, "Comments"], tablefmt="pipe", disable_numparse=True)
        yield ""
    if result.rows and result.rows[0].recall is not None:
        yield f"R@1 caption to picture of the reference: {result.rows[0].recall:.1%}"
    yield from (f"left out: {name}: {why}" for name, why in result.missing.items())
    yield from (f"skipped: {name}: {why}" for name, why in result.skipped.items())
    yield ""


def _cells(row: Row, reference: Row) -> list[str]:
    import numpy as np

    from clip_bench.preprocess import VARIANTS

    times = 1e3 * np.array(row.rounds_s)
    cells = [
        row.name,
        f"{times.mean():.2f} ± {times.std(ddof=1):.2f}",
        f"{row.ratio:.2f}",
        f"{row.processed_diff:.2g}",
        f"{row.encode_diff:.2g}",
        f"{row.cosine:.6f}",
    ]
    if row.recall is not None and reference.recall is not None:
        cells.append(f"{100 * (row.recall - reference.recall):+.1f} %")
    if row.same is not None and reference.same is not None:
        cells.append(f"{100 * (row.same - reference.same):+.1f} %")
    return [*cells, VARIANTS[row.name].differs]


def _write(path: Path, spec: ModelSpec, rounds: int, results: dict[str, Measured]) -> None:
    from dataclasses import asdict
    from importlib.metadata import PackageNotFoundError, version

    from clip_bench.errors import UsageError

    versions = {}
    for package in (
        "pillow",
        "kornia-rs",
        "opencv-python-headless",
        "torch",
        "torchvision",
        "open-clip-torch",
        "numpy",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    told = {
        "model": spec.name,
        "random_weights": not spec.trained,
        "rounds": rounds,
        "versions": versions,
        "results": [{"path": Path(name).name, **asdict(result)} for name, result in results.items()],
    }
    try:
        path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as exc:
        msg = f"--json {path}: {exc.strerror}; name a file that can be written"
        raise UsageError(msg) from exc
