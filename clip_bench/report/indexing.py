"""Documents into a vector database as tables: ms per document by the client's batch, and its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from clip_bench.finding import Added, Indexed, Indexing
from clip_bench.report.blocks import join
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis
from clip_bench.timing import steady

KINDS = {"image": "Image", "text": "Text"}
PARTS = ("fetch", "prepare", "encode", "write")
UNTIMED = ("text", "fetch")  # they come with the request
HEADS = (
    *("Model Name", "Documents", "CBS", "Batches", "Rows", "Fetch (ms)", "Prepare (ms)", "Encode (ms)", "Write (ms)"),
    *("First batch (ms)", "Steady after (batches)", "Recall@10", "Query (ms)"),
)
LEGEND = (
    "Indexing time is in ms per document: the median over the batches, of the seconds of one add_documents call over its "
    "documents. CBS is the client's batch size: so many documents are fetched, prepared, encoded by one call of the model, "
    "and written to LanceDB by one append. Pictures come over HTTP from a process on the same machine, texts with the "
    "request. {threads} threads fetch and prepare (decode and preprocess, or tokenize); the first batch, which is cold and "
    "makes the table, is among the batches; one without a good document is not. Recall@10 is the share of the 10 nearest "
    "pictures of a text, by numpy over all rows of the model, that the database's own search gives; ties are no errors."
)
RANDOM = "Random weights: their times are as good as any, what is found with them means nothing."


def page(told: Indexing) -> str:
    """Both tables, and what was left out."""
    sizes = sorted({each.batch for case in told.cases for each in case.added}, reverse=True)
    heads = ["Model Name", *(f"{kind} Indexing Time (CBS = {size})" for size in sizes for kind in KINDS.values())]
    rows = [[clean(case.title), *(_time(case, kind, size) for size in sizes for kind in KINDS)] for case in told.cases]
    return join(
        [
            markdown(heads, rows),
            LEGEND.format(threads=told.threads),
            markdown(HEADS, [row for case in told.cases for row in _parts(case)], left=2),
            RANDOM if any(case.random_weights for case in told.cases) else "",
            "\n".join(f"- left out: {clean(name)}: {clean(why)}" for name, why in told.left_out.items()),
        ]
    )


def _time(case: Indexed, kind: str, size: int) -> str:
    found = next((each for each in case.added if (each.documents, each.batch) == (kind, size)), None)
    return _ms(found.document_s) if found else ABSENT


def _ms(seconds: Sequence[float]) -> str:
    return millis(1e3 * median(seconds)) if seconds else ABSENT


def _parts(case: Indexed) -> Iterator[list[str]]:
    """The parts of a document's time; what each column has is per document, save those of a query."""
    for each in case.added:
        found = next((some for some in case.searched if each.documents == "image" and some.batch == each.batch), None)
        after = steady.steady(each.document_s)
        yield [
            clean(case.title),
            KINDS.get(each.documents, clean(each.documents)),
            str(each.batch),
            str(len(each.document_s)),
            str(each.rows),
            *(_part(each, part) for part in PARTS),
            _ms(each.document_s[:1]),
            ABSENT if after is None else str(after),
            fixed(found.recall, 3) if found else ABSENT,
            _ms(found.seconds) if found else ABSENT,
        ]


def _part(each: Added, part: str) -> str:
    seconds = () if (each.documents, part) == UNTIMED else each.seconds.get(part, ())
    return _ms([second / each.batch for second in seconds])
