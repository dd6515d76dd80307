"""A bmodel on TPU-MLIR's functional model of the chip: its instructions, without its time; in a process that stays."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnsupportedError
from clip_bench.graphs import tpu_mlir, tpu_mlir_tool
from clip_bench.graphs.bmodel import CHIP

PLACE = f"libcmodel_{CHIP}.so"
PATIENCE_S = 60


class Cmodel:
    """A bmodel of one input and one output in a process of the Python that has TPU-MLIR."""

    def __init__(self, file: Path, python: str, threads: int) -> None:
        self._said = TemporaryFile()  # noqa: SIM115  what the process prints, until close()
        self._process = subprocess.Popen(  # noqa: S603  the user's own interpreter
            tpu_mlir.command(python, "serve", str(file)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=tpu_mlir.clean(OMP_NUM_THREADS=str(threads)),
        )
        try:
            self.batch: int = self._facts()["input"]["shape"][0]
        except RuntimeError as exc:
            self.close()
            msg = f"TPU-MLIR refuses the bmodel: {exc}"
            raise UnsupportedError(msg) from exc

    def call(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer ``batch`` rows."""
        sent = io.BytesIO()
        np.save(sent, rows, allow_pickle=False)
        answer: NDArray[np.float32] = np.load(io.BytesIO(self._asked(sent.getvalue())), allow_pickle=False)
        return answer

    def where(self) -> str:
        """The emulating library that the process has loaded, by its own maps."""
        return "+".join(self._facts()["libraries"]) or "no emulator"

    def close(self) -> None:
        """End the process, whose input ends."""
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self._asked(b""))
        return facts

    def _asked(self, message: bytes) -> bytes:
        """The process's answer.

        Raises:
            RuntimeError: it has ended; the message has its last words.
        """
        answer = None
        if self._process.poll() is None and self._process.stdin and self._process.stdout:
            try:
                tpu_mlir_tool.send(self._process.stdin, message)
                answer = tpu_mlir_tool.receive(self._process.stdout)
            except BrokenPipeError:
                answer = None
        if answer is None:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            msg = f"TPU-MLIR's model of the chip has ended: {lines[-1]}"
            raise RuntimeError(msg)
        return answer
