"""A tower for VACC cards: the user's compiled model, and what VastStreamX needs to know beside it.

Only the vendor's compiler, vamc, makes a model for the card, and it comes with the card. So the user compiles each
tower's ONNX file, as Vastai/VastModelZOO's vlm/clip does (``tvm_vacc``, ``fp16``, ``data_transport_mode: 1``, the
input of one row), and names the folder of the results with ``--option vastai.models=DIR``. There each has a folder
NAME-TOWER-PRECISION, such as ``vit_b_32_openai-image-fp16``, with the three files of the prefix ``mod``. A pair is
both towers: the vendor fuses none, and computes its scores on the host.

The artifact holds those files, the tower's name in the place of ``mod``, so that its hash and size are theirs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.graphs import Graph, no_recipe, onnx_file
from clip_bench.specs import Format, Precision, Tower
from clip_bench.store import Artifact, sha256_file

if TYPE_CHECKING:
    import onnx

NAME = "vacc.json"
EMBEDDING = "embedding.json"
PREFIX = "mod"
SUITE = 3  # files to a compiled model
ALIGNED = 16  # rows of a matrix and lengths of a vector: 77 tokens travel as 80, 49 patches as 64
CHANNELS = 4  # that a matrix has columns for: 3·32·32 values travel as 4096, 3·14·14 as 784, 3·16·16 as 1024

Details = Mapping[str, int | float]


def build(graph: Graph, precision: Precision) -> Artifact:
    """The compiled models of *graph*'s towers, with the manifest ``vacc.json`` and the embedding's operator file.

    The manifest tells, per tower, ``size``, ``patch``, ``rows`` and ``columns`` of the picture's matrix, or
    ``context`` and ``length`` of the token vectors; and for a pair ``scale`` and ``bias`` of its ``logits``.

    Raises:
        UnavailableError: the user named no compiled model for a tower; the message says what to compile.
        UnsupportedError: no public sample feeds such a tower, or no recipe makes *precision*.
    """
    if precision is not Precision.FP16:
        raise no_recipe(precision, Format.VACC)
    manifest: dict[str, Details] = {}
    files: dict[str, Path] = {}
    parents = []
    for tower in (Tower.IMAGE, Tower.TEXT) if graph.tower is Tower.PAIR else (graph.tower,):
        part = replace(graph, tower=tower, batch=1)
        parents.append(onnx_file.build(part, Precision.FP32))
        manifest[tower] = _described(part, parents[-1])
        files |= _compiled(part, precision, parents[-1])
    if graph.tower is Tower.PAIR:
        manifest["logits"] = _logits(graph)
    recipe = {
        "step": "vacc",
        "parents": [parent.key for parent in parents],
        "manifest": manifest,
        "files": {name: sha256_file(path) for name, path in files.items()},
    }

    def make(folder: Path) -> None:
        (folder / NAME).write_text(json.dumps(manifest), encoding="utf-8")
        (folder / EMBEDDING).write_text(json.dumps({"OpType": "BERT_EMBEDDING_OP"}), encoding="utf-8")
        for name, path in files.items():
            shutil.copyfile(path, folder / name)

    return graph.store.get(recipe, make, parents[-1])


def _compiled(graph: Graph, precision: Precision, parent: Artifact) -> dict[str, Path]:
    """The files that the user compiled for *graph*, by the name that the artifact gives them."""
    home = f"{graph.source.spec.name}-{graph.tower}-{precision}"
    named = graph.settings.get("models")
    found = sorted(Path(named, home).glob(f"{PREFIX}.*")) if named else []
    if len(found) < SUITE:
        source = Path(*parent.path.parts[-2:], onnx_file.NAME).as_posix()
        msg = (
            f"no compiled model for VACC: compile {source} of the cache with the vendor's vamc to {home}/{PREFIX} "
            f"({SUITE} files), and name the folder of {home} with --option vastai.models=DIR"
        )
        raise UnavailableError(msg)
    return {f"{graph.tower}{path.name.removeprefix(PREFIX)}": path for path in found}


def _described(graph: Graph, parent: Artifact) -> Details:
    """What the card takes for the tower in *parent*, an ONNX file of one row."""
    import onnx

    model = onnx.load(parent.file(onnx_file.NAME), load_external_data=False).graph
    if graph.tower is Tower.TEXT:
        if not any(node.op_type == "ArgMax" for node in model.node):
            msg = "VastStreamX marks a text's end token for the model, and this tower does not answer from there"
            raise UnsupportedError(msg)
        return {"context": graph.source.spec.context, "length": _aligned(graph.source.spec.context)}
    size, patch = graph.source.spec.image_size, _patch(model)
    rows, columns = matrix(size, patch)
    return {"size": size, "patch": patch, "rows": rows, "columns": columns}


def matrix(size: int, patch: int) -> tuple[int, int]:
    """Rows and columns of the card's matrix for a square picture of *size* cut into patches, both in pixels."""
    return _aligned((size // patch) ** 2), CHANNELS * patch * patch


def _patch(model: onnx.GraphProto) -> int:
    """The side of the square patches that the first convolution of *model* cuts the picture into, in pixels."""
    for node in model.node:
        if node.op_type == "Conv" and node.input[0] == model.input[0].name:
            shape = {attribute.name: tuple(attribute.ints) for attribute in node.attribute}
            if shape["kernel_shape"] == shape["strides"] and len(set(shape["strides"])) == 1:
                return int(shape["strides"][0])
    msg = "VastStreamX cuts a picture into patches for the model, and this tower does not begin with a patch embedding"
    raise UnsupportedError(msg)


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


def _logits(graph: Graph) -> Details:
    """Scale and bias of a pair's logits, which the host computes."""
    model = graph.source.model()
    bias = getattr(model, "logit_bias", None)
    return {"scale": float(model.logit_scale.detach().exp()), "bias": 0.0 if bias is None else float(bias.detach())}
