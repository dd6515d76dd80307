"""What commands measured beside the matrix, on the pages: each finding's own tables, the newest of what is alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clip_bench.answered import Evaluation, Scoring
from clip_bench.errors import UsageError
from clip_bench.finding import Embedding, Finding, Gates, Indexing, Preprocessing, Retrieval
from clip_bench.report import embedding, indexing, kills, preprocessing, retrieval, zero_shot
from clip_bench.report.figures import clean, linked, witnessed

UNSHOWN = (ArithmeticError, LookupError, ValueError, AttributeError)  # the last of statistics.stdev, at infinity
HEADINGS = ("Gates", "Zero-shot", "Which label fits", "Embedding a folder", "Preprocessing", "Indexing", "Performance")

PAGES: Mapping[type, tuple[str, Callable[[Any], str]]] = {  # those that each stand alone
    Gates: ("Gates", kills.page),
    Scoring: ("Which label fits", zero_shot.scored),
    Preprocessing: ("Preprocessing", preprocessing.page),
    Indexing: ("Indexing", indexing.page),
    Retrieval: ("Performance", retrieval.page),
}


def newest(findings: Sequence[Finding]) -> list[Finding]:
    """Of those about the same thing, the newest; newest first."""
    ordered = sorted(findings, key=lambda each: (each.datetime, each.name), reverse=True)
    kept: dict[object, Finding] = {}
    for each in ordered:
        kept.setdefault((each.told.kind, each.told.about), each)
    return list(kept.values())


def sections(findings: Sequence[Finding]) -> Mapping[str, list[str]]:
    """The parts under each of :data:`HEADINGS`, of *findings* of one machine."""
    parts: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    embedded: list[tuple[str, Embedding]] = []
    evaluated: list[tuple[str, Evaluation]] = []
    for each in newest(findings):
        source = f"From {linked(each.name)}, measured {clean(each.datetime[:10])}, witness {witnessed(each.head)}."
        match each.told:
            case Embedding():
                embedded.append((source, each.told))
            case Evaluation():
                evaluated.append((source, each.told))
            case told:
                heading, page = PAGES[type(told)]
                parts[heading] += [source, _made(page, each)]
    if evaluated:
        parts["Zero-shot"] += [zero_shot.evaluated([told for _, told in evaluated]), _sources(evaluated)]
    if embedded:
        parts["Embedding a folder"] += [embedding.page([told for _, told in embedded]), _sources(embedded)]
    return parts


def _made(page: Callable[[Any], str], finding: Finding) -> str:
    """The page of *finding*.

    Raises:
        UsageError: its values make no figures: lists of unlike lengths, or empty ones, nothing to divide by.
    """
    try:
        return page(finding.told)
    except UNSHOWN as exc:
        msg = f"{finding.name}: its values make no figures ({type(exc).__name__}: {exc}); measure it again, or take it away"
        raise UsageError(msg) from exc


def _sources(several: Sequence[tuple[str, object]]) -> str:
    return " ".join(source for source, _ in several)
