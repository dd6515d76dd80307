"""What retrieval and index have in common: both towers of each case, the user's data, and files to write."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.commands import add_flags, choosing
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.settings import Settings
    from clip_bench.specs import Case

FLAGS = frozenset({"--data", "--data-root", "--weights", "--threads", "--calibration", "--option", "--tpu-mlir-python"})
CASE = "image-shapes_tiny-torch-cpu-fp32"


def add(parser: argparse.ArgumentParser) -> None:
    """Cells, and those of a run's options that matter to them."""
    from clip_bench.settings import OPTIONS

    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="CELL",
        help="as clip-bench list calls its image cell, whose text cell goes with it; may be repeated "
        f"(default: {CASE})",
    )
    add_flags(parser, [(flag, attributes) for flag, attributes in OPTIONS if flag in FLAGS])


def settings_of(options: argparse.Namespace) -> tuple[Settings, Settings]:
    """What the cells are made with, which is not the user's data; and the same with them.

    A cell that is calibrated is so on generated scenes, which are never among what is measured.
    """
    given = choosing.settings_of(argparse.Namespace(**vars(options), batch=1))
    return replace(given, data=None, data_kind="", data_root=None), given


def chosen(names: Sequence[str], settings: Settings) -> list[tuple[Case, Case]]:
    """The image cell and the text cell of each of *names*, of one model, target and precision.

    Raises:
        UsageError: it is no image cell, there is none, or it answers only what it was asked before.
        UnavailableError: this machine cannot run one of them.
    """
    return [_both(name, settings) for name in dict.fromkeys(names or [CASE])]


def _both(name: str, settings: Settings) -> tuple[Case, Case]:
    from clip_bench import backends, encoder
    from clip_bench.backends import format_of
    from clip_bench.specs import Format, Tower

    case = encoder.choose(name, settings)
    if case.tower is not Tower.IMAGE:
        msg = f"{case.id} takes no pictures alone: choose a cell that begins with image-"
        raise UsageError(msg)
    if format_of(backends.discover()[case.target.backend], case.target) is Format.REPLAY:
        msg = f"{case.id} answers only what it was asked before: choose another target"
        raise UsageError(msg)
    return case, encoder.choose(replace(case, tower=Tower.TEXT).id, settings)


def titled(case: Case) -> str:
    """A case as a row's name: all but its tower, and whether it has learnt anything."""
    return case.id.partition("-")[2] + ("" if case.model.trained else " (random weights)")


def write(flag: str, path: Path, text: str) -> None:
    """*text* into the file that *flag* names.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as exc:
        msg = f"{flag} {path}: {exc.strerror or exc}; name a file in a folder that can be written"
        raise UsageError(msg) from exc
