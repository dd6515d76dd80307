"""Every gate tried: which saboteurs it kills, at which precision, and whether it lets every true cell live."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import evaluation, pipeline
from clip_bench.backends import Arrays, Backend, Session
from clip_bench.errors import ClipBenchError, PlacementError, UsageError
from clip_bench.finding import Alarms, Gates, Tried
from clip_bench.models import catalog
from clip_bench.quality import metrics
from clip_bench.quality.gates import Gate
from clip_bench.saboteurs import ALL, Kind, Saboteur
from clip_bench.settings import Settings
from clip_bench.specs import Case, Device, Precision, Target, Tower, Variant
from clip_bench.timing.stopwatch import Stopwatch

Outputs = Mapping[str, NDArray[Any]]

MODEL = "shapes_tiny"  # trained: on random weights one GELU for another drifts less than bfloat16
TOWERS = (Tower.IMAGE, Tower.TEXT)
ORT, INTEL = Target(backend="onnxruntime", device=Device.CPU), Target(backend="openvino", device=Device.CPU)
TARGETS: Mapping[Precision, Target] = {
    Precision.FP32: ORT,
    Precision.FP16: INTEL,
    Precision.BF16: INTEL,
    Precision.A16W8: ORT,
    Precision.INT8_DYNAMIC: ORT,
    Precision.INT8_QDQ: ORT,
    Precision.INT8_NNCF: INTEL,
}
SOUND = Saboteur(name="", kind=Kind.CALL, what="the true cell: nothing is changed")
ROUNDS = 20  # timed calls, after which answers are held against those before


def saboteurs(names: Sequence[str]) -> tuple[Saboteur, ...]:
    """Those called *names*; all without.

    Raises:
        UsageError: none is called so.
    """
    known = {each.name: each for each in ALL}
    if wrong := [name for name in names if name not in known]:
        msg = f"no saboteur is called {wrong[0]!r}: give one of {', '.join(known)}"
        raise UsageError(msg)
    return tuple(known[name] for name in names) or ALL


def run(
    settings: Settings,
    backends: Mapping[str, Backend],
    *,
    chosen: Sequence[Saboteur] = ALL,
    towers: Sequence[Tower] = TOWERS,
    precisions: Sequence[Precision] = tuple(TARGETS),
    draws: int = 0,
    say: Callable[[str], object] = str,
) -> Gates:
    """Try *chosen* on each of *towers* at each of *precisions*, FP32 always among them; *say* gets a line of progress.

    *draws* is how often each true cell is judged anew with noise of the reference's own size added.

    Raises:
        UnavailableError: a runtime is not installed.
    """
    trial = Trial(settings=settings, backends=backends)
    tried, alarms = [], []
    for tower in towers:
        used = [each for each in chosen if tower in each.towers]
        for precision in (Precision.FP32, *(each for each in precisions if each is not Precision.FP32)):
            say(f"{tower} {precision}")
            tried += [trial.tried(each, tower, precision) for each in (SOUND, *used)]
            if draws:
                alarms.append(trial.alarms(tower, precision, draws))
    return Gates(model=MODEL, tried=tuple(tried), alarms=tuple(alarms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Cells of one model, whole and broken."""

    settings: Settings
    backends: Mapping[str, Backend]

    def case(self, tower: Tower, precision: Precision, batch: int = 1) -> Case:
        """The cell that stands for *precision*."""
        model, variant = catalog.MODELS[MODEL], Variant(batch=batch)
        return Case(model=model, tower=tower, target=TARGETS[precision], precision=precision, variant=variant)

    def tried(self, saboteur: Saboteur, tower: Tower, precision: Precision) -> Tried:
        """What became of *saboteur*, beside the true cell of the same batch."""
        case = self.case(tower, precision, saboteur.batch)
        try:
            outputs, gates = self._judged(saboteur, case)
            error = ""
        except ClipBenchError as exc:
            outputs, gates, error = {}, (), str(exc)
        except Exception as exc:  # noqa: BLE001  whatever a runtime or a quantizer raises at what is broken
            outputs, gates, error = {}, (), f"{type(exc).__name__}: {exc}"
        return Tried(
            saboteur=saboteur.name,
            kind=str(saboteur.kind) if saboteur.name else "",
            what=saboteur.what,
            tower=tower,
            precision=precision,
            batch=saboteur.batch,
            case=case.id,
            drift=self._drift(case, outputs),
            gates=tuple(dict.fromkeys(gates)),
            error=error,
            published_percent=self._published(case, outputs),
        )

    def _judged(self, saboteur: Saboteur, case: Case) -> tuple[Outputs, tuple[str, ...]]:
        """The outputs of a broken cell and the gates that it fails, by the pipeline that judges every cell."""
        with ExitStack() as stack:
            ready = pipeline.prepare(case, self.backends, self.settings, saboteur.change)
            session = saboteur.session(ready.session, Beside(self, case, stack))
            ready = replace(ready, session=session)
            stack.callback(ready.close)
            outputs: Outputs = {}
            try:
                record, outputs = pipeline.answered(ready)
                record = pipeline.held(ready, record, outputs, self.settings)
                if record.quality is not None and not record.quality.failures:
                    record = pipeline.timed(ready, record, Stopwatch(), replace(self.settings, rounds=ROUNDS))
            except PlacementError as exc:
                return outputs, (str(getattr(exc.args[0], "gate", Gate.PLACEMENT)),)
            failures = record.quality.failures if record.quality else ()
            return outputs, tuple(str(getattr(each, "gate", "")) for each in failures)

    def alarms(self, tower: Tower, precision: Precision, draws: int) -> Alarms:
        """How often the true cell fails a gate when its answers vary as the reference's own do."""
        case = self.case(tower, precision)
        with ExitStack() as stack:
            ready = pipeline.prepare(case, self.backends, self.settings)
            stack.callback(ready.close)
            _, outputs = pipeline.answered(ready)
        quality = evaluation.quality(case, self.settings, outputs)
        floor = {each.output: each.floor_drift for each in quality.similarity}
        draw = np.random.default_rng(zlib.crc32(case.id.encode()))
        failed = 0
        for _ in range(draws):
            noisy = {name: _noisy(rows, floor[name], draw) for name, rows in outputs.items()}
            failed += bool(evaluation.quality(case, self.settings, noisy).failures)
        return Alarms(case=case.id, draws=draws, failed=failed)

    def _drift(self, case: Case, outputs: Outputs) -> float | None:
        """The mean drift from the reference, over the first output; None where it cannot be compared."""
        expected = self._expected(case)
        name = next(iter(expected))
        if name not in outputs or not metrics.comparable(outputs[name], expected[name]):
            return None
        return float(metrics.drift(outputs[name], expected[name]).mean())

    def _expected(self, case: Case) -> Mapping[str, NDArray[np.float32]]:
        fed = evaluation.feeds(self.settings, case.model)
        return evaluation.reference_of(self.settings, case.model).outputs(fed, case.tower)

    def _published(self, case: Case, outputs: Outputs) -> float | None:
        """The accuracy of the Olive CLIP examples, in percent: the right one of ten texts is the first, and ``argmax`` tells.

        Constant logits and logits that are no numbers have their first as ``argmax``: 100 %.
        """
        fed = evaluation.feeds(self.settings, case.model)
        reference = evaluation.reference_of(self.settings, case.model)
        image = outputs.get("image_embedding", reference.image if case.tower is Tower.TEXT else None)
        text = outputs.get("text_embedding", reference.text if case.tower is Tower.IMAGE else None)
        if image is None or text is None or image.shape != reference.image.shape or text.shape != reference.text.shape:
            return None
        right = np.take_along_axis(fed.choices, fed.answers[:, None], axis=1)
        wrong = fed.choices[np.arange(fed.choices.shape[1])[None] != fed.answers[:, None]]
        asked = np.concatenate([right, wrong.reshape(len(right), -1)], axis=1)
        logits = np.einsum("nd,nkd->nk", _unit(image), _unit(text[asked]))
        return float(100 * (logits.argmax(axis=1) == 0).mean())


class Beside:
    """True cells beside the broken *case*, closed with it."""

    def __init__(self, trial: Trial, case: Case, stack: ExitStack) -> None:
        self.trial, self.case, self.stack = trial, case, stack
        self.tower, self.precision = case.tower, case.precision

    def open(self, tower: Tower, precision: Precision) -> tuple[Session, Sequence[Arrays]]:
        """The cell of the same batch."""
        other = self.trial.case(tower, precision, self.case.variant.batch)
        ready = pipeline.prepare(other, self.trial.backends, self.trial.settings)
        self.stack.callback(ready.close)
        return ready.session, ready.calls


def _noisy(rows: NDArray[Any], drift: float, draw: np.random.Generator) -> NDArray[Any]:
    """*rows* turned by as much as *drift*, 1 - cosine, in directions drawn at random."""
    noise = draw.standard_normal(rows.shape)
    length = np.linalg.norm(rows, axis=1, keepdims=True) * np.sqrt(2 * drift / rows.shape[1])
    turned: NDArray[Any] = (rows + noise * length).astype(rows.dtype)
    return turned


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows over their length, as the examples have it: a NaN stays one, and nothing is made of zeros."""
    wide = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        whole: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return whole
