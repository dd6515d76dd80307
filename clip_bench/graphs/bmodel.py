"""A tower as a bmodel for SOPHON's BM1684X: compiled by TPU-MLIR in float16 and checked on its cmodel, or given.

The text bmodel is SOPHON's: four texts, and an end before pooling, as its CLIP sample has it. Which row of a text is
its embedding, and the projection, are the host's to apply; they stand beside the bmodel.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnavailableError, UnsupportedError, UsageError
from clip_bench.graphs import Graph, no_recipe, onnx_file, rewrites, tpu_mlir, unpooled
from clip_bench.models import towers
from clip_bench.specs import Format, Precision, Tower
from clip_bench.store import Artifact, sha256_file

CHIP = "bm1684x"
QUANTIZE = "F16"
BATCHES = (1, 8, 16, 32)  # of pictures, as SOPHON publishes its bmodels
TEXT_BATCH = 4
OPSET = 18  # torch's own; TPU-MLIR 1.30 reads up to 19
IR_VERSION = 8  # TPU-MLIR's ONNX Runtime 1.16 reads up to 9
TOLERANCE = "0.99,0.9"  # least cosine and Euclidean similarity of every tensor to the float graph's
SUFFIX = ".bmodel"
PROJECTION = "projection.npz"  # matrix (width, embedding) and bias (embedding), after pooling


def build(graph: Graph, precision: Precision) -> Artifact:
    """The bmodel of *graph*: the user's own, from ``sophon.bmodels``, or compiled by ``sophon.tpu_mlir_python``.

    A pair has the bmodels of both towers. Beside a bmodel lies the compiler's last graph, where there is one, and
    beside that of a text the projection.

    Raises:
        UnavailableError: no compiler is named, or the user's folder has no such file.
        UnsupportedError: another precision than float16, a text tower of another kind, or the compiler refuses.
        UsageError: ``sophon.batch`` is none of SOPHON's.
    """
    if precision is not Precision.FP16:
        raise no_recipe(precision, Format.BMODEL)
    if graph.tower is Tower.PAIR:
        return _both(graph)
    return _given(graph) if graph.settings.get("bmodels") else _compiled(graph)


def names(graph: Graph) -> tuple[str, str]:
    """What the files of *graph*'s bmodel and of its compiled graph are called in a folder of the user's."""
    stem = f"{graph.source.spec.name}_{graph.tower}_{CHIP}_{QUANTIZE.lower()}_{batch(graph)}b"
    return f"{stem}{SUFFIX}", f"{stem}.mlir"


def compile_offline(graphs: Iterable[Graph], folder: Path) -> list[Path]:
    """Compile *graphs* into *folder*, by :func:`names`, for a machine that has a card and no compiler.

    Each graph's ``settings`` name the interpreter and ``batch`` the pictures; texts are compiled by fours.

    Raises:
        UnavailableError: no compiler is named.
        UnsupportedError: a pair, a text tower of another kind, or the compiler refuses.
        UsageError: a batch is none of SOPHON's.
    """
    written = []
    for graph in graphs:
        if graph.tower is Tower.PAIR:
            msg = "a pair is no bmodel of its own: compile the image and the text tower"
            raise UnsupportedError(msg)
        made = _compiled(graph)
        folder.mkdir(parents=True, exist_ok=True)
        targets = dict(zip((SUFFIX, ".mlir"), names(graph), strict=True))
        if graph.tower is Tower.TEXT:
            targets[PROJECTION] = f"{graph.source.spec.name}_text_{PROJECTION}"
        for suffix, name in targets.items():
            shutil.copyfile(made.file(suffix), folder / name)
            written.append(folder / name)
    return written


def batch(graph: Graph) -> int:
    """How many pictures or texts the bmodel of *graph* takes at once.

    Raises:
        UsageError: none of SOPHON's.
    """
    if graph.tower is Tower.TEXT:
        return TEXT_BATCH
    named = graph.settings.get("batch", str(graph.batch or 1))
    if named not in map(str, BATCHES):
        msg = f"sophon.batch={named}: SOPHON's bmodels take {', '.join(map(str, BATCHES))} pictures"
        raise UsageError(msg)
    return int(named)


def _facts(graph: Graph) -> dict[str, object]:
    """What a session must know of the graph: names, how many rows it takes, and the row of a text that counts."""
    model = graph.source.model()
    facts: dict[str, object] = {"inputs": towers.INPUTS[graph.tower], "outputs": towers.OUTPUTS[graph.tower]}
    if graph.tower is not Tower.IMAGE:
        facts |= unpooled.pooling(model)
    if graph.tower is Tower.PAIR:
        bias = model.logit_bias
        facts |= {"scale": model.logit_scale.exp().item(), "bias": 0.0 if bias is None else bias.item()}
    return facts


def _compiled(graph: Graph) -> Artifact:
    interpreter, source = tpu_mlir.python(graph.settings), exported(graph)
    recipe = {
        "step": "bmodel",
        "parent": source.key,
        "chip": CHIP,
        "quantize": QUANTIZE,
        "batch": batch(graph),
        "tolerance": TOLERANCE,
        "tpu_mlir": tpu_mlir.version(interpreter),
        **_facts(graph),
    }

    def make(folder: Path) -> None:
        with TemporaryDirectory() as scratch:
            bmodel, final = _compile(interpreter, graph, source.file(".onnx"), Path(scratch))
            shutil.copyfile(bmodel, folder / f"{graph.tower}{SUFFIX}")
            shutil.copyfile(final, folder / f"{graph.tower}.mlir")
        _save_projection(graph, folder)

    return graph.store.get(recipe, make, source)


def _given(graph: Graph) -> Artifact:
    folder = Path(graph.settings["bmodels"])
    bmodel, final = (folder / name for name in names(graph))
    if not bmodel.is_file():
        msg = f"sophon.bmodels has no {bmodel.name}: compile it (clip-bench compile --bm1684x), or name it so"
        raise UnavailableError(msg)
    found = {path.suffix: sha256_file(path) for path in (bmodel, final) if path.is_file()}
    recipe = {
        "step": "bmodel_given",
        "weights_sha256": graph.source.sha256(),
        "files": found,
        "batch": batch(graph),
        **_facts(graph),
    }

    def make(home: Path) -> None:
        for suffix in found:
            shutil.copyfile(bmodel.with_suffix(suffix), home / f"{graph.tower}{suffix}")
        _save_projection(graph, home)

    return graph.store.get(recipe, make)


def _both(graph: Graph) -> Artifact:
    parts = [build(replace(graph, tower=tower), Precision.FP16) for tower in (Tower.IMAGE, Tower.TEXT)]
    recipe = {"step": "bmodel_pair", "parents": [part.key for part in parts], **_facts(graph)}

    def make(folder: Path) -> None:
        for part in parts:
            for suffix in (SUFFIX, ".mlir", PROJECTION):
                for path in part.path.glob(f"*{suffix}"):
                    shutil.copyfile(path, folder / path.name)

    return graph.store.get(recipe, make, max(parts, key=lambda part: part.built_s))


def exported(graph: Graph) -> Artifact:
    """The ONNX file that TPU-MLIR compiles: float32, at its own batch, a text's end before pooling."""
    recipe = {
        "step": "onnx_for_tpu_mlir",
        "model": graph.source.spec.architecture,
        "weights_sha256": graph.source.sha256(),
        "tower": graph.tower,
        "batch": batch(graph),
        "mask": onnx_file.MASK,
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "torch": version("torch"),
        "onnxscript": version("onnxscript"),
        "open_clip_torch": version("open_clip_torch"),
    }
    return graph.store.get(recipe, lambda folder: _export(graph, folder / onnx_file.NAME))


def _export(graph: Graph, path: Path) -> None:
    import onnx
    import torch

    model = graph.source.model()
    module = towers.module(model, graph.tower, torch.float32) if graph.tower is Tower.IMAGE else unpooled.module(model)
    with torch.no_grad():
        program = torch.export.export(module, towers.example(graph.source.spec, graph.tower, batch(graph)))
    outputs = ["rows" if graph.tower is Tower.TEXT else "embedding"]
    onnx_file.write(program, path, opset=OPSET, inputs=towers.INPUTS[graph.tower], outputs=outputs)
    masked = rewrites.finite_mask(path, onnx_file.MASK)
    masked.ir_version = IR_VERSION
    onnx.save(masked, path)


def _compile(interpreter: str, graph: Graph, source: Path, scratch: Path) -> tuple[Path, Path]:
    """The bmodel and its last graph, both checked on calibration rows: each tensor by the compiler, on its cmodel."""
    (name,) = towers.INPUTS[graph.tower]
    data = graph.calibration()
    rows: NDArray[np.generic] = data.tokens if graph.tower is Tower.TEXT else data.image
    fed = np.take(rows, range(batch(graph)), axis=0, mode="wrap")
    np.savez(scratch / "in.npz", **{name: fed})  # type: ignore[arg-type]  # no array is called allow_pickle
    shape = f"[[{','.join(map(str, fed.shape))}]]"
    tpu_mlir.run(
        interpreter, scratch, "model_transform.py",
        "--model_name", graph.tower, "--model_def", str(source), "--input_shapes", shape, "--pixel_format", "rgb",
        "--test_input", "in.npz", "--test_result", "top.npz", "--mlir", f"{graph.tower}.mlir",
    )  # fmt: skip
    tpu_mlir.run(
        interpreter, scratch, "model_deploy.py",
        "--mlir", f"{graph.tower}.mlir", "--quantize", QUANTIZE, "--chip", CHIP,
        "--test_input", f"{graph.tower}_in_f32.npz", "--test_reference", "top.npz", "--tolerance", TOLERANCE,
        "--model", f"{graph.tower}{SUFFIX}",
    )  # fmt: skip
    return scratch / f"{graph.tower}{SUFFIX}", scratch / f"{graph.tower}_{CHIP}_{QUANTIZE.lower()}_final.mlir"


def _save_projection(graph: Graph, folder: Path) -> None:
    """Put the text's projection into *folder*; a picture's is in its bmodel."""
    if graph.tower is Tower.TEXT:
        matrix, bias = unpooled.projection(graph.source.model())
        np.savez(folder / PROJECTION, matrix=matrix, bias=bias)
