"""clip-bench score: which of some labels fits a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_bench import plain
from clip_bench.commands import choosing, tell
from clip_bench.errors import UsageError

HELP = "which of some labels fits a picture, on any cell"


def add(parser: argparse.ArgumentParser) -> None:
    """Pictures, labels, a cell, and what to write."""
    parser.add_argument("pictures", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument(
        "--labels", required=True, metavar="LABELS", help="labels between commas, or a file with a label per line"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="labels to print (default: %(default)s)")
    parser.add_argument("--tokens", type=Path, metavar="DIR", help="take what clip-bench tokens saved")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw each picture with its best labels: .svg or .png"
    )
    choosing.add(parser, batch=1)
    choosing.add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Print the best labels of each picture; the exit status is 1 where one could not be scored."""
    from clip_bench.answered import Scoring
    from clip_bench.answers import labels as naming
    from clip_bench.answers import scores
    from clip_bench.answers.encoders import opened
    from clip_bench.answers.tokens import reader
    from clip_bench.models.feeds import tokenizer
    from clip_bench.report import pictured

    if options.top < 1:
        msg = f"--top {options.top}: at least 1"
        raise UsageError(msg)
    if options.plot:
        pictured.check(options.plot, len(options.pictures))
    for flag, path in (("--json", options.json), ("--plot", options.plot)):
        choosing.writable(flag, path)
    labels = naming.parse(options.labels)
    settings = choosing.settings_of(options)
    (chosen,) = choosing.chosen(options, settings)
    spec = chosen.text.model
    encode = reader(spec, options.tokens) if options.tokens else tokenizer(spec)
    answers, left_out = [], list[str]()
    with opened(chosen, settings, options.batch) as encoders:
        classes = encoders.classes([[label] for label in labels], encode)
        if note := naming.alike(labels, classes):
            sys.stderr.write(f"{spec.name}: {plain.line(note)}\n")
        for path in options.pictures:
            try:
                answer = scores.score(path, labels, encoders, classes)
            except UsageError as exc:
                sys.stderr.write(f"clip-bench: {plain.line(str(exc))}\n")
                left_out.append(str(exc).replace(str(path), path.name))
                continue
            tell([answer.file] if len(options.pictures) > 1 else [])
            tell(answer.lines(options.top))
            answers.append(answer)
    if answers and not spec.trained:
        tell([f"{chosen.marked}: these scores mean nothing"])
    told = Scoring(
        case=chosen.name,
        title=chosen.title,
        random_weights=not spec.trained,
        scale=encoders.scale,
        pictures=tuple(answer.told() for answer in answers),
        left_out=tuple(left_out),
    )
    if answers:
        choosing.keep(options, told, settings.threads)
    if options.plot and answers:
        rows = [pictured.Scored(name=each.file, path=each.path, best=each.best(options.top)) for each in answers]
        pictured.write(options.plot, chosen.marked, rows)
    return int(len(answers) < len(options.pictures))
