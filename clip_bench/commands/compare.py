"""clip-bench compare: what changed between two runs, and whether it is too much."""

from __future__ import annotations

import argparse
import math
import sys

from clip_bench import places, plain
from clip_bench.errors import UsageError

HELP = "what changed between runs: faster, slower or no difference seen, and the drift of the outputs"


def add(parser: argparse.ArgumentParser) -> None:
    """What is compared, and what fails."""
    parser.add_argument(
        "before", metavar="A", help="a run file, a folder of them, or pytest-benchmark's JSON; here or by URI"
    )
    parser.add_argument("after", nargs="+", metavar="B", help="the same, later: each is compared with A")
    parser.add_argument(
        "--fail-slower", metavar="P%", help="exit status 1 if a cell is surely slower, by more than P %%"
    )
    parser.add_argument(
        "--fail-drift", metavar="D", help="exit status 1 if a cell's mean cosine to the reference fell by more than D"
    )
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown", help="(default: markdown)")


def run(options: argparse.Namespace) -> int:
    """Print the comparisons; on stderr what fails, and what could not have been seen."""
    slower, drift = _share(options.fail_slower), _drift(options.fail_drift)
    from clip_bench.report import comparisons, reading
    from clip_bench.report.compare import compare

    before, *others = reading.read(list(map(places.of, [options.before, *options.after])))
    found = [compare(before, after) for after in others]
    whole = comparisons.dumps(found) if options.format == "json" else "\n".join(map(comparisons.text, found))
    sys.stdout.write(whole)
    failed = []
    for each in found:
        if slower is not None:
            failed += comparisons.slower(each, slower)
            if unseen := comparisons.blind(each, slower):
                _tell(
                    f"{unseen} of {len(each.pairs)} pairs would not have shown that they are {100 * slower:g} % slower"
                )
        if drift is not None:
            failed += comparisons.drifted(each, drift)
    for line in failed:
        _tell(line)
    return 1 if failed else 0


def _tell(line: str) -> None:
    sys.stderr.write(f"clip-bench: {plain.line(line)}\n")


def _share(text: str | None) -> float | None:
    """A percentage as a share."""
    if text is None:
        return None
    value = _number(text.removesuffix("%")) if text.endswith("%") else None
    if value is None:
        msg = f"--fail-slower {text}: a percentage such as 5%"
        raise UsageError(msg)
    return value / 100


def _drift(text: str | None) -> float | None:
    if text is None:
        return None
    value = _number(text)
    if value is None:
        msg = f"--fail-drift {text}: a difference of mean cosines such as 0.001"
        raise UsageError(msg)
    return value


def _number(text: str) -> float | None:
    """What is no finite number of at least 0 is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
