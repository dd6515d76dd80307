"""What the figures of a cell stand on: the boundary of its calls, and the work that each has to do at least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clip_bench import machine
from clip_bench.backends import Arrays
from clip_bench.evaluation import feeds, reference_of, source, usual
from clip_bench.models import towers, weights
from clip_bench.record import Boundary, Work
from clip_bench.settings import Settings
from clip_bench.specs import Case, Inputs, Rewrite, Tower
from clip_bench.store import Artifact
from clip_bench.timing import lessened, roofline

INSIDE_CLOCK = ("host to device", "inference", "device to host")


def of(
    case: Case, settings: Settings, artifact: Artifact, given: Sequence[Arrays], options: Mapping[str, str]
) -> Boundary:
    """The boundary of *case*, which is loaded from *artifact*, *given* its calls, and whose runtime was told *options*."""
    asked, rewrites, lengths = case.variant.load, case.variant.rewrites, sorted(set(_lengths(given)))
    copied = ("copy of the inputs",) if asked.inputs is Inputs.FRESH else ()
    return Boundary(
        tower=case.tower,
        batch=case.variant.batch,
        texts=towers.PAIR_TEXTS if case.tower is Tower.PAIR else 0,
        sequence=max(_lengths(usual(given)), default=0),
        image_size=0 if case.tower is Tower.TEXT else case.model.image_size,
        inside_clock=(*copied, *INSIDE_CLOCK),
        threads=settings.threads,
        weights_sha256=source(settings, case.model).sha256(),
        recipe=artifact.key,
        data_sha256=feeds(settings, case.model).sha256,
        reference_sha256=reference_of(settings, case.model).artifact.sha256,
        runtimes=machine.runtimes(),
        options=_without_paths(options),
        load=asked.pattern,
        instances=asked.instances,
        device_ids=asked.device_ids,
        queue=asked.queue,
        inputs=asked.inputs,
        rewrites=tuple(map(str, rewrites)),
        lengths=tuple(lengths) if Rewrite.TRIMMED in rewrites else (),
        pixels="uint8" if Rewrite.FOLDED in rewrites else "float32",
    )


def work(case: Case, given: Sequence[Arrays]) -> Work | None:
    """What one timed call of *case*, *given* its calls, has to do at least; None where its model has no closed form."""
    config = weights.config(case.model)
    if config is None:
        return None
    return lessened.work(
        roofline.architecture(config),
        case.tower,
        case.precision,
        case.variant.rewrites,
        tokens=max(_lengths(usual(given)), default=0),
        batch=case.variant.batch,
        texts=towers.PAIR_TEXTS,
    )


def _lengths(given: Sequence[Arrays]) -> tuple[int, ...]:
    """The tokens of each of *given*; empty where there is no text."""
    return tuple(call["tokens"].shape[1] for call in given if "tokens" in call)


def _without_paths(options: Mapping[str, str]) -> dict[str, str]:
    """Of an absolute path its last part alone: it names the machine's owner, and no setting that compares."""
    return {key: Path(value).name if Path(value).is_absolute() else value for key, value in options.items()}
