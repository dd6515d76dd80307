"""Write constraints.txt and constraints-rknn.txt again, from pyproject.toml: ``tox run -e lock``, ``-- upgrade`` for the newest.

Every file of a version that the index has is listed by its sha256, so that one set serves every platform and Python.
PyTorch's packages have none: uv takes them from the index that ``UV_TORCH_BACKEND`` means, whose files are others
(``applies_to`` in https://github.com/astral-sh/uv/blob/main/crates/uv-torch/src/backend.rs). No file names an index.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
UNHASHED = {"torch", "torchao", "torchaudio", "torchvision", "triton"}
EXTRAS = (
    *("cpu", "siglip", "qnn", "ovep", "cuda", "trtrtx", "pixels", "parquet", "index"),
    *("archive", "ray", "remote"),
)
GROUPS = ("browser", "coverage", "docs", "fuzz", "mutation", "tests", "lint", "types", "release")
HELD = {
    "numpy",
    "onnx",
    "protobuf",
    "setuptools",
    "ml-dtypes",
    "onnxruntime",
    "opencv-python-headless",
    "pandas",
    "scipy",
}
BOARDS = "rknn-toolkit-lite2"  # its wheels are for aarch64 alone
PIN = re.compile(r"^([\w.-]+)(==[^\\\n]+)", re.MULTILINE)  # and the marker behind it
MAIN = """\
# The versions that tox installs, and the sha256 of their files: one set for every environment, platform and Python from
# 3.11 to 3.13. uv refuses a file with another hash; pip would ask for hashes of everything, so pip takes these without.
# No local versions (+cpu, +cu130) and no hashes of PyTorch's packages: UV_TORCH_BACKEND chooses the build.
# Made by tox run -e lock, which tells the rest; never edit it.
"""
RKNN = """\
# The versions that tox installs beside RKNN-Toolkit2, in the place of constraints.txt: those of constraints.txt, but for
# what the toolkit holds back (numpy, onnx, protobuf, setuptools) and what needs one of these newer.
# Made by tox run -e lock; never edit it.
"""


def main(more: Sequence[str]) -> None:
    """Both files; *more* is for uv."""
    both = [*(f"--extra={name}" for name in EXTRAS), *(f"--group={name}" for name in GROUPS)]
    _write("constraints.txt", MAIN, _compiled("constraints.txt", "pyproject.toml", *both, "--universal", *more))
    with TemporaryDirectory() as folder:
        kept, boards = Path(folder, "kept.txt"), Path(folder, "boards.in")
        pins = PIN.findall((ROOT / "constraints.txt").read_text(encoding="utf-8"))
        kept.write_text("".join(f"{name}{pin}\n" for name, pin in pins if name not in HELD), encoding="utf-8")
        overrides = ("--override", "constraints-rknn-overrides.txt", "--constraint", str(kept))
        linux = ("--python-platform", "x86_64-manylinux_2_28")
        found = _compiled("constraints-rknn.txt", "pyproject.toml", "--extra=rknn", *overrides, *linux, *more)
        (version,) = (pin for name, pin in PIN.findall(found) if name == "rknn-toolkit2")
        boards.write_text(f"{BOARDS}{version}\n", encoding="utf-8")
        arm = ("--no-deps", "--python-platform", "aarch64-manylinux_2_28")
        _write("constraints-rknn.txt", RKNN, _compiled("", str(boards), *arm) + found)


def _compiled(output: str, *told: str) -> str:
    """What uv resolves; the versions that *output* pins are kept where they can be, and it is not written."""
    quiet = ("--no-emit-index-url", "--no-annotate", "--no-header", "--quiet", "--python-version=3.11")
    with TemporaryDirectory() as folder:
        target = Path(folder, "resolved.txt")
        if output:
            target.write_bytes((ROOT / output).read_bytes())
        free = {name: told for name, told in environ.items() if name != "UV_CONSTRAINT"}  # tox's: what is made here
        command = ["uv", "pip", "compile", *told, *quiet, "--generate-hashes", "--output-file", str(target)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=free)  # noqa: S603  our own words
        return target.read_text(encoding="utf-8")


def _write(name: str, header: str, resolved: str) -> None:
    """*resolved* under *header*, without the hashes that only one build of a version has."""
    pinned = re.split(r"^(?=\S)", resolved, flags=re.MULTILINE)
    lines = [
        each.split(" \\\n")[0].rstrip() + "\n" if PIN.match(each)[1] in UNHASHED else each for each in pinned if each
    ]
    (ROOT / name).write_text(header + "".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(["--upgrade"] if "upgrade" in sys.argv[1:] else [])
