"""Which runners a hardware run is for, as the matrix of its jobs: a row for each, with the options of pytest there.

The environment tells, so that no shell reads any of it: ``RUNNERS``, a JSON object of the labels that have a runner, each
with the options that it always takes; ``LABELS``, those that are wanted (empty: all of these); ``OPTIONS``, for each.
"""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = '{"cpu": "", "vacc": "--option vastai.models=/srv/vacc"}'


def main() -> None:
    """A line for ``GITHUB_OUTPUT``, or an exit that says what is wrong."""
    told = {name: os.environ.get(name, "") for name in ("RUNNERS", "LABELS", "OPTIONS")}
    try:
        chosen = rows(told["RUNNERS"], told["LABELS"].replace(",", " ").split(), told["OPTIONS"], labels())
    except ValueError as exc:
        sys.exit(str(exc))
    sys.stdout.write(f"rows={json.dumps(chosen)}\n")


def labels() -> tuple[str, ...]:
    """Those of tox.ini."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return tuple(line.partition("=")[0].strip() for line in parser["tox"]["labels"].splitlines() if line.strip())


def rows(runners: str, wanted: Collection[str], options: str, known: Collection[str]) -> list[Mapping[str, str]]:
    """A row for each label that is *wanted*, or for each of *runners*, in the order in which they are *known*.

    Raises:
        ValueError: *runners* is no such object, or a label is not known.
    """
    own = _own(runners)
    if strangers := sorted({*own, *wanted} - set(known)):
        msg = f"{', '.join(strangers)}: no such label; those of tox.ini are {', '.join(known)}"
        raise ValueError(msg)
    chosen = [label for label in known if label in (wanted or own)]
    return [{"label": label, "options": f"{own.get(label, '')} {options}".strip()} for label in chosen]


def _own(runners: str) -> Mapping[str, str]:
    try:
        own = json.loads(runners or "{}")
    except json.JSONDecodeError:
        own = None
    if not isinstance(own, dict) or not all(isinstance(options, str) for options in own.values()):
        msg = f"the variable RUNNERS has to be a JSON object, options of pytest for each label, such as {SHOWN}"
        raise ValueError(msg)
    return own


if __name__ == "__main__":
    main()
