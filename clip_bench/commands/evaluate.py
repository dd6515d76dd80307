"""clip-bench evaluate: zero-shot top-1 and top-5 on a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench import plain
from clip_bench.commands import choosing, tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_bench.quality.predictions import Prediction, Tally

HELP = "zero-shot top-1 and top-5 of any cell on your own data"
EVERY = 1000  # pictures between two lines of progress


def add(parser: argparse.ArgumentParser) -> None:
    """The data, the cell, and what is said of a class."""
    from clip_bench.answers.labels import PROMPTS

    parser.add_argument(
        "--prompts",
        choices=PROMPTS,
        default=PROMPTS[0],
        help="single: 'a photo of a NAME.'; ensemble: the mean over the data set's templates; name: the name alone "
        "(default: %(default)s)",
    )
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write a line for each picture")
    parser.add_argument("--tokens", type=Path, metavar="DIR", help="take what clip-bench tokens saved")
    choosing.add(parser, choosing.FLAGS | choosing.DATA, batch=1)
    choosing.add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Print the figures; every picture that was left out, and how far the work is, go to stderr."""
    from clip_bench.answered import Evaluation
    from clip_bench.answers import classify, labels, predictions
    from clip_bench.answers.encoders import opened
    from clip_bench.answers.tokens import reader
    from clip_bench.data import sets
    from clip_bench.models.feeds import tokenizer
    from clip_bench.quality.predictions import Tally

    settings = choosing.settings_of(options)
    (chosen,) = choosing.chosen(options, settings)
    if settings.data is None:
        msg = "--data NAME:PATH, or a folder of class folders, says what to evaluate on: docs/data.md"
        raise UsageError(msg)
    for flag, path in (("--predictions", options.predictions), ("--json", options.json)):
        choosing.writable(flag, path)
    listing = sets.listing(settings.data_kind, settings.data, settings.data_root)
    entries = classify.labelled(listing, settings.samples)
    _apart(listing.summary())
    spec = chosen.text.model
    encode = reader(spec, options.tokens) if options.tokens else tokenizer(spec)
    texts = labels.texts(listing.classes, listing.templates, options.prompts)
    counted, left_out, kept = Tally(), list[str](), list[str]()
    with opened(chosen, settings, options.batch) as encoders:
        spent = classify.reserved(settings, (chosen.image, chosen.text))
        classes = encoders.classes(texts, encode, _every(len(texts), "classes", 12))
        made = classify.predictions(
            encoders, classes, classify.twins_of(texts), entries, spent, left_out, settings.samples
        )
        lines = _lines(made, counted, kept, left_out, _every(len(entries), "pictures"))
        if options.predictions:
            head = predictions.header(chosen.marked, listing.name, len(listing.classes), options.prompts)
            predictions.write(options.predictions, (line for part in (head, lines) for line in part))
        else:
            for _ in lines:
                pass
    if spent:
        _apart(f"{len(spent)} pictures that the cell is calibrated on are not among those classified")
    if left_out:
        _apart(f"{len(left_out):,} pictures could not be opened, and are in no figure")
    status = tell(counted.lines(chosen.marked, len(listing.classes)))
    told = Evaluation(
        case=chosen.name,
        title=chosen.title,
        target=str(chosen.image.target),
        random_weights=not spec.trained,
        data=listing.name,
        prompts=options.prompts,
        classes=len(listing.classes),
        pictures=counted.pictures,
        first=counted.first,
        among=counted.among,
        silent=counted.silent,
        predictions=tuple(kept),
        left_out=tuple(left_out),
    )
    choosing.keep(options, told, settings.threads)
    return status


def _lines(
    made: Iterator[Prediction], counted: Tally, kept: list[str], left_out: list[str], progress: Callable[[int], None]
) -> Iterator[str]:
    """A line for each prediction, which is counted and kept, and one for each picture that was left out by then."""
    told = 0
    for prediction in made:
        yield from _left_out(left_out[told:])
        told = len(left_out)
        counted.add(prediction)
        progress(counted.pictures)
        kept.append(str(prediction))
        yield kept[-1]
    yield from _left_out(left_out[told:])


def _left_out(problems: list[str]) -> Iterator[str]:
    for problem in problems:
        _apart(f"left out: {problem}")
        yield f"# left out: {problem}"


def _every(total: int, what: str, step: int = EVERY) -> Callable[[int], None]:
    """Progress to stderr, once in a while."""

    def tell_far(done: int) -> None:
        if done % step == 0:
            _apart(f"{done:,} of {total:,} {what}")

    return tell_far


def _apart(line: str) -> None:
    sys.stderr.write(f"{plain.line(line)}\n")
