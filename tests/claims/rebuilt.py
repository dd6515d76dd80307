"""Rebuilt: the same recipe hashes from nothing in another environment, and which artifacts are the same bytes as well.

``python tests/claims/rebuilt.py [FORMAT:PRECISION ...]``. shapes_tiny is built twice from an empty store, each time in a
process of its own. The two have other hash seeds, homes, folders for temporary files, working directories, languages,
time zones, users, names of the host, umasks and stores. A recipe into which one of these leaks has another hash: none
may. Bytes are not promised, since exporters and writers of files put into them what they like: they are told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import verdict

ROOT = Path(__file__).parents[2]
BUILT = (
    *("torch_export:fp32", "onnx:fp32", "onnx:int8_dynamic", "onnx:int8_qdq", "onnx:a16w8"),
    *("onnx_gpu:fp16", "onnx_qnn:a16w8", "onnx_vitisai:int8_qdq", "openvino_ir:fp16", "openvino_ir:int8_nncf"),
)
TOWERS = ("image", "text")
SAMPLES, THREADS = 16, 1
UNLIKE: tuple[Mapping[str, str], ...] = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC", "USER": "one", "HOSTNAME": "one", "umask": "022"},
    {
        "PYTHONHASHSEED": "2",
        "LC_ALL": "C.UTF-8",
        "TZ": "Asia/Kolkata",
        "USER": "two",
        "HOSTNAME": "two",
        "umask": "077",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One artifact of a store: what it is in a few words, and the sha256 of its files by name."""

    told: str
    files: Mapping[str, str]


def main(words: Sequence[str]) -> int:
    """A line for each artifact; the exit code is 1 where a recipe's hash depends on where it was made."""
    with TemporaryDirectory() as folder:
        one, two = stores(Path(folder), words or BUILT)
    return verdict.show(rows(one, two))


def rows(one: Mapping[str, Built], two: Mapping[str, Built]) -> list[verdict.Row]:
    """Every artifact of two stores by its recipe's hash: whether both have it, and which of its files are the same bytes."""
    found = []
    for key in sorted({**one, **two}, key=lambda key: ({**one, **two}[key].told, key)):
        both = [store[key].files for store in (one, two) if key in store]
        unlike = sorted(name for name in both[0] if len({files.get(name) for files in both}) > 1)
        told = f"not {', '.join(unlike)}" if unlike else "all"
        found.append(
            verdict.row(
                holds=len(both) > 1,
                artifact={**one, **two}[key].told,
                recipe=key[:12],
                made="by both" if len(both) > 1 else "by one alone",
                same_bytes=told if len(both) > 1 else "",
            )
        )
    return found


def stores(folder: Path, words: Sequence[str]) -> list[dict[str, Built]]:
    """What *words* leave in two stores below *folder*, by recipe, each made in an environment of its own."""
    found = []
    for number, unlike in enumerate(UNLIKE):
        home = folder / f"{'further-' * number}home"
        (home / "tmp").mkdir(parents=True)
        own = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "CLIP_BENCH_CACHE": str(home / "store")}
        code = (
            f"import os, runpy, sys; os.umask(0o{unlike['umask']}); sys.path.insert(0, {str(Path(__file__).parent)!r})"
        )
        code += f"; runpy.run_path({str(Path(__file__))!r})['build'](sys.argv[1:])"
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(  # noqa: S603  ourselves
            command, cwd=home, env={**os.environ, **unlike, **own}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        found.append(built(home / "store"))
    return found


def built(store: Path) -> dict[str, Built]:
    """Every artifact in *store*, by its recipe's hash."""
    paths = store.glob("v*/*/*/manifest.json")
    manifests = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    recipes = {key: each["recipe"] for key, each in manifests.items()}
    return {key: Built(told=_told(key, recipes), files=each["files"]) for key, each in manifests.items()}


def _told(key: str, recipes: Mapping[str, Mapping[str, object]]) -> str:
    """The step of an artifact, and of what it was made from, back to the tower."""
    recipe = recipes[key]
    own = " ".join(str(recipe[name]) for name in ("step", "tower") if name in recipe)
    parent = recipe.get("parent")
    return f"{own} of {_told(str(parent), recipes)}" if parent in recipes else own


def build(words: Sequence[str]) -> None:
    """Make both towers of shapes_tiny in each FORMAT:PRECISION of *words*, in this process, with the store of the environment."""
    from clip_bench.evaluation import calibration, feeds, reference_of, source
    from clip_bench.graphs import Graph
    from clip_bench.graphs import build as make
    from clip_bench.models import catalog
    from clip_bench.settings import Settings
    from clip_bench.specs import Format, Precision, Tower
    from clip_bench.store import Store, default_root

    spec = catalog.MODELS["shapes_tiny"]
    settings = Settings(
        models=(spec.name,),
        full=False,
        samples=SAMPLES,
        data=None,
        weights=None,
        threads=THREADS,
        rounds=1,
        cache=default_root(),
    )
    feeds(settings, spec)
    reference_of(settings, spec)
    for word in words:
        name, _, precision = word.partition(":")
        for tower in TOWERS:
            graph = Graph(
                source=source(settings, spec),
                tower=Tower(tower),
                store=Store(settings.cache),
                calibration=lambda: calibration(settings, spec),
            )
            make(graph, Precision(precision), Format(name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
