"""Which cells there are, the same on every machine, and what this machine lacks to run each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec

from clip_bench import graphs
from clip_bench.backends import Backend, format_of, found, options_of, rewrites_of, targets_of, variants_of
from clip_bench.errors import UsageError
from clip_bench.models import catalog, weights
from clip_bench.options import DEFAULT_MODELS
from clip_bench.settings import Settings
from clip_bench.specs import Case, Device, Load, ModelSpec, Precision, Target, Tower, Variant

STATIC = frozenset({Precision.INT8_QDQ, Precision.A16W8, Precision.INT8_NNCF})  # what is calibrated


def models(settings: Settings) -> list[ModelSpec]:
    """The models that a run is about: those named, else every one with ``--full``, else the default two.

    Raises:
        UsageError: no such model, or two that a cell's id would not tell apart.
    """
    if settings.models:
        chosen = list(dict.fromkeys(catalog.find(name) for name in settings.models))
        for name, count in Counter(spec.name for spec in chosen).items():
            if count > 1:
                msg = f"{count} of the models given would be called {name}; rename a weights file, or run one at a time"
                raise UsageError(msg)
        return chosen
    return [spec for name, spec in catalog.MODELS.items() if settings.full or name in DEFAULT_MODELS]


def cells(settings: Settings, backends: Mapping[str, Backend]) -> Iterator[Case]:
    """Every cell that some machine could run, the same on every machine, in a stable order.

    Raises:
        UsageError: a model cannot be used, an option belongs to nobody, or a backend offers a target that is not its
            own.
    """
    _refuse_strange(settings, backends)
    offers = [
        (
            target,
            {
                Variant(): precisions,
                **variants_of(backend, target),
                **_calibrated(settings, backend, target),
                **_rewritten(settings, backend, target),
            },
        )
        for backend in backends.values()
        for target, precisions in targets_of(backend, settings.by_name).items()
    ]
    for spec in models(settings):
        for tower in Tower:
            for target, offered in offers:
                for variant, allowed in offered.items():
                    if not all(rewrite.touches(tower) for rewrite in variant.rewrites):
                        continue
                    for precision in (p for p in Precision if p in allowed):
                        case = Case(model=spec, tower=tower, target=target, precision=precision, variant=variant)
                        if settings.full or not _heavy(case):
                            yield from _loaded(case, settings)


def _loaded(case: Case, settings: Settings) -> Iterator[Case]:
    """*case* at every batch and under every load that the user asks for; what is never timed has no load."""
    for load in settings.loads if case.target.device.hardware else (Load(),):
        for batch in settings.batches_of(case.tower):
            yield replace(case, variant=replace(case.variant, batch=batch, load=load))


def _refuse_strange(settings: Settings, backends: Mapping[str, Backend]) -> None:
    """Raise for what belongs to nobody: a target of another backend's name, or an option that none takes."""
    known: dict[str, set[str]] = {}
    for name, backend in backends.items():
        offered = targets_of(backend, settings.by_name)
        if strange := [str(target) for target in offered if target.backend != name]:
            msg = f"the backend {name} offers targets of another name, {', '.join(strange)}; mend or uninstall it"
            raise UsageError(msg)
        for owner, keys in options_of(backend).items():
            known.setdefault(owner, set()).update(keys)
    for owner, key, _ in settings.options:
        if key not in known.get(owner, ()):
            takes = ", ".join(f"{name}.{each}" for name in sorted(known) for each in sorted(known[name])) or "none"
            msg = f"--option {owner}.{key}: no backend takes it; there are {takes}"
            raise UsageError(msg)


def _calibrated(settings: Settings, backend: Backend, target: Target) -> Mapping[Variant, frozenset[Precision]]:
    """The variants that ``--calibration`` adds where a recipe takes the method."""
    methods = graphs.CALIBRATED.get(format_of(backend, target), frozenset())
    static = targets_of(backend, settings.by_name)[target] & STATIC
    given = [text for text in settings.calibrations if text.rpartition("_")[0] in methods]
    return {Variant(calibration=text): static for text in given}


def _rewritten(settings: Settings, backend: Backend, target: Target) -> Mapping[Variant, frozenset[Precision]]:
    """The variants that ``--rewrite`` adds where the backend takes all that is asked for at once."""
    takes = rewrites_of(backend, target)
    chosen = [rewrites for rewrites in settings.rewrites if set(rewrites) <= set(takes)]
    return {
        Variant(rewrites=rewrites): frozenset.intersection(*map(takes.__getitem__, rewrites)) for rewrites in chosen
    }


def _heavy(case: Case) -> bool:
    """Minutes for one cell, so only with ``--full``: of a full-size model, or of an emulator with eleven inputs."""
    if case.model.weights.kind == "embedded":
        return case.target.device is Device.EMULATED and case.tower is Tower.PAIR
    varied = case.variant.compiled or case.variant.cuda_graphs  # half_io may be all the fp16 that a target has
    untimed = not case.target.device.hardware
    return untimed or case.tower is Tower.PAIR or case.precision is Precision.A16W8 or varied


def lacking(settings: Settings, backends: Mapping[str, Backend]) -> Callable[[Case], str]:
    """A function that says what this machine lacks to run a case, as far as is known without loading it.

    Each backend is asked once; empty means that nothing is missing.
    """
    here = {
        target: state for backend in backends.values() for target, state in found(backend, settings.by_name).items()
    }
    absent = {target: state.missing for target, state in here.items()}
    return lambda case: absent.get(case.target, "") or no_reference() or weights.here(case.model, settings.weights)


def no_reference() -> str:
    """What the FP32 reference lacks, which every cell is held against; empty where it can be computed."""
    return (
        "" if find_spec("open_clip") else "the reference needs PyTorch and open_clip: pip install 'clip-bench[torch]'"
    )
