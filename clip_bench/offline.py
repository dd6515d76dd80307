"""Compile for chips that are not here, and prove each file on the emulator that comes with the compiler."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clip_bench import pipeline
from clip_bench.backends import Options, onnxruntime, setting_of
from clip_bench.backends.onnxruntime import compile as compiling
from clip_bench.backends.onnxruntime import qnn
from clip_bench.settings import Settings
from clip_bench.specs import Case, Precision, Tower
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
    for spec in pipeline.models(settings):
        for precision in precisions:
            for tower in TOWERS:
                case = Case(model=spec, tower=tower, target=qnn.EMULATED, precision=Precision(precision))
                for chip in chips:
                    yield _one(case, settings, chip, out)


def _one(case: Case, settings: Settings, chip: str, out: Path) -> Compiled:
    """Compile, load and judge as the suite does a cell, and copy what was loaded."""
    settings = replace(settings, samples=settings.samples or SAMPLES, options=(*settings.options, ("qnn", "soc", chip)))
    prepared = pipeline.prepare(case, {case.target.backend: onnxruntime}, settings)
    try:
        quality = pipeline.judge(prepared, settings).quality
    finally:
        prepared.session.close()
    row = qnn.PROVIDERS[case.target]
    artifact = pipeline.build(case, row.format, settings)
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
