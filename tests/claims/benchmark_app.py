"""OpenVINO's own benchmark_app and our session measure the same: one IR, hint, precision, threads, streams, batch.

``python tests/claims/benchmark_app.py``. The two take turns, who begins in turns, and what is bound is the median of
the pairs' ratios: ours over theirs, of the median latency of one request at a time (their ``-api sync``)
and of the throughput of a closed loop of requests (``-api async``). Theirs is a process of its own
each time, ours a session loaded anew. What each has inside its clock:

* theirs fills its inputs once, takes one input over and over, and never reads an output; its latency is the runtime's
  own clock, without the way through Python.
* ours is given arrays, eight in turn, and hands arrays back, as a user needs them: it sets the inputs of each request
  and copies each output out.

So a call of a fraction of a millisecond costs more in ours by some tens of microseconds. The bound is for both models
all the same, and ``apart`` is that difference of one call.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cells
import verdict

from clip_bench import pipeline
from clip_bench.settings import Settings
from clip_bench.specs import Case, Load, Pattern
from clip_bench.timing import latency, load

PAIRS = 5
SECONDS = 3  # of each run
BOUND = 0.05
MODELS = ("vit_b_32_random", "shapes_tiny")
CELL = "image-{}-openvino-cpu-fp32"
BUSY = Load(pattern=Pattern.THROUGHPUT, instances=2, queue=1)
TRIED = 50  # calls that tell how many fill the seconds
ENTRY = "from openvino.tools.benchmark.main import main; main()"  # of the console script, wherever that is
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
MEDIAN = re.compile(r"\bMedian:\s*(?P<value>[\d.]+)\s*(?P<unit>us|ms|s)\b")
THROUGHPUT = re.compile(r"\bThroughput:\s*(?P<value>[\d.]+)\s*FPS\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run measured: seconds of the median call, and samples per second."""

    median_s: float
    samples_s: float


def parsed(text: str) -> Run:
    """The figures of benchmark_app's last lines: they have more digits than its JSON.

    Raises:
        ValueError: it printed none.
    """
    middle, rate = MEDIAN.search(text), THROUGHPUT.search(text)
    if middle is None or rate is None:
        msg = f"benchmark_app printed no median or no throughput; the end of it:\n{text[-2000:]}"
        raise ValueError(msg)
    return Run(median_s=float(middle["value"]) * UNITS_S[middle["unit"]], samples_s=float(rate["value"]))


def command(xml: Path, config: Path, asked: Load) -> list[str]:
    """benchmark_app under a load; its own flags for streams and threads exclude one for the hint, a *config* does not."""
    api = "sync" if asked.pattern is Pattern.LATENCY else "async"
    told = ["-m", str(xml), "-d", "CPU", "-load_config", str(config), "-t", str(SECONDS)]
    return [sys.executable, "-c", ENTRY, *told, "-api", api, "-nireq", str(asked.depth)]


def theirs(case: Case, options: Settings) -> Run:
    """One run of benchmark_app, with what our session told the runtime."""
    xml = cells.artifact_of(case, options).file(".xml")
    with cells.loaded(case, options) as prepared:
        told = dict(prepared.session.placement().options)
    with TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps({"CPU": told}), encoding="utf-8")
        line = command(xml, config, case.variant.load)
        ended = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603  ourselves
    return parsed(ended.stdout + ended.stderr)


def ours(case: Case, options: Settings) -> Run:
    """One run of our session, measured as the suite does."""
    with cells.loaded(case, options) as prepared:
        measure = alone if case.variant.load.pattern is Pattern.LATENCY else many
        tried = measure(prepared, TRIED)
        return measure(prepared, max(TRIED, int(SECONDS * tried.samples_s)))


def alone(prepared: pipeline.Prepared, rounds: int) -> Run:
    """One request at a time."""
    timing = latency.measure(
        cells.Stopwatch(), prepared.session, prepared.rotated, warmups=pipeline.WARM_UPS, rounds=rounds
    )
    return Run(median_s=median(timing.rounds_s), samples_s=len(timing.rounds_s) / sum(timing.rounds_s))


def many(prepared: pipeline.Prepared, rounds: int) -> Run:
    """A closed loop."""
    asked = prepared.case.variant.load
    window = load.measure(
        cells.Stopwatch(),
        (prepared.session, *prepared.others),
        prepared.rotated,
        under_way=asked.depth,
        warmups=pipeline.WARM_UPS,
        rounds=rounds,
    )
    times, window_s = window.timing.rounds_s, window.timing.window_s
    return Run(median_s=median(times), samples_s=len(times) / window_s)


def told(name: str, figure: str, own: Sequence[float], their: Sequence[float]) -> verdict.Row:
    """The line of one figure: seconds of a call, or samples per second."""
    ratios = [one / other for one, other in zip(own, their, strict=True)]
    middle = median(ratios)
    slow = "latency" in figure
    apart = median(own) - median(their) if slow else 1 / median(own) - 1 / median(their)
    scale, unit = (1e3, "ms") if slow else (1.0, "/s")
    return verdict.row(
        cell=name,
        figure=figure,
        ours=f"{scale * median(own):.3f} {unit}",
        benchmark_app=f"{scale * median(their):.3f} {unit}",
        apart=f"{1e6 * apart:+.0f} µs",
        ratio=f"{middle:.3f}",
        of_the_pairs=f"{min(ratios):.3f} to {max(ratios):.3f}",
        bound=f"{1 - BOUND:.2f} to {1 + BOUND:.2f}",
        holds=abs(middle - 1) <= BOUND,
    )


def measured(case: Case, options: Settings, pairs: int) -> tuple[list[Run], list[Run]]:
    """Alternating runs: ours and theirs."""
    found: tuple[list[Run], list[Run]] = ([], [])
    for turn in range(pairs):
        for arm in (0, 1) if turn % 2 else (1, 0):
            found[arm].append((ours, theirs)[arm](case, options))
    return found


def main(pairs: int) -> int:
    """Both models under both patterns."""
    rows = []
    for model in MODELS:
        options = cells.settings(model)
        case = cells.here(options)[CELL.format(model)]
        own, their = measured(case, options, pairs)
        rows.append(told(case.id, "median latency", [r.median_s for r in own], [r.median_s for r in their]))
        busy = replace(case, variant=replace(case.variant, load=BUSY))
        own, their = measured(busy, options, pairs)
        rows.append(told(busy.id, "throughput", [r.samples_s for r in own], [r.samples_s for r in their]))
    return verdict.show(rows)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else PAIRS))
