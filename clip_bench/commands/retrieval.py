"""clip-bench retrieval: how often the towers of a model find each other's right answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clip_bench.commands import choosing, tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.cases import Chosen
    from clip_bench.finding import Share
    from clip_bench.retrieval import Collection
    from clip_bench.settings import Settings

HELP = "retrieval scores of any cell: texts that name one, two or three labels, pictures, and captions"
SCENES = 200
BATCH = 8


def add(parser: argparse.ArgumentParser) -> None:
    """Cells, and how many scenes."""
    choosing.add(parser, choosing.FLAGS | {"--data", "--data-root"}, several=True, batch=BATCH)
    parser.add_argument(
        "--scenes",
        type=int,
        default=SCENES,
        metavar="N",
        help="generated scenes of one, of two and of three objects each, without --data (default: %(default)s)",
    )
    choosing.add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Score, and print; the exit status is 1 where a picture was left out."""
    from clip_bench.finding import Retrieval, Scored
    from clip_bench.report.retrieval import page

    if options.scenes < 1:
        msg = f"--scenes {options.scenes}: at least 1"
        raise UsageError(msg)
    choosing.writable("--json", options.json)
    given = choosing.settings_of(options)
    settings = choosing.apart(given)
    several = choosing.chosen(options, settings)
    collect, about, left_out = _collection(given, options.scenes)
    scored = [
        Scored(
            case=each.name,
            title=each.title,
            random_weights=not each.image.model.trained,
            scores=dict(_scores(each, collect(each.image.model.image_size), settings, options.batch)),
        )
        for each in several
    ]
    told = Retrieval(data=about, cases=tuple(scored), left_out=tuple(left_out))
    tell(page(told).splitlines())
    choosing.keep(options, told, settings.threads)
    return int(bool(left_out))


def _collection(given: Settings, each: int) -> tuple[Callable[[int], Collection], str, Sequence[str]]:
    """What makes the pictures at a model's size, a line about them, and those that were left out."""
    from clip_bench import retrieval
    from clip_bench.data import listing, sets

    if given.data is None:
        return lambda size: retrieval.of_scenes(each, size), f"{3 * each} generated scenes", ()
    whole = sets.listing(given.data_kind, given.data, given.data_root)
    samples = listing.split(whole, 0, len(whole.entries))[1]
    about = f"{samples.name}: {len(samples.pictures)} pictures"
    return lambda _: retrieval.of_samples(samples), about, samples.problems


def _scores(chosen: Chosen, collection: Collection, settings: Settings, batch: int) -> Mapping[str, Share]:
    """The scores of one model; its towers are loaded one after the other."""
    from clip_bench import encoder, retrieval
    from clip_bench.models import feeds
    from clip_bench.specs import Tower

    change, tokens = feeds.transform(chosen.image.model), feeds.tokenizer(chosen.text.model)
    with encoder.opened(chosen.image, settings, batch=batch) as encode:
        images = encoder.stacked(encode(change(picture.open()) for picture in collection.pictures))
    with encoder.opened(chosen.text, settings, batch=batch) as encode:
        of_texts = replace(encode, kind=Tower.TEXT)
        return retrieval.scores(collection, images, lambda texts: encoder.stacked(of_texts(tokens(texts))))
