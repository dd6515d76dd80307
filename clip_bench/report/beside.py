"""What commands measured beside the matrix, on the pages: each finding's own tables, the newest of what is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clip_bench.finding import Embedding, Finding, Indexing, Preprocessing, Retrieval
from clip_bench.report import embedding, indexing, preprocessing, retrieval
from clip_bench.report.figures import clean, linked, witnessed

HEADINGS = ("Embedding a folder", "Preprocessing", "Indexing", "Performance")


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
    embedded = []
    for each in newest(findings):
        source = f"From {linked(each.name)}, measured {clean(each.datetime[:10])}, witness {witnessed(each.head)}."
        match each.told:
            case Embedding():
                embedded.append((source, each.told))
            case Preprocessing():
                parts["Preprocessing"] += [source, preprocessing.page(each.told)]
            case Indexing():
                parts["Indexing"] += [source, indexing.page(each.told)]
            case Retrieval():
                parts["Performance"] += [source, retrieval.page(each.told)]
    if embedded:
        told = [embedding.page([one for _, one in embedded]), " ".join(source for source, _ in embedded)]
        parts["Embedding a folder"] += told
    return parts
