"""clip-bench embed: a folder of pictures to a Parquet file of embeddings, or a corpus to a folder of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.commands import choosing, needs, tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.specs import Case

HELP = "embed a folder of pictures: any cell, decoding beside inference, resumed where it stopped"
BATCH = 16
SHARD = 4096
SOME = 256  # pictures of which each half is timed


def add(parser: argparse.ArgumentParser) -> None:
    """The folder, the file, the cell, and how to feed it."""
    parser.add_argument(
        "source", metavar="SRC", help="a folder of pictures, at any depth; with --ray tar or Parquet too"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DST", help="the file to write; with --ray a folder")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="embed on the nodes of this Ray cluster that offer the cell's target (HOST:PORT, or auto); SRC and DST may be "
        "URIs: docs/corpus.md",
    )
    parser.add_argument(
        "--shard",
        type=int,
        metavar="N",
        help=f"with --ray: pictures of a folder in each file of DST (default: {SHARD})",
    )
    parser.add_argument(
        "--preprocess",
        default="fused",
        metavar="NAME",
        help="a variant of docs/preprocessing.md (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that decode (default: --threads)")
    parser.add_argument(
        "--halves",
        action="store_true",
        help=f"print a table of what up to {SOME} pictures take to preprocess alone, and to encode alone",
    )
    choosing.add_files(parser)
    choosing.add(parser, choosing.FLAGS | choosing.DATA, batch=BATCH)


def run(options: argparse.Namespace) -> int:
    """Embed; the exit status is 1 where files were left out."""
    if options.workers is not None and options.workers < 1:
        msg = f"--workers {options.workers}: at least 1"
        raise UsageError(msg)
    needs("embed", "pyarrow", "tqdm")
    return _on_fleet(options) if options.ray else _here(options)


def _here(options: argparse.Namespace) -> int:
    """Embed on this machine."""
    from tqdm import tqdm

    from clip_bench import embed, encoder
    from clip_bench.finding import Embedding
    from clip_bench.report.embedding import page

    if options.shard is not None:
        msg = "--shard is of a corpus: give --ray with it"
        raise UsageError(msg)
    options.source, options.out = Path(options.source), Path(options.out)
    names = embed.listed(options.source)
    choosing.writable("-o", options.out)
    choosing.writable("--json", options.json)
    settings = choosing.settings_of(options)
    several = choosing.chosen(options, settings)
    choosing.alone(several)
    case = several[0].image
    with encoder.opened(case, settings, batch=options.batch, instances=settings.threads) as opened:
        plan = embed.Plan(
            folder=options.source,
            out=options.out,
            recipe=_recipe(options, case) | {"artifact": opened.artifact.key},
            transform=embed.transform_of(case, options.preprocess),
            batch=options.batch,
            workers=options.workers or settings.threads,
        )
        with tqdm(total=len(names), unit=" files", disable=None) as bar:  # None: not where stderr is no terminal
            summary = embed.run(plan, opened, bar.update)
        good = [name for name in names if name not in summary.bad][:SOME]
        halves = embed.halves(plan, opened, good) if options.halves else None
    told = Embedding(
        case=case.id,
        title=several[0].title.replace(f"-{case.target}-", " "),
        target=str(case.target),
        random_weights=not case.model.trained,
        batch=options.batch,
        preprocess=options.preprocess,
        images=summary.images,
        seconds=summary.seconds,
        preprocess_s=halves.preprocess_s if halves else None,
        inference_s=halves.inference_s if halves else None,
        left_out=summary.bad,
    )
    tell(summary.lines())
    tell(["", *page([told]).splitlines(), ""] if halves else ())
    if summary.images:  # a run that had nothing left to do takes no finding's place
        choosing.keep(options, told, settings.threads)
    tell([str(options.out)])
    return int(bool(summary.bad))


def _on_fleet(options: argparse.Namespace) -> int:
    """Embed on the nodes of a cluster; the exit status is 1 where pictures were left out."""
    from functools import partial

    from tqdm import tqdm

    from clip_bench import corpus, places
    from clip_bench.corpus import flow, sources
    from clip_bench.corpus.shards import Shards
    from clip_bench.corpus.work import Task

    if options.workers or options.halves or options.json or options.reports:
        msg = "--workers, --halves, --json and --reports are of one machine: leave them out with --ray"
        raise UsageError(msg)
    most = SHARD if options.shard is None else options.shard
    if most < 1:
        msg = f"--shard {most}: at least 1"
        raise UsageError(msg)
    units = sources.units(options.source, most)
    settings = choosing.settings_of(options)
    several = choosing.chosen(options, settings, here=False)
    choosing.alone(several)
    case = several[0].image
    task = Task(
        case=case, settings=settings, batch=options.batch, preprocess=options.preprocess, threads=options.threads
    )
    shards = Shards.begun(places.of(options.out), units, _recipe(options, case))
    with tqdm(unit=" files", disable=None) as bar:  # None: not where stderr is no terminal
        summary = corpus.run(shards, partial(flow.embedded, task=task, address=options.ray), bar.update, bar.write)
    tell(summary.lines())
    tell([str(shards.out)])
    return int(bool(summary.bad))


def _recipe(options: argparse.Namespace, case: Case) -> dict[str, object]:
    """What the rows depend on, as far as it is known before the cell is built."""
    return {"case": case.id, "batch": options.batch, "preprocess": options.preprocess}
