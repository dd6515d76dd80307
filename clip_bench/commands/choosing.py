"""What the commands that put cells to use have in common: which, where their weights are, and files to write."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_bench.commands import add_flags
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.cases import Chosen
    from clip_bench.finding import Told
    from clip_bench.settings import Settings

FLAGS = frozenset({"--model", "--weights", "--threads", "--calibration", "--option", "--tpu-mlir-python"})
DATA = frozenset({"--data", "--data-root", "--samples"})


def add(
    parser: argparse.ArgumentParser, flags: Collection[str] = FLAGS, *, batch: int = 0, several: bool = False
) -> None:
    """The cell, or *several* to compare, samples of a call if there is a default, and a run's options *flags*."""
    from clip_bench.options import OPTIONS
    from clip_bench.specs import Precision

    many: dict[str, Any] = {"action": "append", "default": []} if several else {"default": ""}
    parser.add_argument(
        "--case",
        **many,
        metavar="ID",
        help="the cell, by its id or words of it, such as openvino-cpu-int8_nncf"
        f"{'; may be repeated' if several else ''} (default: shapes_tiny in PyTorch FP32 on the CPU)",
    )
    parser.add_argument("--target", default="", metavar="TARGET", help="a whole target, such as onnxruntime-cpu")
    parser.add_argument("--precision", default="", choices=tuple(map(str, Precision)))
    if batch:
        parser.add_argument(
            "--batch", type=int, default=batch, metavar="N", help="samples per call (default: %(default)s)"
        )
    add_flags(parser, [(flag, attributes) for flag, attributes in OPTIONS if flag in flags])


def settings_of(options: argparse.Namespace) -> Settings:
    """The checked settings, with a run's defaults for what the command does not take.

    Raises:
        UsageError: an option is not usable.
    """
    from clip_bench import settings

    batch = [str(getattr(options, "batch", 1))]
    return settings.checked({**settings.defaults(), **vars(options), "batch": batch})


def apart(settings: Settings) -> Settings:
    """*settings* without the user's data: a cell that is calibrated is so on scenes, never on what it is measured by."""
    return replace(settings, data=None, data_kind="", data_root=None)


def chosen(options: argparse.Namespace, settings: Settings, *, here: bool = True) -> list[Chosen]:
    """The cells that *options* name, each but once, to run *here* or on other machines.

    Raises:
        UsageError: an option names no one cell.
        UnavailableError: this machine lacks what a cell takes.
    """
    from clip_bench import backends, cases

    found = backends.discover()
    words = [options.case] if isinstance(options.case, str) else options.case or [""]
    each = (cases.choose(settings, found, word, options.target, options.precision, here=here) for word in words)
    return list(dict.fromkeys(each))


def alone(several: Sequence[Chosen]) -> None:
    """Refuse cells that take a picture with its texts.

    Raises:
        UsageError: one does.
    """
    from clip_bench.specs import Tower

    for each in several:
        if each.image.tower is Tower.PAIR:
            msg = f"{each.image.id} takes a picture with its texts: choose a cell of the towers alone"
            raise UsageError(msg)


def writable(flag: str, path: Path | None) -> None:
    """Say at once, not after the work, that the file of *flag* has no folder to lie in.

    Raises:
        UsageError: its folder does not exist, or it is one itself.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        msg = f"{flag} {path}: {'a folder' if path.is_dir() else 'its folder does not exist'}; name a file"
        raise UsageError(msg)


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


def add_files(parser: argparse.ArgumentParser) -> None:
    """Where a finding is written to."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure, for clip-bench report")
    parser.add_argument(
        "--reports", type=Path, metavar="DIR", help="write the same to DIR/<machine>/, where clip-bench report looks"
    )


def keep(options: argparse.Namespace, told: Told, threads: int) -> None:
    """*told* into the files of ``--json`` and ``--reports``, measured with *threads* threads.

    Raises:
        UsageError: one cannot be written.
    """
    from datetime import UTC, datetime

    from clip_bench import finding, machine

    if not options.json and not options.reports:
        return
    facts = machine.facts(threads)
    text = finding.to_json(told, facts)
    if options.json:
        write("--json", options.json, text)
    if options.reports:
        folder = options.reports / str(facts["name"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            msg = f"--reports {options.reports}: {exc.strerror or exc}; name a folder that can be written"
            raise UsageError(msg) from exc
        write("--reports", folder / f"{told.kind}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json", text)


def write_json(path: Path, told: object) -> None:
    """*told* into the file of ``--json``; raises as :func:`write` does."""
    write("--json", path, json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
