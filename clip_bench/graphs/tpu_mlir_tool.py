"""What runs inside the Python that has TPU-MLIR: ``probe``, ``tool NAME ARGUMENTS...`` or ``serve BMODEL``.

That Python is 3.10 and has none of this package: the file is run by its path, imports nothing of ours, and asks
nothing of the installation but what TPU-MLIR's own wheel leaves out, without changing a file of it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import runpy
import struct
import sys
import types
from pathlib import Path
from typing import IO, Any

NEEDED = ("tpu_mlir", "onnx", "onnxruntime", "onnxruntime_extensions", "onnxsim", "pkg_resources", "psutil")
READY = "CLIP_BENCH_TPU_MLIR_READY"  # set in the process that has the environment
FRAME = struct.Struct("<Q")  # the length of what follows, in bytes
KINDS = {"f32": "float32", "i32": "int32"}  # what a bmodel may take, by the runtime's word and numpy's


def main(arguments: list[str]) -> None:
    """Do what *arguments* say; ``probe`` alone needs no TPU-MLIR."""
    here = Path(__file__).parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here.resolve()]  # our names hide nobody's
    verb, *rest = arguments
    if verb == "probe":
        sys.stdout.write(json.dumps(probe()))
        return
    if READY not in os.environ:
        environment()
        os.execv(sys.executable, [sys.executable, __file__, *arguments])  # noqa: S606  itself, as the loader reads LD_* once
    importlib.import_module("tpu_mlir")
    if verb == "tool":
        tool(*rest)
    else:
        serve(*rest)


def probe() -> dict[str, Any]:
    """The versions of Python and TPU-MLIR, and the modules that TPU-MLIR will miss."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    version = "" if "tpu_mlir" in missing else importlib.metadata.version("tpu_mlir")
    return {"python": sys.version.split()[0], "tpu_mlir": version, "missing": missing}


def environment() -> None:
    """Let TPU-MLIR set its paths, then put this interpreter and the system's C library before its own.

    Its scripts start with ``env python3``. Its wheel bundles glibc 2.35 for its compiler to find, whose parts do not
    match those of a newer system; loaded first, the system's own are the only ones.
    """
    root = Path(str(importlib.import_module("tpu_mlir").__file__)).parent
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if (root / "lib" / "third_party" / "libc.so.6").exists():
        ctypes.CDLL("libm.so.6")
        os.environ["LD_PRELOAD"] = ":".join(loaded(r"lib(?:c|m)\.so\.6|libpthread\.so\.0"))
    os.environ[READY] = "1"


def loaded(names: str) -> list[str]:
    """The files mapped into this process whose names match the pattern *names*."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return sorted(set(re.findall(rf"/\S*/(?:{names})(?=\n)", maps)))


def tool(name: str, *arguments: str) -> None:
    """Run one of TPU-MLIR's own tools, such as ``model_transform.py``.

    The ONNX reader imports torch, which its wheel does not ask for, and uses it for models with custom operators
    only: an empty module in its place, while the reader is imported, spares 2 GB.
    """
    if importlib.util.find_spec("torch") is None:
        importlib.import_module("onnxruntime_extensions")  # looks for torch itself
        sys.modules["torch"] = types.ModuleType("torch")
        importlib.import_module("transform.OnnxOpt")
        del sys.modules["torch"]
    path = Path(os.environ["TPUC_ROOT"]) / "python" / "tools" / name
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


def serve(bmodel: str) -> None:
    """Load *bmodel* on TPU-MLIR's functional model of the chip, and answer calls until standard input ends.

    A call is a frame with an ``.npy`` file of the input; the answer is one with the output. An empty frame asks what
    runs the calls, and is answered in JSON. What the libraries print goes to standard error.
    """
    import numpy as np  # of that Python

    calls = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    model = importlib.import_module("pyruntime_bm").Model(bmodel, 0, "")
    (network,) = model.networks
    net = model.Net(network)
    (taken,), (given,) = net.inputs, net.outputs
    done = 0
    while (call := receive(calls)) is not None:
        if not call:
            send(answers, facts(taken, given, done))
            continue
        taken.data[...] = np.load(io.BytesIO(call), allow_pickle=False).astype(KINDS[taken.dtype])
        net.forward()
        done += 1
        answer = io.BytesIO()
        np.save(answer, np.asarray(given.data, np.float32), allow_pickle=False)
        send(answers, answer.getvalue())


def facts(taken: Any, given: Any, done: int) -> bytes:  # noqa: ANN401  tensors of TPU-MLIR's, which ships no types
    """Shapes and types, the emulating libraries that this process has loaded, and how many calls it has answered."""
    told = {
        "input": {"shape": list(taken.data.shape), "kind": taken.dtype},
        "output": {"shape": list(given.data.shape), "kind": given.dtype},
        "libraries": [Path(path).name for path in loaded(r"libcmodel[^/\s]*\.so")],
        "calls": done,
    }
    return json.dumps(told).encode()


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one frame."""
    stream.write(FRAME.pack(len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one frame; None where the other side has closed."""
    head = stream.read(FRAME.size)
    return stream.read(*FRAME.unpack(head)) if len(head) == FRAME.size else None


if __name__ == "__main__":
    main(sys.argv[1:])
