"""SOPHON's BM1684X: bmodels through SAIL on a card, or on the chip's functional model in TPU-MLIR.

A bmodel takes its own number of rows, in float32: a call is cut or padded to that, and the padding's answers are
thrown away. What is left of a text after its bmodel, pooling and projection, is done on the host in float32, inside
the clock, as SOPHON's CLIP sample has it. Pictures come preprocessed as CLIP's are, not as the sample's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.backends.sophon import card, cmodel, host
from clip_bench.errors import UnavailableError
from clip_bench.graphs import bmodel, tpu_mlir
from clip_bench.specs import Device, Format, Precision, Target, Tower
from clip_bench.store import Artifact

FORMAT = Format.BMODEL
NPU = Target(backend="sophon", device=Device.NPU)
EMULATED = Target(backend="sophon", device=Device.EMULATED)
TARGETS = {NPU: frozenset({Precision.FP16}), EMULATED: frozenset({Precision.FP16})}
IMPORTS = "sophon.sail"
NUMBERED = frozenset({NPU})
OPTIONS = {
    "sophon": {
        tpu_mlir.KEY: "a Python 3.10 that has tpu_mlir, which compiles bmodels and emulates the chip",
        "bmodels": "a folder of bmodels compiled elsewhere, such as vit_b_32_openai_image_bm1684x_f16_1b.bmodel",
        "batch": "pictures that a bmodel takes at once: 1 (if not given), 8, 16 or 32",
        "device": "the number of the card: 0 if not given",
    }
}
CHIP_MODES = frozenset({"TPU_STATIC", "TPU_DYNAMIC"})
SILENT = "a bmodel without its .mlir tells nothing of its layers"


class Engine(Protocol):
    """One bmodel, loaded somewhere. ``batch`` is how many rows it takes."""

    batch: int

    def call(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer exactly ``batch`` rows; the answer is the caller's own."""

    def where(self) -> str:
        """What executes the bmodel, asked of it now."""

    def close(self) -> None:
        """Let go of it."""


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """The card by SAIL, and the emulator by the interpreter that the user names."""
    own = settings.get("sophon", {})
    try:
        release = tpu_mlir.version(tpu_mlir.python(own))
    except UnavailableError as exc:
        emulated = Found(missing=str(exc))
    else:
        emulated = Found(device=f"TPU-MLIR {release}'s model of {bmodel.CHIP.upper()}")
    return {NPU: card.found(own), EMULATED: emulated}


def load(artifact: Artifact, target: Target, options: Options) -> SophonSession:
    """Load every bmodel of *artifact*: one, or a pair's two.

    Raises:
        UnavailableError: no SAIL, no card, or no TPU-MLIR to emulate with.
        UnsupportedError: the runtime refuses a bmodel.
    """
    own = options.settings if options.device_id is None else {**options.settings, "device": str(options.device_id)}
    if reason := devices({"sophon": own})[target].missing:
        raise UnavailableError(reason)
    start: Callable[[Path], Engine]
    if target == NPU:
        number = card.number(own)
        start, asked = partial(card.Card, device=number), card.place(number)
    else:
        python = tpu_mlir.python(options.settings)
        start, asked = partial(cmodel.Cmodel, python=python, threads=options.threads), cmodel.PLACE
    engines: dict[Tower, Engine] = {}
    session = SophonSession(engines=engines, head=host.head(artifact), compiled=_compiled(artifact), asked=asked)
    try:
        for tower in (Tower.IMAGE, Tower.TEXT):
            if (file := artifact.path / f"{tower}{bmodel.SUFFIX}").exists():
                engines[tower] = start(file)
    except BaseException:
        session.close()
        raise
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """Operations of the bmodels per run mode and per type, as the compiler left them; empty where it is not told."""

    modes: Counter[str]
    types: Counter[str]


def _compiled(artifact: Artifact) -> Compiled:
    modes: Counter[str] = Counter()
    types: Counter[str] = Counter()
    files = sorted(artifact.path.glob(f"*{bmodel.SUFFIX}"))
    graphs = [path for file in files if (path := file.with_suffix(".mlir")).exists()]
    if len(graphs) == len(files):
        for path in graphs:
            mode, kind = tpu_mlir.operations(path.read_text(encoding="utf-8"))
            modes, types = modes + mode, types + kind
    return Compiled(modes=modes, types=types)


@dataclass(slots=True, kw_only=True)
class SophonSession:
    """One or two bmodels, and the host's part of a text. ``asked`` is what should execute them."""

    engines: dict[Tower, Engine]
    head: host.Head | None
    compiled: Compiled
    asked: str

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Embed what is fed; a pair gets its logits too."""
        answers: dict[str, NDArray[np.float32]] = {}
        if Tower.IMAGE in self.engines:
            answers["image_embedding"] = answered(self.engines[Tower.IMAGE], feeds["image"])
        if self.head is not None:
            rows = answered(self.engines[Tower.TEXT], feeds["tokens"])
            answers["text_embedding"] = self.head.embed(rows, feeds["tokens"])
            if self.head.scale is not None:
                answers["logits"] = self.head.logits(answers["image_embedding"], answers["text_embedding"])
        return answers

    def placement(self) -> Placement:
        """The compiler's operations: those for the chip are where the runtime says it is now, the others on the host.

        Where nothing tells of operations, a bmodel counts as one.
        """
        places = [engine.where() for engine in self.engines.values()]
        here = " and ".join(sorted(set(places)))
        nodes = Counter(() if self.compiled.modes else places)
        for mode, count in self.compiled.modes.items():
            nodes[here if mode in CHIP_MODES else f"host ({mode})"] += count
        notes = (
            "" if self.head is None else "pooling and projection are the host's, in float32",
            "" if self.compiled.modes else SILENT,
            *(f"{tower}: padded to {engine.batch} rows" for tower, engine in self.engines.items() if engine.batch > 1),
        )
        return Placement(
            nodes=nodes,
            dtypes=self.compiled.types,
            asked=self.asked,
            note="; ".join(filter(None, notes)),
            options={f"{tower}_batch": str(engine.batch) for tower, engine in self.engines.items()},
        )

    def close(self) -> None:
        """Let go of the bmodels."""
        while self.engines:
            self.engines.popitem()[1].close()


def answered(engine: Engine, rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """What *engine* answers to *rows*, of any number: by its own batch, padded, and without the padding's answers."""
    parts = [rows[first : first + engine.batch] for first in range(0, len(rows), engine.batch)]
    answers = [host.trimmed(engine.call(host.padded(part, engine.batch)), len(part)) for part in parts]
    return np.concatenate(answers)
