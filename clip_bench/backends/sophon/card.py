"""A bmodel on a SOPHON card, through SAIL (``sophon.sail``), by calls that its Python reference documents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Found
from clip_bench.errors import UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs.bmodel import CHIP

INSTALL = "install SOPHON's SAIL, of the SDK that fits the card's driver: Python finds no sophon.sail"
ABSENT = "no SOPHON card: SAIL counts none; plug in a BM1684X and load its driver"


def number(settings: Mapping[str, str]) -> int:
    """Which card the user names.

    Raises:
        UsageError: no number.
    """
    named = settings.get("device", "0")
    if not named.isdecimal():
        msg = f"sophon.device={named}: the number of a card, from 0"
        raise UsageError(msg)
    return int(named)


def place(device: int) -> str:
    """What :meth:`Card.where` answers of a bmodel on card *device*."""
    return f"{CHIP.upper()} {device}"


def found(settings: Mapping[str, str]) -> Found:
    """What SAIL has here of the card that *settings* name."""
    try:
        sail = _sail()
    except UnavailableError as exc:
        return Found(missing=str(exc))
    device, count = number(settings), sail.get_available_tpu_num()
    if device >= count:
        return Found(missing=f"no SOPHON card {device}: SAIL counts {count}, from 0" if count else ABSENT)
    chip = str(sail.Handle(device).get_target())
    if chip.lower() != CHIP:
        return Found(missing=f"card {device} is a {chip}, and the bmodels are for {CHIP.upper()}")
    return Found(device=f"SOPHON {chip}, {_release()}")


@lru_cache
def _release() -> str:
    """What SAIL is called and numbered: its package has a name for each kind of host."""
    owners = packages_distributions().get("sophon", [])
    return f"SAIL {version(owners[0])}" if owners else "SAIL of a release that it does not tell"


def _sail() -> ModuleType:
    """The library.

    Raises:
        UnavailableError: it is not installed, or does not load.
    """
    try:
        return import_module("sophon.sail")
    except ModuleNotFoundError as exc:
        raise UnavailableError(INSTALL) from exc
    except ImportError as exc:
        msg = f"SOPHON's SAIL does not load ({exc}): install the SDK's runtime that fits it"
        raise UnavailableError(msg) from exc


class Card:
    """A bmodel of one input and one output in an engine of SAIL's, with both sides in system memory."""

    def __init__(self, file: Path, device: int) -> None:
        sail = _sail()
        try:
            self._engine = sail.Engine(str(file), device, sail.IOMode.SYSIO)
        except RuntimeError as exc:
            msg = f"SAIL refuses the bmodel on card {device}: {str(exc).replace(str(file), file.name)}"
            raise UnsupportedError(msg) from exc
        self._graph = self._engine.get_graph_names()[0]
        taken, given = self._engine.get_input_names(self._graph), self._engine.get_output_names(self._graph)
        if len(taken) != 1 or len(given) != 1:
            msg = f"{file.name} takes {', '.join(taken)} and gives {', '.join(given)}: a tower's has one of each"
            raise UnsupportedError(msg)
        self._input, self._output = taken[0], given[0]
        self.batch: int = self._engine.get_input_shape(self._graph, self._input)[0]

    def call(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer ``batch`` rows. Token ids go in as float32 too; SAIL may use its buffer again, so it is copied."""
        answer = self._engine.process(self._graph, {self._input: rows})
        return np.array(answer[self._output], np.float32)

    def where(self) -> str:
        """The chip and the number of its card, from the engine."""
        handle = self._engine.get_handle()
        return f"{str(handle.get_target()).upper()} {self._engine.get_device_id()}"

    def close(self) -> None:
        """Drop the engine: SAIL frees it with its last reference."""
        del self._engine
