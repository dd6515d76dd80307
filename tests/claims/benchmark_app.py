"""OpenVINO's own benchmark_app and our session measure the same: one IR, hint, precision, threads, streams, batch.

``python tests/claims/benchmark_app.py``. The two take turns, who begins in turns, and what is bound is the median of
the pairs' ratios: ours over theirs, of the median latency of one request at a time (their ``-api sync``)
and of the throughput of a closed loop of requests (``-api async``). Theirs is a process of its own
each time, ours a session loaded anew. What each has inside its clock:

* theirs fills its inputs once, takes one input over and over, and never reads an output; its latency is the runtime's
  own clock, without the way through Python.
* ours is given arrays, eight in turn, and hands arrays back, as a user needs them: it sets the inputs of each request
  and copies each output out.

So latency is compared twice: by the runtime's clock, which our request has as well as theirs, and by ours. For calls
above :data:`SHORT_S` all figures are bound. Below it the way through Python, which is not in theirs, is more than the
bound by itself, and only the runtime's clock is: shapes_tiny's 0.75 ms took 0.84 ms by our clock, of which 20 µs go to
Python's call and 60 µs to inputs that are set and outputs that are copied; its throughput was that of a bare
``AsyncInferQueue`` whose callback copies outputs (844 and 832 µs a call), where one without a callback took 655 µs.
``apart`` is the difference of one call.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cells
import verdict

from clip_bench import pipeline
from clip_bench.backends import Arrays
from clip_bench.backends.openvino.session import OpenVinoSession
from clip_bench.settings import Settings
from clip_bench.specs import Case, Load, Pattern
from clip_bench.timing import latency, load
from clip_bench.timing.stopwatch import Stopwatch

PAIRS = 5
SECONDS = 3  # of each run
BOUND = 0.05
SHORT_S = 5e-3  # of a call, below which Python's way there and back is a part of the bound
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
    """What a run measured: seconds of the median call, samples per second, and the median by the runtime's clock."""

    median_s: float
    samples_s: float
    inside_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Clocked:
    """A session whose request is asked after each call what it took by the runtime's clock."""

    session: OpenVinoSession
    inside_s: list[float] = field(default_factory=list)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once; to ask takes a microsecond."""
        outputs = self.session.run(feeds)
        self.inside_s.append(self.session.request.latency / 1e3)
        return outputs


def parsed(text: str) -> Run:
    """The figures of benchmark_app's last lines: they have more digits than its JSON.

    Raises:
        ValueError: it printed none.
    """
    middle, rate = MEDIAN.search(text), THROUGHPUT.search(text)
    if middle is None or rate is None:
        msg = f"benchmark_app printed no median or no throughput; the end of it:\n{text[-2000:]}"
        raise ValueError(msg)
    median_s = float(middle["value"]) * UNITS_S[middle["unit"]]
    return Run(median_s=median_s, samples_s=float(rate["value"]), inside_s=median_s)


def command(xml: Path, config: Path, asked: Load) -> list[str]:
    """benchmark_app under a load; its own flags for streams and threads exclude one for the hint, a *config* does not.

    It would otherwise turn the graph's input into uint8, as it does with whatever looks like a picture.
    """
    api = "sync" if asked.pattern is Pattern.LATENCY else "async"
    told = ["-m", str(xml), "-ip", "f32", "-d", "CPU", "-load_config", str(config), "-t", str(SECONDS)]
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
    session = Clocked(session=prepared.session)
    times = latency.measure(Stopwatch(), session, prepared.rotated, warmups=pipeline.WARM_UPS, rounds=rounds).rounds_s
    inside_s = median(session.inside_s[-rounds:])
    return Run(median_s=median(times), samples_s=len(times) / sum(times), inside_s=inside_s)


def many(prepared: pipeline.Prepared, rounds: int) -> Run:
    """A closed loop."""
    asked = prepared.case.variant.load
    window = load.measure(
        Stopwatch(),
        (prepared.session, *prepared.others),
        prepared.rotated,
        under_way=asked.depth,
        warmups=pipeline.WARM_UPS,
        rounds=rounds,
    )
    times, window_s = window.timing.rounds_s, window.timing.window_s
    return Run(median_s=median(times), samples_s=len(times) / window_s)


def told(name: str, figure: str, own: Sequence[float], their: Sequence[float], *, bound: bool = True) -> verdict.Row:
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
        bound=f"{1 - BOUND:.2f} to {1 + BOUND:.2f}" if bound else "none: a short call",
        holds=abs(middle - 1) <= BOUND if bound else None,
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
        whole = [run.median_s for run in their]
        bound = median(whole) >= SHORT_S
        rows.append(told(case.id, "median latency, the runtime's clock", [run.inside_s for run in own], whole))
        rows.append(told(case.id, "median latency", [run.median_s for run in own], whole, bound=bound))
        busy = replace(case, variant=replace(case.variant, load=BUSY))
        own, their = measured(busy, options, pairs)
        rates = [run.samples_s for run in own], [run.samples_s for run in their]
        rows.append(told(busy.id, "throughput", *rates, bound=bound))
    return verdict.show(rows)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else PAIRS))
