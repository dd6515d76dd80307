"""The doors by which a user's bytes come in, for libFuzzer: python tests/fuzz/doors.py DOOR FOLDER OPTIONS.

Each reads an example, or refuses it with an error of ours; anything else ends the run, and the example is kept.
"""

import copy
import csv
import io
import json
import logging
import os
import pickle
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["clip_bench", "PIL", "csv", "json", "pickle"]):
    from PIL import Image

    from clip_bench import finding, jsonfile, runfile, witness
    from clip_bench.answers import predictions, tokens
    from clip_bench.data import captioned, captions, labelled
    from clip_bench.errors import ClipBenchError
    from clip_bench.models import catalog, weights
    from clip_bench.preprocess import decode
    from clip_bench.report import audit, frame, full, hardware, holes, reading, recomputed, refound, terminal, timings

import numpy as np

GOLDEN = Path(__file__).parents[1] / "unit" / "tables" / "golden" / "run.json"
SCRATCH = Path(tempfile.mkdtemp(prefix="clip-bench-fuzz-"))
# What takes a place in a file that was whole.
OTHERS = (
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    1e308,
    "",
    "x",
    "../../x",
    "\x1b[31m",
    "\ud800",
    [],
    {},
    [None],
    {"x": 1},
    [[]],
)
SPEC = catalog.MODELS["shapes_tiny"]


def put(name, stored):
    path = SCRATCH / name
    path.write_bytes(stored)
    return path


@cache
def run_file():
    """The golden run's first cells, so that an example takes milliseconds."""
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    data["outcomes"] = data["outcomes"][1:5]
    data.pop("benchmarks", None)
    return data


@cache
def finding_files():
    """A finding of each of two kinds; the others are of the same parts."""
    from clip_bench.answered import Fit, Labelled, Scoring

    fits = (Fit(label="a", cosine=0.5, score=0.75), Fit(label="b", cosine=0.25, score=0.25))
    scoring = Scoring(
        case="c",
        title="t",
        random_weights=False,
        scale=4.0,
        pictures=(Labelled(picture="p", labels=fits),),
        left_out=(),
    )
    share = finding.Share(share=0.5, queries=2, hits="1 0")
    scored = finding.Scored(case="c", title="t", random_weights=False, scores={"image_to_text": share})
    retrieval = finding.Retrieval(data="some", cases=(scored,))
    return [json.loads(finding.to_json(told, {"name": "m"})) for told in (scoring, retrieval)]


def damaged(whole, choose):
    """A copy of *whole* with up to three of its values, at any depth, replaced, removed or repeated."""
    data = copy.deepcopy(whole)
    for _ in range(choose.ConsumeIntInRange(1, 3)):
        at = data
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = keys[choose.ConsumeIntInRange(0, len(keys) - 1)]
            if isinstance(at[key], dict | list) and at[key] and choose.ConsumeIntInRange(0, 3):
                at = at[key]
                continue
            what = choose.ConsumeIntInRange(0, len(OTHERS) + 2)
            if what == len(OTHERS):
                del at[key]
            elif what == len(OTHERS) + 1:
                at[key] = choose.ConsumeUnicode(12)
            elif what == len(OTHERS) + 2:
                at[key] = choose.ConsumeFloat()
            else:
                at[key] = copy.deepcopy(OTHERS[what])
            break
    return data


def through_run(data):
    path = SCRATCH / "run.json"
    run = runfile.from_file(path, data)
    list(witness.faults(data))
    list(recomputed.faults(run, data))
    table = frame([run])
    for shown in (hardware, terminal, full, holes):
        shown(table)


def through_finding(data):
    found = finding.from_file(SCRATCH / "finding.json", data)
    list(witness.faults(data))
    list(refound.faults(found))


def whole_run(stored):
    through_run(damaged(run_file(), atheris.FuzzedDataProvider(stored)))


def whole_finding(stored):
    choose = atheris.FuzzedDataProvider(stored)
    through_finding(damaged(finding_files()[choose.ConsumeIntInRange(0, 1)], choose))


def json_bytes(stored):
    path = put("any.json", stored)
    for read in (reading.read, lambda paths: runfile.read(paths[0]), lambda paths: finding.read(paths[0])):
        try:
            read([path])
        except ClipBenchError:
            continue
    jsonfile.load(path, "give another")


def times(stored):
    timings.table([put("times.txt", stored)])


def published(stored):
    audit.page(audit.read(put("published.csv", stored)))


def answers(stored):
    name, classes, counted = predictions.tally(put("answers.tsv", stored))
    list(counted.lines(name, classes))


def cifar(stored):
    labelled.cifar100(put("test", stored), None)


READERS = (
    lambda stored: captions.parse(put("told.csv", stored)),
    lambda stored: captions.parse(put("told.json", stored)),
    lambda stored: captioned.karpathy(put("captions.txt", stored), None, "flickr8k"),
    lambda stored: captioned.conceptual(put("told.tsv", stored), None),
    lambda stored: labelled.imagenet(put("list.txt", stored), None),
    lambda stored: labelled.mini_imagenet(put("mini.csv", stored), None),
)


def lists(stored):
    """The first byte says which kind of list the others are."""
    READERS[stored[0] % len(READERS) if stored else 0](stored[1:])


def picture(stored):
    """The fastest decoder refuses what Pillow's does, or gives its pixels."""
    try:
        plain = decode.picture(stored)
    except ClipBenchError:
        plain = None
    try:
        fast = decode.fastest(stored)
    except ClipBenchError:
        fast = None
    if (plain is None) != (fast is None) or (plain is not None and plain.tobytes() != fast.tobytes()):
        msg = f"Pillow: {plain}; the fastest: {fast}"
        raise AssertionError(msg)


def checkpoint(stored):
    weights.state_dict(catalog.MODELS["vit_b_32_random"], put("w.safetensors", stored))


def pickled(stored):
    weights.state_dict(catalog.MODELS["vit_b_32_random"], put("w.pt", stored))


def token_file(stored):
    put("a.npz", stored)
    tokens.reader(SPEC, SCRATCH)


def picture_seeds():
    pixels = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        for mode in ("RGB", "L"):
            written = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(written, kind)
            yield written.getvalue()


def list_seeds():
    rows = ["file,caption\nx.png,one\n", '[{"file": "x.png", "captions": ["one"]}]', "x.png#0\tone\n", "one\tx.png\n"]
    coco = {"images": [{"id": 1, "file_name": "x.png"}], "annotations": [{"image_id": 1, "caption": "one"}]}
    rows += ["x.png 3\n", "filename,label\nx.png,a\n", json.dumps(coco)]
    kinds = (0, 1, 2, 3, 4, 5, 2)
    return [bytes([kind]) + row.encode() for kind, row in zip(kinds, rows, strict=True)]


def checkpoint_seeds():
    import torch
    from safetensors.torch import save

    yield save({"a": torch.ones(2), "b": torch.zeros(1, 3)})


def pickled_seeds():
    import torch

    for zipped in (True, False):
        written = io.BytesIO()
        torch.save({"state_dict": {"module.a": torch.ones(2)}}, written, _use_new_zipfile_serialization=zipped)
        yield written.getvalue()


def cifar_seeds():
    rows = {b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [1], b"filenames": [b"a.png"]}
    return [pickle.dumps(rows, protocol=protocol) for protocol in (0, 2, 5)]


def token_seeds():
    written = io.BytesIO()
    np.savez(written, tokens=np.zeros((1, SPEC.context), np.int64), text=np.array("a"), model=np.array(SPEC.name))
    return [written.getvalue()]


def published_seeds():
    names = list(audit.Published.__dataclass_fields__)
    written = io.StringIO()
    csv.writer(written).writerows(
        [names, ["1", "ViT-B/32", "image", "1", "fp16", "RTX 4090", "TensorRT", "latency", "1.5", "ms", "s", ""]]
    )
    return [written.getvalue().encode()]


DOORS = {
    "run": (whole_run, lambda: [bytes(range(64))]),
    "finding": (whole_finding, lambda: [bytes(range(64))]),
    "json": (json_bytes, lambda: [json.dumps(each).encode() for each in finding_files()]),
    "times": (
        times,
        lambda: [b"[0.1, 0.2, 0.3]", b"1\n2\n3\n", b'{"benchmarks": [{"name": "a", "stats": {"data": [1, 2]}}]}'],
    ),
    "published": (published, published_seeds),
    "answers": (answers, lambda: [b"# classes: 9\na.png\t3\t3:0.9\t1:0.1\n"]),
    "cifar": (cifar, cifar_seeds),
    "lists": (lists, list_seeds),
    "picture": (picture, picture_seeds),
    "checkpoint": (checkpoint, checkpoint_seeds),
    "pickled": (pickled, pickled_seeds),
    "tokens": (token_file, token_seeds),
}


def main():
    door, folder = DOORS[sys.argv[1]], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(door[1]()):
        (folder / f"seed-{number}").write_bytes(seed)
    (SCRATCH / "x.png").touch()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")

    def one(stored):
        try:
            door[0](stored)
        except ClipBenchError as exc:
            if not str(exc):
                raise

    atheris.Setup([sys.argv[0], str(folder), *sys.argv[3:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("CLIP_BENCH_CACHE", str(SCRATCH / "cache"))
    main()
