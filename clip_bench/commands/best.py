"""clip-bench best: the cell to deploy, from measured records."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench import places
from clip_bench.commands import choosing, tell

HELP = "name the cell to deploy, with the runner-up and what it costs, from the JSON files of runs"


def add(parser: argparse.ArgumentParser) -> None:
    """From where, what is sought, and what it may cost."""
    from clip_bench.specs import Tower

    parser.add_argument("runs", nargs="*", metavar="JSON", help="run files, folders or URIs of them (default: reports)")
    objectives = ("latency", "throughput", "size", "energy")
    parser.add_argument("--objective", choices=objectives, default="latency", help="what is best (default: latency)")
    parser.add_argument(
        "--max-top1-drop",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="of top-1, below the FP32 reference on the same samples (default: 1)",
    )
    parser.add_argument(
        "--min-similarity",
        type=float,
        metavar="COSINE",
        help="mean cosine to the FP32 reference; all there is for random weights (default: the floor of each "
        "precision's gate)",
    )
    for flag, choices in (("model", None), ("tower", tuple(map(str, Tower))), ("machine", None)):
        parser.add_argument(
            f"--{flag}", action="append", default=[], choices=choices, help="this one alone; may be repeated"
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answer, and each cell that was left out")


def run(options: argparse.Namespace) -> int:
    """Choose, and print; the exit status is 1 where no cell holds the bounds."""
    from clip_bench.report import best, choices

    choosing.writable("--json", options.json)
    bounds = best.Bounds(max_top1_drop=options.max_top1_drop, min_similarity=options.min_similarity)
    only = {axis: getattr(options, axis) for axis in ("model", "tower", "machine")}
    table = best.measured(list(map(places.of, options.runs)) or [Path("reports")], only)
    answer = best.choose(table, options.objective, bounds)
    if options.json:
        choosing.write_json(options.json, choices.data(answer))
    tell(choices.page(answer).splitlines())
    return 0 if any(choice.told for choice in answer.choices) else 1
