"""clip-bench retrieval: how often the towers of a model find each other's right answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.commands import choosing, tell
from clip_bench.errors import UsageError

if TYPE_CHECKING:
    from clip_bench.cases import Chosen
    from clip_bench.retrieval import Collection, Score
    from clip_bench.settings import Settings

HELP = "retrieval scores of any cell: texts that name one, two or three labels, pictures, and captions"
SCENES = 200
BATCH = 8
COLUMNS = {
    "Text-to-image score (single-label)": ("text_to_image_1",),
    "Text-to-image score (double-label)": ("text_to_image_2",),
    "Text-to-image score (triple-label)": ("text_to_image_3",),
    "Image-to-text score": ("image_to_text",),
    "Image-to-Image score": ("image_to_image",),
    "Caption-to-image R@1 / R@5 / R@10": ("t2i_r1", "t2i_r5", "t2i_r10"),
    "Image-to-caption R@1 / R@5 / R@10": ("i2t_r1", "i2t_r5", "i2t_r10"),
}
LEGEND = """
A score is the % of queries (their number in brackets) whose nearest item by cosine is right: a picture that shows every label which a text names; a label that a picture shows; another picture that shows a same label.
R@k is the % of captions, or of pictures with captions, that have a right one among the k nearest, as CLIP_benchmark defines it. A tie counts against; n/a is not defined on these data.
"""


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every score with its number of queries")


def run(options: argparse.Namespace) -> int:
    """Score, and print; the exit status is 1 where a picture was left out."""
    if options.scenes < 1:
        msg = f"--scenes {options.scenes}: at least 1"
        raise UsageError(msg)
    choosing.writable("--json", options.json)
    given = choosing.settings_of(options)
    settings = choosing.apart(given)
    several = choosing.chosen(options, settings)
    collect, about, left_out = _collection(given, options.scenes)
    results = [(each, _scores(each, collect(each.image.model.image_size), settings, options.batch)) for each in several]
    tell([about, ""])
    tell(_page(results))
    tell(f"left out: {problem}" for problem in left_out)
    if options.json:
        choosing.write_json(options.json, _told(about, left_out, results))
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


def _scores(chosen: Chosen, collection: Collection, settings: Settings, batch: int) -> Mapping[str, Score]:
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


def _page(results: Sequence[tuple[Chosen, Mapping[str, Score]]]) -> list[str]:
    from clip_bench.report.figures import markdown

    rows = [[each.title, *(_cell(found, names) for names in COLUMNS.values())] for each, found in results]
    return [markdown(["Model Name", *COLUMNS], rows), LEGEND]


def _cell(found: Mapping[str, Score], names: Sequence[str]) -> str:
    """``12.5 (400)``, or several figures of the same queries."""
    several = [found[name] for name in names if name in found]
    shares = ["n/a" if each.share is None else f"{100 * each.share:.1f}" for each in several]
    if not set(shares) - {"n/a"}:
        return "n/a"
    return f"{' / '.join(shares)} ({max(each.queries for each in several)})"


def _told(
    about: str, left_out: Sequence[str], results: Sequence[tuple[Chosen, Mapping[str, Score]]]
) -> dict[str, object]:
    return {
        "data": about,
        "left_out": list(left_out),
        "cases": [
            {
                "case": each.name,
                "random_weights": not each.image.model.trained,
                "scores": {name: asdict(score) for name, score in found.items()},
            }
            for each, found in results
        ],
    }
