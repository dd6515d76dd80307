"""Which cells are put to use: one for pictures and one for texts, by the words of an id."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from clip_bench import matrix
from clip_bench.backends import Backend, format_of
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import catalog
from clip_bench.settings import Settings
from clip_bench.specs import BASELINE, Case, Format, Precision, Rewrite, Tower

MODEL = "shapes_tiny"
SHOWN = 6  # ids that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What encodes pictures, and what encodes texts: one pair cell, or one cell of each tower."""

    image: Case
    text: Case

    @property
    def name(self) -> str:
        """The one cell's id, or both."""
        alike = self.image == self.text or replace(self.image, tower=Tower.TEXT).id == self.text.id
        return self.image.id if alike else f"{self.image.id}, {self.text.id}"

    @property
    def marked(self) -> str:
        """The name, and whether the model has learnt anything: for people."""
        return self.name + self._mark

    @property
    def title(self) -> str:
        """What a row about both is called: what their ids share, each rewrite, and whether the model has learnt anything."""
        rewrites = {*self.image.variant.rewrites, *self.text.variant.rewrites}
        every = tuple(each for each in Rewrite if each in rewrites)
        image, text = (replace(case, variant=replace(case.variant, rewrites=every)) for case in (self.image, self.text))
        alike = replace(image, tower=Tower.TEXT).id == text.id
        return image.id.partition("-")[2] + self._mark if alike else self.marked

    @property
    def _mark(self) -> str:
        return "" if self.image.model.trained else " (random weights)"


def choose(
    settings: Settings, backends: Mapping[str, Backend], words: str, target: str, precision: str, *, here: bool = True
) -> Chosen:
    """The cells of one model whose ids have all *words*, joined by hyphens, and that *target* and *precision*.

    What is not said is the model shapes_tiny, PyTorch on the CPU, FP32, and no variant, as far as there is such a cell.
    How many samples a call has is said when a cell is opened.
    Where the words name one tower, the other one is the model's PyTorch in FP32 on the CPU. A rewrite that does not
    touch a tower is no word of its cell.

    Raises:
        UsageError: no cell has the words, or several have and nothing tells them apart.
        UnavailableError: this machine lacks what a cell takes, which matters where it is to run *here*.
    """
    asked = {word for word in words.split("-") if word}
    models = settings.models or tuple(asked & set(catalog.MODELS))
    rewrites = {tower: tuple(each for each in Rewrite if each in asked and each.touches(tower)) for tower in Tower}
    several = tuple(each for each in dict.fromkeys(rewrites.values()) if each)
    settings = replace(settings, models=(one_model(models),), full=True, rewrites=several, batches=(1,))
    every = [case for case in matrix.cells(settings, backends) if _answers(case, backends)]
    fitting = [
        case
        for case in every
        if asked - set(Rewrite) <= set(case.id.split("-"))
        and case.variant.rewrites == rewrites[case.tower]
        and target in {"", str(case.target)}
        and precision in {"", str(case.precision)}
    ]
    if not fitting:
        near = ", ".join(difflib.get_close_matches(words, [case.id for case in every], n=3)) or "none is like it"
        said = " ".join(filter(None, (words, target, precision)))
        msg = f"no cell of {settings.models[0]} is {said}: {near}; clip-bench list has all"
        raise UsageError(msg)
    towers = {Tower(word) for word in asked & set(Tower)}
    if Tower.PAIR in towers:
        one = _one(fitting, Tower.PAIR)
        chosen = Chosen(image=one, text=one)
    else:
        plain = [case for case in every if case.target == BASELINE and not case.variant.rewrites]
        image, text = (
            _one(fitting if not towers or tower in towers else plain, tower) for tower in (Tower.IMAGE, Tower.TEXT)
        )
        chosen = Chosen(image=image, text=text)
    if here:
        lacking = matrix.lacking(settings, backends)
        for case in (chosen.image, chosen.text):
            if reason := lacking(case):
                msg = f"{case}: {reason}"
                raise UnavailableError(msg)
    return chosen


def one_model(models: Collection[str]) -> str:
    """The one of *models*, or the default where there is none.

    Raises:
        UsageError: there are several.
    """
    if len(models) > 1:
        msg = f"one model answers, not {len(models)}: {', '.join(sorted(models))}"
        raise UsageError(msg)
    return next(iter(models), MODEL)


def _answers(case: Case, backends: Mapping[str, Backend]) -> bool:
    """Whether *case* can answer what nobody asked before, one request at a time."""
    return format_of(backends[case.target.backend], case.target) is not Format.REPLAY


def _one(cases: list[Case], tower: Tower) -> Case:
    """The cell of *tower*, the plainest where several fit."""
    left = [case for case in cases if case.tower is tower]
    plainer: list[Callable[[Case], bool]] = [
        lambda case: case.target == BASELINE,
        lambda case: case.precision is Precision.FP32,
        lambda case: case.id.count("-") == min(each.id.count("-") for each in left),
    ]
    for keep in plainer:
        left = [case for case in left if keep(case)] or left
    if len(left) == 1:
        return left[0]
    if not left:
        msg = f"no {tower} cell has these words, and both towers are needed; clip-bench list has all"
        raise UsageError(msg)
    shown = ", ".join(case.id for case in left[:SHOWN])
    msg = f"{len(left)} {tower} cells have these words: {shown}{', …' if len(left) > SHOWN else ''}; say one more"
    raise UsageError(msg)
