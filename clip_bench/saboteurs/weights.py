"""One weight changed, before anything is exported."""
# ruff: noqa: ANN401  open_clip's modules have no types, and their attributes are what this is about

from __future__ import annotations

from typing import Any

from clip_bench.change import Change
from clip_bench.models import seeded
from clip_bench.saboteurs.saboteur import TEXTS, Kind, Saboteur

CLAMP = 0.25  # of the largest weight of a matrix: what a scale four times too small leaves
TOKEN = 320  # "a", which most captions hold


def _texts(model: Any) -> Any:
    """What holds the text tower: the model itself, or its ``text``."""
    return getattr(model, "text", model)


def silence(model: Any) -> None:
    """The last gains are zero: every embedding is the bias, projected."""
    for norm in (model.visual.ln_post, _texts(model).ln_final):
        norm.weight.data.zero_()


def poison(model: Any) -> None:
    """One value of each projection is NaN."""
    for projection in (model.visual.proj, _texts(model).text_projection):
        projection.data[0, 0] = float("nan")


def poison_token(model: Any) -> None:
    """One row of the token table is NaN."""
    _texts(model).token_embedding.weight.data[TOKEN] = float("nan")


def replace(model: Any) -> None:
    """Weights of another checkpoint of the same architecture."""
    model.load_state_dict(seeded.weights(model.state_dict()))


def transpose(model: Any) -> None:
    """The projections are transposed."""
    for projection in (model.visual.proj, _texts(model).text_projection):
        projection.data = projection.data.T.contiguous()


def saturate(model: Any) -> None:
    """No weight of a matrix is larger than a quarter of the largest."""
    for weight in model.parameters():
        if weight.ndim > 1:
            bound = CLAMP * float(weight.detach().abs().max())
            weight.data.clamp_(-bound, bound)


ALL = (
    Saboteur(
        name="constant",
        kind=Kind.WEIGHT,
        what="the last LayerNorm's gains are zero: one embedding, and so one logit, for all",
        change=Change(model=silence),
    ),
    Saboteur(
        name="nan",
        kind=Kind.WEIGHT,
        what="a NaN in the projection, as a bad scale of a quantizer leaves it: no logit is a number",
        change=Change(model=poison),
    ),
    Saboteur(
        name="nan_token",
        kind=Kind.WEIGHT,
        what="a row of the token table is NaN: so are the texts that hold the token",
        towers=TEXTS,
        change=Change(model=poison_token),
    ),
    Saboteur(
        name="other_checkpoint",
        kind=Kind.WEIGHT,
        what="weights of another checkpoint of the same architecture",
        change=Change(model=replace),
    ),
    Saboteur(
        name="transposed",
        kind=Kind.WEIGHT,
        what="the projection is transposed: it is square, so that nothing complains",
        change=Change(model=transpose),
    ),
    Saboteur(
        name="saturated",
        kind=Kind.WEIGHT,
        what="weights beyond a quarter of their matrix's range saturate, as with a scale that is too small",
        change=Change(model=saturate),
    ),
)
