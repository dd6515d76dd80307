"""Embedding a folder: the suite's pipeline beside the loop that everybody writes first, and beside what it could reach.

``python tests/claims/embed.py [CELL]``. The plain loop opens, transforms and encodes one picture after the other, with
open_clip's own transform and model, in FP32, on all threads. Ours is ``clip-bench embed``, from the folder's listing to
the Parquet file; the cell is named as its ``--case`` does. Both take turns, in ABBA order, on the same files: JPEGs of
640 x 480 or so, the real photographs of ../shared where they are, else generated scenes under a texture. A cell that is
calibrated is so on one half of them, as ``--data`` does it, and embeds the other half. Bounds: at least 7 times the
plain loop's pictures per second at a mean cosine of at least 0.99 to its embeddings, and at least 85 % of what both
halves allow that are measured in the same turns, decoding alone and inference alone: 1 / (seconds of one + seconds of
the other), since on a CPU they share the cores.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cells
import numpy as np
import verdict

from clip_bench import backends, cases, embed, encoder, preprocess
from clip_bench.data import scenes
from clip_bench.encoder import Embed
from clip_bench.evaluation import source
from clip_bench.models import feeds
from clip_bench.quality import metrics
from clip_bench.settings import LEAST_SAMPLES, Settings
from clip_bench.specs import ModelSpec, Rewrite

CELL = "image-vit_b_32_random-openvino-cpu-bf16-pooled-folded"
FASTER, EXACT, REACHED = 7.0, 0.99, 0.85
FILES, PLAIN = 1000, 40  # in the folder, and in a turn of the plain loop
GROUPS = 3
BATCH = 16
SIZE = (640, 480)
QUALITY = 90
SHARED = Path(__file__).parents[3] / "shared" / "data" / "coco50"


def made(number: int) -> bytes:
    """A JPEG of a scene under a texture, of the size and about the bytes of a photograph."""
    from PIL import Image

    side = max(SIZE)
    pixels = scenes.render(scenes.scene(scenes.Split.CALIBRATION, number, 3), side)[: SIZE[1]].astype(np.float32)
    draw = np.random.default_rng(number)
    for coarse in (2, 8, 32):
        grain = draw.normal(0, 8, (SIZE[1] // coarse, side // coarse, 1))
        pixels += np.kron(grain, np.ones((coarse, coarse, 1)))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def fill(folder: Path, own: Path) -> str:
    """So many files in *folder*, and others in *own* to calibrate on, with a caption each; what they are."""
    photographs = sorted(SHARED.glob("*.jpg"))
    originals = [path.read_bytes() for path in photographs] or [made(number) for number in range(50)]
    for number in range(FILES):
        Path(folder, f"{number:05}.jpg").write_bytes(originals[2 * number % len(originals)])
    rows = []
    for number, stored in enumerate(originals[1::2]):
        rows.append({"file": f"{number:05}.jpg", "captions": [f"picture {number}"]})
        Path(own, rows[-1]["file"]).write_bytes(stored)
    Path(own, "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    return f"{len(originals[::2])} {'photographs' if photographs else 'generated pictures'}, in turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What takes turns; each gives pictures per second."""

    folder: Path
    names: Sequence[str]
    plan: embed.Plan
    encode: Embed
    model: Callable[[object], np.ndarray]
    change: Callable[[object], np.ndarray]
    rows: dict[str, np.ndarray] = field(default_factory=dict)

    def plain(self) -> float:
        """The loop that everybody writes."""
        from PIL import Image

        began = time.perf_counter()
        for name in self.names[:PLAIN]:
            self.rows[name] = self.model(self.change(Image.open(self.folder / name)))
        return PLAIN / (time.perf_counter() - began)

    def ours(self) -> float:
        """The folder to a file."""
        self.plan.out.unlink(missing_ok=True)
        summary = embed.run(self.plan, self.encode)
        assert not summary.bad, summary.bad
        return summary.images / summary.seconds

    def bound(self) -> float:
        """What both halves allow, each alone."""
        return embed.halves(self.plan, self.encode, self.names).bound


def looped(spec: ModelSpec, options: Settings) -> tuple[Callable[[object], np.ndarray], Callable[[object], np.ndarray]]:
    """open_clip's model and its transform, a picture at a time."""
    import torch

    torch.set_num_threads(options.threads)
    model = source(options, spec).model()

    def encode(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.encode_image(torch.from_numpy(pixels)[None]).numpy()[0]

    return encode, feeds.transform(spec)


def taken(arms: Arms) -> Mapping[str, list[float]]:
    """Pictures per second of each arm, in ABBA order."""
    order = ("plain", "ours", "bound")
    found: dict[str, list[float]] = {name: [] for name in order}
    arms.ours(), arms.plain()  # the first calls compile and allocate
    for _ in range(GROUPS):
        for name in (*order, *order[::-1]):
            found[name].append(getattr(arms, name)())
    return {
        name: [float(np.mean(values[i : i + 2])) for i in range(0, len(values), 2)] for name, values in found.items()
    }


def exactness(arms: Arms) -> float:
    """The mean cosine of our rows with the plain loop's."""
    import pyarrow.parquet as pq

    table = pq.read_table(arms.plan.out)
    rows = dict(zip(table["file"].to_pylist(), np.array(table["embedding"].to_pylist()), strict=True))
    own, plain = (np.array([each[name] for name in arms.rows]) for each in (rows, arms.rows))
    return float(metrics.cosine(own, plain).mean())


def main(name: str) -> int:
    """Measure, print, and say whether the bounds hold."""
    with TemporaryDirectory() as kept, ExitStack() as stack:
        folder, own = Path(kept, "pictures"), Path(kept, "calibration")
        folder.mkdir()
        own.mkdir()
        what = fill(folder, own)
        options = replace(cells.settings(name.split("-")[1]), data=own, samples=LEAST_SAMPLES)
        case = cases.choose(options, backends.discover(), name, "", "").image
        opened = stack.enter_context(encoder.opened(case, options, batch=BATCH, instances=options.threads))
        plan = embed.Plan(
            folder=folder,
            out=Path(kept, "embeddings.parquet"),
            recipe={},
            transform=preprocess.transform("fused", case.model, pixels=Rewrite.FOLDED in case.variant.rewrites),
            batch=BATCH,
            workers=options.threads,
        )
        model, change = looped(case.model, options)
        arms = Arms(folder=folder, names=embed.listed(folder), plan=plan, encode=opened, model=model, change=change)
        found, cosine = taken(arms), exactness(arms)
    faster = [ours / plain for ours, plain in zip(found["ours"], found["plain"], strict=True)]
    reached = [ours / bound for ours, bound in zip(found["ours"], found["bound"], strict=True)]
    told = {arm: f"{median(values):.1f}" for arm, values in found.items()}
    sys.stdout.write(f"{case.id}, {BATCH} a call, {options.threads} threads; {what}; pictures per second: {told}\n\n")
    rows = [
        verdict.row(
            claim="times the plain loop", measured=_span(faster), bound=f"{FASTER:g}", holds=median(faster) >= FASTER
        ),
        verdict.row(
            claim="of what both halves allow",
            measured=_span(reached),
            bound=f"{REACHED:g}",
            holds=median(reached) >= REACHED,
        ),
        verdict.row(claim="mean cosine", measured=f"{cosine:.5f}", bound=f"{EXACT:g}", holds=cosine >= EXACT),
    ]
    return verdict.show(rows)


def _span(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [CELL]))
