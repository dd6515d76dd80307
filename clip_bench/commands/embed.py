"""clip-bench embed: a folder of pictures to a Parquet file of embeddings."""

import argparse
import sys
from pathlib import Path

from clip_bench.commands import choosing, tell
from clip_bench.errors import UnavailableError, UsageError

HELP = "embed a folder of pictures: any cell, decoding beside inference, resumed where it stopped"
BATCH = 16


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
    choosing.add(parser, choosing.FLAGS | choosing.DATA)
    parser.set_defaults(batch=BATCH)


def run(options: argparse.Namespace) -> int:
    """Embed; the exit status is 1 where files were left out."""
    from clip_bench import embed, encoder, preprocess
    from clip_bench.specs import Tower

    if options.batch < 1 or (options.workers is not None and options.workers < 1):
        msg = "--batch and --workers: at least 1"
        raise UsageError(msg)
    if missing := embed.missing():
        raise UnavailableError(missing)
    from tqdm import tqdm

    names = embed.listed(options.folder)
    choosing.writable("-o", options.out)
    found, settings, _ = choosing.chosen(argparse.Namespace(**{**vars(options), "batch": 1}))
    case = found.image
    if case.tower is not Tower.IMAGE:
        msg = f"{case.id} takes a picture with its texts: choose a cell of the image tower"
        raise UsageError(msg)
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
            transform=preprocess.transform(options.preprocess, case.model),
            batch=options.batch,
            workers=options.workers or settings.threads,
        )
        with tqdm(total=len(names), unit=" files", disable=None) as bar:  # None: not where stderr is no terminal
            summary = embed.run(plan, opened, bar.update)
    tell(summary.lines())
    sys.stdout.write(f"{options.out}\n")
    return int(bool(summary.bad))
