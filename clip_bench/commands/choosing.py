"""What the commands that answer have in common: which cell, and where its weights are."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_bench.commands import add_flags
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.answers.cases import Chosen
    from clip_bench.backends import Backend
    from clip_bench.settings import Settings

FLAGS = frozenset({"--model", "--weights", "--threads", "--option", "--tpu-mlir-python"})
DATA = frozenset({"--data", "--data-root", "--samples"})


def add(parser: argparse.ArgumentParser, flags: Collection[str] = FLAGS) -> None:
    """The cell, and those of a run's options that *flags* name."""
    from clip_bench.settings import OPTIONS
    from clip_bench.specs import Precision

    parser.add_argument(
        "--case",
        default="",
        metavar="ID",
        help="the cell that answers, by its id or words of it, such as openvino-cpu-int8_nncf "
        "(default: shapes_tiny in PyTorch FP32 on the CPU)",
    )
    parser.add_argument("--target", default="", metavar="TARGET", help="a whole target, such as onnxruntime-cpu")
    parser.add_argument("--precision", default="", choices=tuple(map(str, Precision)))
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default: %(default)s)")
    add_flags(parser, [(flag, attributes) for flag, attributes in OPTIONS if flag in flags])


def settings_of(options: argparse.Namespace) -> Settings:
    """The checked settings, with a run's defaults for what the command does not take."""
    from clip_bench import settings

    defaults: Mapping[str, Any] = {
        flag.removeprefix("--").replace("-", "_"): attributes.get("default", False if "action" in attributes else None)
        for flag, attributes in settings.OPTIONS
    }
    return settings.checked({**defaults, **vars(options), "batch": [str(getattr(options, "batch", 1))]})


def chosen(options: argparse.Namespace) -> tuple[Chosen, Settings, Mapping[str, Backend]]:
    """The cells, the settings and the backends that *options* name.

    Raises:
        UsageError: an option is not usable, or names no one cell.
        UnavailableError: this machine lacks what the cell takes.
    """
    from clip_bench import backends
    from clip_bench.answers import cases

    settings, found = settings_of(options), backends.discover()
    return cases.choose(settings, found, options.case, options.target, options.precision), settings, found


def writable(flag: str, path: Path | None) -> None:
    """Say at once, not after the work, that the file of *flag* has no folder to lie in.

    Raises:
        UsageError: its folder does not exist, or it is one itself.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        msg = f"{flag} {path}: {'a folder' if path.is_dir() else 'its folder does not exist'}; name a file"
        raise UsageError(msg)
