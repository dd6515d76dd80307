"""clip-bench compile: files for chips that are not here."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench.commands import add_flags, tell
from clip_bench.errors import UsageError

HELP = "compile for chips that are not here, and check on their emulator"


def add(parser: argparse.ArgumentParser) -> None:
    """A run's options, the chips, and what for them."""
    from clip_bench.options import OPTIONS

    add_flags(parser, OPTIONS)
    chip = parser.add_mutually_exclusive_group(required=True)
    chip.add_argument(
        "--soc", action="append", metavar="CHIP", help="context binaries for a Qualcomm chip, such as SC8380XP"
    )
    chip.add_argument(
        "--trtrtx", action="append", metavar="SM", help="TensorRT for RTX's engines, such as SM89: built, and never run"
    )
    chip.add_argument("--bm1684x", action="store_true", help="SOPHON's bmodels, by --tpu-mlir-python")
    parser.add_argument(
        "--precision",
        action="append",
        choices=("fp32", "fp16", "int8_qdq", "a16w8"),
        help="may be repeated, as --soc and --trtrtx may (default: a16w8 for --soc, else fp16)",
    )
    parser.add_argument(
        "--batch", action="append", type=int, metavar="N", help="pictures of a bmodel: 1, 8, 16, 32 (default: 1)"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("compiled"), help="folder to write (default: compiled)")


def run(options: argparse.Namespace) -> int:
    """Compile, and tell of each file; the exit status is 1 where one failed its check."""
    from clip_bench import offline, settings

    chosen = settings.checked({**vars(options), "batch": []})
    if options.bm1684x and options.precision not in (None, ["fp16"]):
        msg = "--bm1684x compiles in fp16 alone: leave --precision out"
        raise UsageError(msg)
    if options.batch and not options.bm1684x:
        msg = "--batch is for --bm1684x: every other file takes one picture or text"
        raise UsageError(msg)
    if options.bm1684x:
        return tell(offline.bmodels(chosen, options.batch or [1], options.out))
    if options.trtrtx:
        return tell(offline.engines(chosen, options.trtrtx, options.precision or ["fp16"], options.out))
    failed = False
    for made in offline.for_chips(chosen, options.soc, options.precision or ["a16w8"], options.out):
        failed = failed or bool(made.failures)
        tell([str(made)])
    return int(failed)
