"""VACC cards through VastStreamX: a stream per tower, as the vendor's public CLIP sample builds it.

The suite's picture is normalised already, so it enters where the sample's leaves ``opf_normalize``: as float16, which
is what that operator puts out. The card's own ``opf_space_to_depth_out_matrix`` then lays its patches out for the
model. To undo the normalisation on the host and let the card redo it would round to 8 bits in between. Inside the
clock are the cast to float16, the token vectors, the transfers, that operator, the model, and a pair's logits.

Sources: Vastai/VastStreamX-Samples, common/{clip_image,clip_text,space_to_depth_op,model_profiler}.py and
samples/card_info; Vastai/VastModelZOO, vlm/clip, which compiles CLIP in fp16 alone, so no other precision is offered.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.errors import PlacementError, UnavailableError, UsageError
from clip_bench.graphs import vacc
from clip_bench.specs import Device, Format, Precision, Target, Tower
from clip_bench.store import Artifact

FORMAT = Format.VACC
NPU = Target(backend="vastai", device=Device.NPU)
TARGETS = {NPU: frozenset({Precision.FP16})}
OPERATOR = "opf_space_to_depth_out_matrix"
OPERATOR_FILE = "/opt/vastai/vaststreamx/data/elf/space_to_depth"  # where the vendor's installer puts it
IMPORTS = "vaststreamx"
NUMBERED = frozenset(TARGETS)
FIRST = "0"  # the die, unless the user names another
OPTIONS = {
    "vastai": {
        "models": "folder of the compiled models: MODEL-TOWER-fp16/mod.*, three files each",
        "hw_config": "hardware configuration file of the compiled models; none if absent",
        "space_to_depth": f"file of the operator {OPERATOR}; {OPERATOR_FILE} if absent",
        "device": f"number of the die to run on; {FIRST} if absent",
    }
}
PACKAGE = "install VastStreamX (vaststreamx-*.whl) with its driver: the vendor hands them out with a VACC card"
BROKEN = "vaststreamx is installed and does not load: install the driver and runtime of its version"
CARD = "no VACC card for VastStreamX: needs a VastAI card with its driver"

# space_to_depth_t: dimensions, layouts (0 plain, 1 the card's matrix) and types (0 float16) as 32-bit integers.
CONFIGURATION = struct.Struct("<23i")


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """The card of the die that the user chose, with the runtime's version, or what to install."""
    return {NPU: _found(settings.get(NPU.backend, {}).get("device", FIRST))}


def _found(number: str) -> Found:
    """The card of die *number*."""
    if find_spec("vaststreamx") is None:
        return Found(missing=PACKAGE)
    try:
        import vaststreamx as vsx
    except ImportError:
        return Found(missing=BROKEN)
    if not vsx.get_all_cards_count():
        return Found(missing=CARD)
    dies = {str(die.device_id): card.card_type for card in vsx.get_all_cards() for die in card.dies}
    if number not in dies:
        return Found(missing=f"no die {number}: give one of {', '.join(dies)} with --option vastai.device=N")
    return Found(device=f"{dies[number]}, die {number}, {_runtime()}")


def load(artifact: Artifact, target: Target, options: Options) -> VastAiSession:  # noqa: ARG001  the contract's signature
    """Build a stream for each tower on the die that the user chose.

    Raises:
        UnavailableError: no VastStreamX, no card, no such die, or the operator's file is missing.
        UsageError: the user names a file that is none.
        PlacementError: the die is there and cannot be chosen.
    """
    number = options.settings.get("device", FIRST) if options.device_id is None else str(options.device_id)
    if reason := _found(number).missing:
        raise UnavailableError(reason)
    import vaststreamx as vsx

    die = Die(vsx=vsx, number=int(number))
    die.enter()
    manifest = json.loads((artifact.path / vacc.NAME).read_text(encoding="utf-8"))
    hw_config = _file(options, "hw_config", "")
    told = {"device": number} | ({"hw_config": hw_config} if hw_config else {})
    towers: dict[Tower, Pictures | Texts] = {}
    if about := manifest.get(Tower.IMAGE):
        told["space_to_depth"] = _file(options, "space_to_depth", OPERATOR_FILE)
        operator = vsx.CustomOperator(op_name=OPERATOR, elf_file_path=told["space_to_depth"])
        stream = _stream(vsx, artifact, Tower.IMAGE, hw_config, [])
        towers[Tower.IMAGE] = Pictures(die=die, stream=stream, operator=operator, about=about)
    if about := manifest.get(Tower.TEXT):
        embedding = vsx.Operator.load_ops_from_json_file(str(artifact.path / vacc.EMBEDDING))
        stream = _stream(vsx, artifact, Tower.TEXT, hw_config, embedding)
        towers[Tower.TEXT] = Texts(die=die, stream=stream, about=about)
    return VastAiSession(die=die, towers=towers, logits=manifest.get("logits", {}), told=told)


def _file(options: Options, key: str, otherwise: str) -> str:
    """The file that the user names, else the one that serves otherwise; empty where there is none to name."""
    path = options.settings.get(key, otherwise)
    if path and not Path(path).is_file():
        msg = f"no file {Path(path).name} for VastStreamX: name it with --option vastai.{key}=FILE"
        raise UsageError(msg) if key in options.settings else UnavailableError(msg)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A model's stream, and what it was made of, which must live as long."""

    stream: Any
    parts: Sequence[Any]

    def run(self, die: Die, samples: Sequence[Sequence[Any]]) -> NDArray[np.float32]:
        """The embedding of each of *samples*, lists of tensors on the die: (n, width), float16 on the way."""
        outputs = self.stream.run_sync(samples)
        return np.stack([die.vsx.as_numpy(output[0]).astype(np.float32).ravel() for output in outputs])


def _stream(vsx: ModuleType, artifact: Artifact, tower: Tower, hw_config: str, before: Sequence[Any]) -> Stream:
    """The compiled model of *tower*, one row at a time, behind the operators *before* it."""
    model = vsx.Model(str(artifact.path / tower), 1, hw_config)
    operator = vsx.ModelOperator(model)
    graph = vsx.Graph(vsx.GraphOutputType.GRAPH_OUTPUT_TYPE_NCHW_DEVICE)
    graph.add_operators(*before, operator)
    stream = vsx.Stream(graph, vsx.StreamBalanceMode.RUN)
    stream.register_operator_output(operator)
    stream.build()
    return Stream(stream=stream, parts=(graph, *before, operator, model))


@dataclass(frozen=True, slots=True, kw_only=True)
class Die:
    """A chip of a card, by its number."""

    vsx: ModuleType
    number: int

    def enter(self) -> None:
        """Choose this die for the calling thread, which the runtime asks of every thread anew.

        Raises:
            PlacementError: the runtime does not let it.
        """
        if self.vsx.set_device(self.number) != 0:
            msg = f"VastStreamX does not let a thread choose die {self.number}, where the cell is to run"
            raise PlacementError(msg)

    def send(self, array: NDArray[np.generic]) -> Any:  # noqa: ANN401  the runtime's tensor, untyped
        """*array* as a tensor on this die."""
        return self.vsx.from_numpy(np.ascontiguousarray(array), self.number)

    def told(self) -> str:
        """The card that this die is on, as the runtime tells now, and what the die's memory holds.

        Raises:
            PlacementError: no card has this die any more.
        """
        for card in self.vsx.get_all_cards():
            if self.number in {die.device_id for die in card.dies}:
                used_mib = self.vsx.Die(self.number).memory["used"] / 2**20
                return f"{card.card_type}, die {self.number}, {used_mib:.0f} MiB of its memory in use"
        msg = f"VastStreamX tells of no card with die {self.number}, where the cell is to run"
        raise PlacementError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The image tower: ``about`` tells the size, the patch, and the rows and columns of their matrix."""

    die: Die
    stream: Stream
    operator: Any
    about: Mapping[str, int]

    def embed(self, pictures: NDArray[np.generic]) -> NDArray[np.float32]:
        """Normalised pictures (n, 3, h, w) to embeddings (n, width)."""
        return self.stream.run(self.die, [[self._matrix(picture)] for picture in pictures])

    def _matrix(self, picture: NDArray[np.generic]) -> Any:  # noqa: ANN401  the runtime's tensor, untyped
        """*picture* as the card's matrix of float16 patches, laid out on the card."""
        aligned = [self.about["rows"], self.about["columns"]]
        (matrix,) = self.operator.run_sync(
            tensors=[self.die.send(picture.astype(np.float16))],
            config=configuration(picture.shape, self.about["patch"], aligned),
            output_info=[(aligned, self.die.vsx.TypeFlag.FLOAT16)],
        )
        return matrix


def configuration(shape: Sequence[int], patch: int, aligned: Sequence[int]) -> bytes:
    """The operator's ``space_to_depth_t`` for a float16 picture of *shape* (c, h, w) and an output *aligned* so."""
    c, h, w = shape
    read = (4, 1, c, h, w, 1, c, h, w, 0, 0)  # dimensions, aligned dimensions, layout, type
    rows = (2, (h // patch) * (w // patch), c * patch * patch, 0, 0, *aligned, 0, 0, 1)
    return CONFIGURATION.pack(*read, patch, patch, *rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The text tower: ``about`` tells the context and the length of its vectors."""

    die: Die
    stream: Stream
    about: Mapping[str, int]

    def embed(self, tokens: NDArray[np.generic]) -> NDArray[np.float32]:
        """Token ids (n, context) to embeddings (n, width)."""
        samples = [vectors(row, self.about["length"]) for row in tokens]
        return self.stream.run(self.die, [[self.die.send(vector) for vector in sample] for sample in samples])


def vectors(tokens: NDArray[np.generic], length: int) -> list[NDArray[np.int32]]:
    """The six int32 vectors that the sample feeds a row of ids as: ids, 0, 0, mask up to the end token, 0, 0.

    The end token is the largest id, as CLIP's own pooling has it.
    """
    ids = np.zeros(length, np.int32)
    ids[: len(tokens)] = tokens
    mask = (np.arange(length) <= tokens.argmax()).astype(np.int32)
    nothing = np.zeros_like(ids)
    return [ids, nothing, nothing, mask, nothing, nothing]


@dataclass(frozen=True, slots=True, kw_only=True)
class VastAiSession:
    """The towers of an artifact on one die; ``logits`` holds a pair's scale and bias."""

    die: Die
    towers: dict[Tower, Pictures | Texts]
    logits: Mapping[str, float]
    told: Mapping[str, str]

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run each tower on what it is fed; outputs are float32 on the host."""
        self.die.enter()
        names = {Tower.IMAGE: "image", Tower.TEXT: "tokens"}
        found = {tower: part.embed(feeds[names[tower]]) for tower, part in self.towers.items()}
        outputs: dict[str, NDArray[np.generic]] = {f"{tower}_embedding": rows for tower, rows in found.items()}
        if self.logits:
            image, text = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in found.values())
            outputs["logits"] = (self.logits["scale"] * image @ text.T + self.logits["bias"]).astype(np.float32)
        return outputs

    def placement(self) -> Placement:
        """The card, by its own word. VastStreamX tells of no nodes, and has nowhere else to run them."""
        self.die.enter()
        note = f"{self.die.told()}, {_runtime()}; the runtime tells no nodes; the model is the user's own compilation"
        note += "; two streams, not one graph, and the host computes the logits" if self.logits else ""
        return Placement(nodes={}, dtypes={}, asked="VACC", note=note, options=self.told)

    def close(self) -> None:
        """Let go of streams and models, which the runtime frees with their last reference."""
        self.towers.clear()


def _runtime() -> str:
    try:
        return f"vaststreamx {version('vaststreamx')}"
    except PackageNotFoundError:
        return "vaststreamx of unknown version"
