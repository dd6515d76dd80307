"""TPU-MLIR, in a Python of its own: found and asked, its tools run, and its compiled graphs read.

TPU-MLIR takes Python 3.10 and old releases of numpy, onnx and protobuf, so it is never in this process: the user
names the interpreter that has it. What runs there is ``tpu_mlir_tool.py``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.graphs import tpu_mlir_tool

KEY = "tpu_mlir_python"
SCRIPT = Path(tpu_mlir_tool.__file__)
PACKAGES = "'tpu_mlir[onnx]==1.30.2' opencv-python-headless==4.8.0.74 psutil 'setuptools<80'"
INSTALL = f"a Python 3.10 with TPU-MLIR (python3.10 -m venv DIR && DIR/bin/pip install {PACKAGES})"
IDLE = frozenset({"Buffer", "Group", "Load", "Store", "Yield"})  # bookkeeping of the compiled graph


def python(settings: Mapping[str, str]) -> str:
    """The interpreter that has TPU-MLIR, by the user's option.

    Raises:
        UnavailableError: none is named, or it is not of a kind that can run TPU-MLIR.
    """
    named = settings.get(KEY, "")
    if not named:
        msg = f"name {INSTALL} by --option sophon.{KEY}=PYTHON"
        raise UnavailableError(msg)
    version(named)
    return named


@lru_cache
def version(interpreter: str) -> str:
    """The release of TPU-MLIR that *interpreter* has.

    Raises:
        UnavailableError: it does not run, has no TPU-MLIR, or lacks what TPU-MLIR imports.
    """
    try:
        ended = subprocess.run(  # noqa: S603  the user's own interpreter
            command(interpreter, "probe"), capture_output=True, text=True, check=False, env=clean(), timeout=120
        )
        told = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        msg = f"--option sophon.{KEY} names {Path(interpreter).name}, which does not answer as a Python: name {INSTALL}"
        raise UnavailableError(msg) from exc
    if told["missing"]:
        lacks = ", ".join(told["missing"])
        msg = f"the Python {told['python']} that sophon.{KEY} names lacks {lacks}: name {INSTALL}"
        raise UnavailableError(msg)
    return str(told["tpu_mlir"])


def command(interpreter: str, *arguments: str) -> list[str]:
    """The command line that has *interpreter* do what *arguments* say, as ``tpu_mlir_tool.py`` knows it."""
    return [interpreter, str(SCRIPT), *arguments]


def clean(**more: str) -> dict[str, str]:
    """This process's environment without what would lead another Python to this one's packages, and with *more*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", tpu_mlir_tool.READY))}
    return {**kept, **more}


def run(interpreter: str, folder: Path, tool: str, *arguments: str) -> None:
    """Run one of TPU-MLIR's tools in *folder*.

    Raises:
        UnsupportedError: it fails; the message has its last words.
    """
    ended = subprocess.run(  # noqa: S603  the user's own interpreter
        command(interpreter, "tool", tool, *arguments),
        cwd=folder,
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
        last = (lines or ["it said nothing"])[-1].replace(str(folder), folder.name)
        msg = f"TPU-MLIR {version(interpreter)}'s {tool} refuses the graph: {last}"
        raise UnsupportedError(msg)


def operations(compiled: str) -> tuple[Counter[str], Counter[str]]:
    """Of a compiled graph (the compiler's ``_final.mlir``): operations per run mode, and per type of their results.

    The run mode of a function is ``TPU_STATIC`` or ``TPU_DYNAMIC`` where the chip executes it, else ``CPU`` and the
    like, which the host does. What only moves data between memories counts as no operation.
    """
    modes: Counter[str] = Counter()
    types: Counter[str] = Counter()
    mode = ""
    for line in compiled.splitlines():
        if "func.func @" in line:
            found = re.search(r"run_mode (\w+)", line)
            mode = found[1] if found else ""
        named = re.search(r'"tpu\.(\w+)"', line)
        if mode and named and named[1] not in IDLE:
            modes[mode] += 1
            result = re.search(r"-> \(?tensor<(?:\d+x)*(\w+)", line)
            types[result[1] if result else "none"] += 1
    return modes, types
