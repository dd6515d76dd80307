"""Compile for chips that are not here: Qualcomm's and SOPHON's, checked on an emulator, and NVIDIA's, unchecked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from clip_bench import loading, matrix, pipeline
from clip_bench.backends import Options, onnxruntime, setting_of, sophon
from clip_bench.backends.onnxruntime import compile as compiling
from clip_bench.backends.onnxruntime import qnn
from clip_bench.graphs import bmodel, trtrtx
from clip_bench.settings import Settings
from clip_bench.specs import Case, Device, Format, Precision, Target, Tower, Variant
from clip_bench.store import Store

SAMPLES = 8  # an inference takes the emulator seconds
TOWERS = (Tower.IMAGE, Tower.TEXT)  # as the published Qualcomm rows: each alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A folder with a model for a chip, and what the emulator made of it.

    ``contexts`` counts its EPContext nodes, ``compile_s`` is what the compiler took, ``cosines`` the mean cosine with
    the FP32 reference over ``samples`` evaluation samples by output, ``failures`` what the gate says.
    """

    folder: Path
    chip: str
    size_bytes: int
    compile_s: float
    contexts: int
    samples: int
    cosines: Mapping[str, float]
    failures: tuple[str, ...]

    def __str__(self) -> str:
        """One line."""
        cosines = ", ".join(f"{name} {cosine:.5f}" for name, cosine in self.cosines.items())
        verdict = "; ".join(self.failures) or "holds its floors"
        return (
            f"{self.folder}  {self.chip}, {self.size_bytes / 2**20:.1f} MiB in {self.compile_s:.1f} s, "
            f"{self.contexts} EPContext; on the emulator, mean cosine over {self.samples} samples: {cosines}: {verdict}"
        )


def for_chips(settings: Settings, chips: Sequence[str], precisions: Sequence[str], out: Path) -> Iterator[Compiled]:
    """The image and text towers of every model, at every precision, for every chip of Qualcomm's, under *out*.

    Raises:
        UsageError: nobody knows the chip's name.
        UnavailableError: the compiler, its emulator or the weights are not on this machine.
        UnsupportedError: the compiler knows no such chip, or refuses the graph.
        PlacementError: it left a part of the graph uncompiled.
    """
    for chip in chips:
        qnn.soc_model(chip)
    for case in _cases(settings, qnn.EMULATED, precisions):
        for chip in chips:
            yield _one(case, settings, chip, out)


def engines(settings: Settings, capabilities: Sequence[str], precisions: Sequence[str], out: Path) -> Iterator[str]:
    """Build TensorRT for RTX's engine of the image and text towers of every model, a line for each.

    That an engine is built is evidence that the graph compiles. It never ran: nothing is said of its answers.

    Raises:
        UnavailableError: no tensorrt-rtx, or it knows no such compute capability.
        UnsupportedError: it refuses the graph.
    """
    target = Target(backend="onnxruntime", provider="trtrtx", device=Device.GPU)
    for case in _cases(settings, target, precisions):
        half = replace(case, variant=Variant(half_io=case.precision is Precision.FP16))
        source = loading.build(half, Format.ONNX_GPU, settings)
        for capability in capabilities:
            folder = out / capability / f"{case.tower}-{case.model.name}-{case.precision}"
            engine = trtrtx.compiles(source.file(".onnx"), folder / "model.engine", capability)
            (folder / "evidence.json").write_text(json.dumps(asdict(engine), indent=1) + "\n", encoding="utf-8")
            size_mib = engine.size_bytes / 2**20
            yield f"{folder}  {capability}, {size_mib:.1f} MiB in {engine.build_s:.1f} s: compiles, never run"


def bmodels(settings: Settings, batches: Sequence[int], out: Path) -> Iterator[str]:
    """Compile the image tower, at each of *batches*, and the text tower of every model for BM1684X, a line for each.

    TPU-MLIR holds every tensor against the float graph's on its model of the chip, or makes nothing.

    Raises:
        UnavailableError: no interpreter with tpu_mlir is named.
        UnsupportedError: it refuses the graph.
        UsageError: a batch is none of SOPHON's.
    """
    for case in _cases(settings, sophon.EMULATED, [Precision.FP16]):
        graph = loading.graph_of(case, settings)
        for batch in batches if case.tower is Tower.IMAGE else [bmodel.TEXT_BATCH]:
            sized = {**graph.settings, "batch": str(batch)} if case.tower is Tower.IMAGE else graph.settings
            for path in bmodel.compile_offline([replace(graph, settings=sized)], out):
                yield f"{path}  {path.stat().st_size / 2**20:.1f} MiB"


def _cases(settings: Settings, target: Target, precisions: Sequence[str]) -> Iterator[Case]:
    """The towers of every model on *target*, at every precision."""
    for spec in matrix.models(settings):
        for precision in precisions:
            for tower in TOWERS:
                yield Case(model=spec, tower=tower, target=target, precision=Precision(precision))


def _one(case: Case, settings: Settings, chip: str, out: Path) -> Compiled:
    """Compile, load and judge as the suite does a cell, and copy what was loaded."""
    settings = replace(settings, samples=settings.samples or SAMPLES, options=(*settings.options, ("qnn", "soc", chip)))
    prepared = pipeline.prepare(case, {case.target.backend: onnxruntime}, settings)
    try:
        quality = pipeline.judge(prepared, settings).quality
    finally:
        prepared.session.close()
    row = qnn.PROVIDERS[case.target]
    artifact = loading.build(case, row.format, settings)
    options = Options(
        precision=case.precision,
        threads=settings.threads,
        store=Store(settings.cache),
        settings=setting_of(case.target, settings.by_name),
    )
    made = compiling.compiled(artifact, row, options)
    folder = out / chip / f"{case.tower}-{case.model.name}-{case.precision}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in made.path.iterdir():
        shutil.copy2(path, folder)
    similarity = quality.similarity if quality else ()
    return Compiled(
        folder=folder,
        chip=chip,
        size_bytes=made.size_bytes,
        compile_s=made.built_s - artifact.built_s,
        contexts=compiling.kinds(made.file(".onnx"))[compiling.COMPILED],
        samples=len(prepared.calls),
        cosines={each.output: each.mean for each in similarity},
        failures=quality.failures if quality else ("nothing was measured",),
    )
