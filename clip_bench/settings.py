"""What a user may set for a run: the options that pytest and clip-bench share, and their checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_bench import machine, store
from clip_bench.errors import UsageError

DEFAULT_MODELS = ("shapes_tiny", "vit_b_32_random")
SAMPLES = 64
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
        "type": int, "metavar": "N",
        "help": f"evaluation samples (default: {SAMPLES}; shapes_tiny, off an emulator, its whole 1000)",
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
    ("--calibration", {
        "action": "append", "default": [], "metavar": "METHOD_N",
        "help": "add cells calibrated by METHOD (minmax, percentile or entropy) on N rows, such as percentile_200, "
                "wherever ONNX Runtime or NNCF (no entropy) quantizes; may be repeated",
    }),
    ("--option", {
        "action": "append", "default": [], "metavar": "NAME.KEY=VALUE",
        "help": "an option of a provider or backend, such as qnn.soc=SM8650; may be repeated (all: clip-bench list)",
    }),
    ("--tpu-mlir-python", {
        "metavar": "PYTHON",
        "help": "a Python 3.10 that has tpu_mlir, for SOPHON: the same as --option sophon.tpu_mlir_python=PYTHON",
    }),
)  # fmt: skip
CALIBRATION = re.compile(r"(minmax|percentile|entropy)_[1-9]\d*")
OPTION = re.compile(r"(?P<name>[a-z0-9_]+)\.(?P<key>\w+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The checked options; ``cache`` is the store's folder.

    ``samples`` is None where the user leaves it to the case. ``options`` are names, keys and values.
    """

    models: tuple[str, ...]
    full: bool
    samples: int | None
    data: Path | None
    weights: Path | None
    threads: int
    rounds: int
    cache: Path
    calibrations: tuple[str, ...] = ()
    options: tuple[tuple[str, str, str], ...] = ()

    @property
    def by_name(self) -> Mapping[str, Mapping[str, str]]:
        """The options: values by name and key."""
        names = {name for name, _, _ in self.options}
        return {name: {key: value for owner, key, value in self.options if owner == name} for name in names}


def checked(options: Mapping[str, Any]) -> Settings:
    """Settings from parsed options.

    Raises:
        UsageError: a number is too small, a path does not exist, or an option is not of its form.
    """
    for name, least in (("samples", 2), ("rounds", 1)):
        if options[name] is not None and options[name] < least:
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
        calibrations=_calibrations(options["calibration"]),
        options=_options(options["option"], options["tpu_mlir_python"]),
    )


def _calibrations(given: Sequence[str]) -> tuple[str, ...]:
    for text in given:
        if not CALIBRATION.fullmatch(text):
            msg = f"--calibration {text}: a method and a number of rows, such as minmax_100, percentile_200, entropy_12"
            raise UsageError(msg)
    return tuple(dict.fromkeys(given))


def _options(given: Sequence[str], tpu_mlir_python: str | None) -> tuple[tuple[str, str, str], ...]:
    """The last value of each name and key."""
    found = {}
    for text in given:
        match = OPTION.fullmatch(text)
        if match is None:
            msg = f"--option {text}: NAME.KEY=VALUE, such as qnn.soc=SM8650; clip-bench list shows all there are"
            raise UsageError(msg)
        found[match["name"], match["key"]] = match["value"]
    if tpu_mlir_python is not None:
        found["sophon", "tpu_mlir_python"] = tpu_mlir_python
    return tuple((name, key, value) for (name, key), value in found.items())
