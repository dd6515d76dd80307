"""clip-bench embed: a folder of pictures to a Parquet file of embeddings."""

import argparse
import sys
from pathlib import Path

from clip_bench.commands import add_flags, tell
from clip_bench.errors import UnavailableError, UsageError

HELP = "embed a folder of pictures: any cell, decoding beside inference, resumed where it stopped"
CASE = "image-vit_b_32_openai-torch-cpu-fp32"


def add(parser: argparse.ArgumentParser) -> None:
    """A run's options, the folder, and the cell."""
    from clip_bench.settings import OPTIONS

    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures, at any depth")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="PARQUET", help="the file to write")
    parser.add_argument(
        "--case", default=CASE, metavar="CELL", help="as clip-bench list calls it (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures of a call (default: %(default)s)")
    parser.add_argument(
        "--preprocess",
        default="fused",
        metavar="NAME",
        help="a variant of docs/preprocessing.md (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that decode (default: --threads)")
    add_flags(parser, OPTIONS)


def run(options: argparse.Namespace) -> int:
    """Embed; the exit status is 1 where files were left out."""
    from tqdm import tqdm

    from clip_bench import embed, encoder, preprocess, settings
    from clip_bench.specs import Tower

    if options.batch < 1 or (options.workers is not None and options.workers < 1):
        msg = "--batch and --workers: at least 1"
        raise UsageError(msg)
    if missing := embed.missing():
        raise UnavailableError(missing)
    names = embed.listed(options.folder)
    chosen = settings.checked({**vars(options), "batch": []})
    case = encoder.choose(options.case, chosen)
    if case.tower is not Tower.IMAGE:
        msg = f"{case.id} takes no pictures: choose a cell that begins with image-"
        raise UsageError(msg)
    with encoder.opened(case, chosen, batch=options.batch, instances=chosen.threads) as opened:
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
            workers=options.workers or chosen.threads,
        )
        with tqdm(total=len(names), unit=" files", disable=None) as bar:  # None: not where stderr is no terminal
            summary = embed.run(plan, opened, bar.update)
    tell(summary.lines())
    sys.stdout.write(f"{options.out}\n")
    return int(bool(summary.bad))
