"""clip-bench embed: a folder of pictures to a Parquet file of embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.commands import choosing, tell
from clip_bench.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from clip_bench.cases import Chosen
    from clip_bench.embed import Halves, Summary

HELP = "embed a folder of pictures: any cell, decoding beside inference, resumed where it stopped"
BATCH = 16
SOME = 256  # pictures of which each half is timed
HEADS = ("Platform", "Program", "Model", "Preprocess time (ms)", "Inference time (ms)")


def add(parser: argparse.ArgumentParser) -> None:
    """The folder, the file, the cell, and how to feed it."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures, at any depth")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="PARQUET", help="the file to write")
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
    choosing.add(parser, choosing.FLAGS | choosing.DATA, batch=BATCH)


def run(options: argparse.Namespace) -> int:
    """Embed; the exit status is 1 where files were left out."""
    from clip_bench import embed, encoder, preprocess
    from clip_bench.specs import Rewrite

    if options.workers is not None and options.workers < 1:
        msg = f"--workers {options.workers}: at least 1"
        raise UsageError(msg)
    if missing := embed.missing():
        raise UnavailableError(missing)
    from tqdm import tqdm

    names = embed.listed(options.folder)
    choosing.writable("-o", options.out)
    settings = choosing.settings_of(options)
    several = choosing.chosen(options, settings)
    choosing.alone(several)
    case = several[0].image
    with encoder.opened(case, settings, batch=options.batch, instances=settings.threads) as opened:
        plan = embed.Plan(
            folder=options.folder,
            out=options.out,
            recipe={
                "case": case.id,
                "batch": options.batch,
                "artifact": opened.artifact.key,
                "preprocess": options.preprocess,
            },
            transform=preprocess.transform(
                options.preprocess, case.model, pixels=Rewrite.FOLDED in case.variant.rewrites
            ),
            batch=options.batch,
            workers=options.workers or settings.threads,
        )
        with tqdm(total=len(names), unit=" files", disable=None) as bar:  # None: not where stderr is no terminal
            summary = embed.run(plan, opened, bar.update)
        good = [name for name in names if name not in summary.bad][:SOME]
        found = embed.halves(plan, opened, good) if options.halves else None
    tell(summary.lines())
    tell(_table(several[0], found, summary) if found else ())
    tell([str(options.out)])
    return int(bool(summary.bad))


def _table(chosen: Chosen, halves: Halves, summary: Summary) -> Iterator[str]:
    """As SOPHON's samples head it, and what of both halves the run has reached."""
    from clip_bench.report import platforms
    from clip_bench.report.figures import markdown, millis

    case = chosen.image
    model = chosen.title.replace(f"-{case.target}-", " ")
    times = (millis(1e3 * seconds) for seconds in (halves.preprocess_s, halves.inference_s))
    yield ""
    yield markdown(HEADS, [[platforms.title(str(case.target)), "clip-bench embed", model, *times]], left=3)
    yield ""
    yield "Per picture, each alone, on all threads that it has; preprocessing begins with the file."
    if summary.images:
        reached = summary.images / summary.seconds / halves.bound
        yield f"Both in turns allow {halves.bound:.2f} FPS, of which the run reached {100 * reached:.0f} %, its first calls among it."
