"""What a user may set for a run: the options that pytest and clip-bench share, and their checked values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_bench import machine, store
from clip_bench.errors import UsageError

DEFAULT_MODELS = ("shapes_tiny", "vit_b_32_random")
ROUNDS = 64  # what a P90 needs to be proven at 99 % confidence

# Flags and argparse's arguments; pytest's addoption takes the same.
OPTIONS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("--model", {
        "action": "append", "default": [], "metavar": "NAME",
        "help": "a model of the catalog, or open_clip's ARCHITECTURE:PRETRAINED or ARCHITECTURE:FILE; may be repeated "
                f"(default: {' and '.join(DEFAULT_MODELS)})",
    }),
    ("--full", {
        "action": "store_true",
        "help": "every model of the catalog, and the a16w8, compiled and pair cells of full-size models",
    }),
    ("--samples", {
        "type": int, "default": 64, "metavar": "N",
        "help": "evaluation samples for full-size models (default: %(default)s; shapes_tiny always takes its 1000)",
    }),
    ("--data", {
        "type": Path, "metavar": "PATH",
        "help": "evaluate on your own data: a folder of class folders, or a JSON or CSV file of captions",
    }),
    ("--weights", {
        "type": Path, "metavar": "PATH",
        "help": "a weights file, or a folder of them, to look in before the cache and the hub",
    }),
    ("--threads", {
        "type": int, "metavar": "N",
        "help": "intra-op threads of every runtime (default: the physical cores that this process may use)",
    }),
    ("--rounds", {
        "type": int, "default": ROUNDS, "metavar": "N",
        "help": "timed calls per cell (default: %(default)s, which is what a proven P90 takes)",
    }),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The checked options; ``cache`` is the store's folder."""

    models: tuple[str, ...]
    full: bool
    samples: int
    data: Path | None
    weights: Path | None
    threads: int
    rounds: int
    cache: Path


def checked(options: Mapping[str, Any]) -> Settings:
    """Settings from parsed options.

    Raises:
        UsageError: a number is too small, or a path does not exist.
    """
    for name, least in (("samples", 2), ("rounds", 1)):
        if options[name] < least:
            msg = f"--{name} {options[name]}: at least {least}"
            raise UsageError(msg)
    threads = machine.cores() if options["threads"] is None else options["threads"]
    if threads < 1:
        msg = f"--threads {threads}: at least 1"
        raise UsageError(msg)
    for name in ("data", "weights"):
        path = options[name]
        if path is not None and not path.exists():
            msg = f"--{name} {path}: no such file or folder"
            raise UsageError(msg)
    return Settings(
        models=tuple(options["model"]),
        full=options["full"],
        samples=options["samples"],
        data=options["data"],
        weights=options["weights"],
        threads=threads,
        rounds=options["rounds"],
        cache=store.default_root(),
    )
