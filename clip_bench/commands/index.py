"""clip-bench index: what adding documents to a vector database takes, and whether they are found again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clip_bench.commands import choosing, needs, tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.cases import Chosen
    from clip_bench.finding import Indexed, Indexing
    from clip_bench.settings import Settings

HELP = "time per document of a vector database, by the client's batch: fetch, decode, encode, write; and search"
BATCHES = "1,10,50,100"
DOCUMENTS = 100
SIDE, QUALITY = 480, 90  # pixels of a generated picture, and of its JPEG


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Pictures as they are stored, by the names that they are served under; whose name is another one; and texts."""

    stored: Mapping[str, bytes]
    called: Mapping[str, str]
    texts: Sequence[str]


def add(parser: argparse.ArgumentParser) -> None:
    """Cells, the client's batches, and the documents."""
    choosing.add(parser, choosing.FLAGS | {"--data", "--data-root"}, several=True)
    parser.add_argument(
        "--batches", default=BATCHES, metavar="N", help="documents of a client's batch (default: %(default)s)"
    )
    parser.add_argument(
        "--documents",
        type=int,
        default=DOCUMENTS,
        metavar="N",
        help="different documents, which take turns (default: %(default)s)",
    )
    choosing.add_files(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw a document's time by its batch's number")


def run(options: argparse.Namespace) -> int:
    """Measure, and print; the exit status is 1 where a document was left out, or one was not found."""
    from clip_bench.finding import Indexing
    from clip_bench.report.indexing import page

    sizes = _sizes(options)
    _check_files(options, sizes)
    needs("index", "lancedb", "pyarrow")
    given = choosing.settings_of(options)
    settings = choosing.apart(given)
    several = choosing.chosen(options, settings)
    choosing.alone(several)
    left_out: dict[str, str] = {}
    documents = _documents(given, options.documents, left_out)
    _build(several, settings, sizes)
    cases = tuple(_measured(each, documents, settings, sizes, left_out) for each in several)
    told = Indexing(threads=settings.threads, cases=cases, left_out=left_out)
    tell(page(told).splitlines())
    choosing.keep(options, told, settings.threads)
    if options.plot:
        choosing.write("--plot", options.plot, _plot(told))
    return int(bool(left_out) or any(each.recall < 1 for case in cases for each in case.searched))


def _sizes(options: argparse.Namespace) -> tuple[int, ...]:
    told = [each.strip() for each in str(options.batches).split(",")]
    if not all(each.isdecimal() and int(each) > 0 for each in told) or options.documents < 1:
        msg = f"--batches {options.batches} --documents {options.documents}: numbers of at least 1, such as {BATCHES}"
        raise UsageError(msg)
    return tuple(sorted({int(each) for each in told}, reverse=True))


def _check_files(options: argparse.Namespace, sizes: Sequence[int]) -> None:
    from clip_bench.report import sheet

    curves = max(1, len(set(options.case))) * len(sizes)
    if options.plot and curves > sheet.MOST_CURVES:
        msg = f"--plot: {curves} curves, and {sheet.MOST_CURVES} can be told apart: give fewer --case or --batches"
        raise UsageError(msg)
    for flag, path in (("--json", options.json), ("--plot", options.plot)):
        choosing.writable(flag, path)


def _documents(given: Settings, most: int, left_out: dict[str, str]) -> Documents:
    """The user's pictures, or scenes of three objects; texts are the user's captions, or the scenes'.

    Raises:
        UsageError: there is no picture, or none can be read.
    """
    from clip_bench.data import generated

    scenes = generated.evaluation_of(3, most, 1 if given.data else SIDE)
    texts = [caption for several in scenes.captions for caption in several]
    if given.data is None:
        from clip_bench.fetching import jpeg

        stored = {f"{i:06}": jpeg(picture.open(), QUALITY) for i, picture in enumerate(scenes.pictures)}
        return Documents(stored=stored, called={}, texts=texts)
    reads, captions = _listed(given, most, left_out)
    stored, called = {}, {}
    for number, (name, read) in enumerate(reads):
        try:
            stored[f"{number:06}"], called[f"{number:06}"] = read(), name
        except (UsageError, OSError) as exc:
            left_out[name] = getattr(exc, "strerror", None) or str(exc)
    if not stored:
        msg = (
            f"{given.data}: no picture can be read; the first: {': '.join(next(iter(left_out.items()), ('', 'none')))}"
        )
        raise UsageError(msg)
    return Documents(stored=stored, called=called, texts=captions or texts)


def _listed(
    given: Settings, most: int, left_out: dict[str, str]
) -> tuple[list[tuple[str, Callable[[], bytes]]], list[str]]:
    """The first pictures of the user's data, not read yet, and their captions: of a folder all that is in it."""
    from clip_bench import embed
    from clip_bench.data import folders, sets

    root = given.data
    if root is None or (root.is_dir() and not given.data_kind):
        folder = root or Path()
        return [(name, partial(folders.stored, folder / name)) for name in embed.listed(folder)[:most]], []
    listing = sets.listing(given.data_kind, root, given.data_root)
    for problem in listing.problems:
        name, _, reason = problem.partition(": ")
        left_out[name] = reason
    entries = listing.entries[:most]
    return [(entry.name, entry.stored) for entry in entries], [text for each in entries for text in each.captions][
        :most
    ]


def _build(several: Sequence[Chosen], settings: Settings, sizes: Sequence[int]) -> None:
    """Build and load every cell once: exports fork, which they must not beside the threads of the database."""
    from clip_bench import encoder

    for case in (case for each in several for case in (each.image, each.text)):
        for size in sizes:
            with encoder.opened(case, settings, batch=size):
                pass


def _measured(
    chosen: Chosen,
    documents: Documents,
    settings: Settings,
    sizes: Sequence[int],
    left_out: dict[str, str],
) -> Indexed:
    """Every size, from the largest; server, database and folders are gone afterwards."""
    from clip_bench import encoder, fetching, indexing, preprocess
    from clip_bench.finding import Added, Indexed, Searched
    from clip_bench.models import feeds
    from clip_bench.specs import Rewrite

    image, text = chosen.image, chosen.text
    added, searched = list[Added](), list[Searched]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="clip-bench-documents-")))
        for name, stored in documents.stored.items():
            (folder / name).write_bytes(stored)
        database = stack.enter_context(indexing.database())
        port = stack.enter_context(fetching.served(folder))
        pool = stack.enter_context(ThreadPoolExecutor(settings.threads))
        transform = preprocess.transform("fused", image.model, pixels=Rewrite.FOLDED in image.variant.rewrites)
        sources = {
            image: fetching.pictures(list(documents.stored), port, pool, transform),
            text: fetching.texts(documents.texts, feeds.tokenizer(text.model)),
        }
        for size in sizes:
            made = []
            for case, source in sources.items():
                batches = max(indexing.LEAST, -(-len(source.documents) // size))
                created = partial(database.create_table, f"{case.tower}_{size}")
                with encoder.opened(case, settings, batch=size) as encode:
                    found = indexing.index(source, encode, created, size=size, batches=batches)
                made.append(found)
                added.append(Added(documents=case.tower, batch=size, rows=len(found.rows), seconds=dict(found.seconds)))
                left_out |= {documents.called.get(name, name): why for name, why in found.left_out.items()}
            pictures, texts = made
            recalls, seconds = indexing.search(pictures, texts.rows[: indexing.QUERIES])
            searched.append(Searched(batch=size, recall=fmean(recalls), seconds=seconds, recalls=recalls))
    return Indexed(
        case=chosen.name,
        title=chosen.title,
        random_weights=not image.model.trained,
        added=tuple(added),
        searched=tuple(searched),
    )


def _plot(told: Indexing) -> str:
    from clip_bench.report.indexing import KINDS
    from clip_bench.report.plots import Curve, convergence

    panels = {
        name: [
            Curve(label=f"{each.title}, CBS = {found.batch}", seconds=found.document_s)
            for each in told.cases
            for found in each.added
            if found.documents == kind
        ]
        for kind, name in KINDS.items()
    }
    return convergence("Indexing", panels)
