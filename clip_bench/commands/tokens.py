"""clip-bench tokens: token inputs as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_bench.commands import add_flags, choosing, tell

HELP = "save the token inputs of labels to npz files"
SETS = ("imagenet", "cifar100")


def add(parser: argparse.ArgumentParser) -> None:
    """The labels, the model and the folder."""
    from clip_bench.answers.labels import PROMPTS
    from clip_bench.options import OPTIONS

    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", metavar="LABELS", help="labels between commas, or a file with a label per line")
    source.add_argument("--classes", choices=SETS, help="the classes of a data set, said as --prompts has it")
    parser.add_argument("--prompts", choices=PROMPTS, default=PROMPTS[0], help="with --classes (default: %(default)s)")
    parser.add_argument("-o", "--out", type=Path, default=Path("npz_files"), help="folder (default: %(default)s)")
    add_flags(parser, [(flag, attributes) for flag, attributes in OPTIONS if flag == "--model"])


def run(options: argparse.Namespace) -> int:
    """Write a file for each text, and say how many."""
    from clip_bench.answers import labels, tokens
    from clip_bench.cases import one_model
    from clip_bench.data import classes
    from clip_bench.models import catalog
    from clip_bench.models.feeds import tokenizer

    spec = catalog.find(one_model(choosing.settings_of(options).models))
    if options.classes:
        known = classes.of(options.classes)
        texts = [text for several in labels.texts(known.names, known.templates, options.prompts) for text in several]
    else:
        texts = list(labels.parse(options.labels))
    made = sum(1 for _ in tokens.save(spec, texts, tokenizer(spec), options.out))
    return tell([f"{options.out}  {made} files of tokens (1, {spec.context}) for {spec.name}"])
