"""Mutants of quality/ and timing/, and the share of them that the tests kill: ``tox run -e mutation``.

mutmut changes one operator, constant or call at a time, and runs the tests that reach it, but for simulations. It takes most
of an hour on one core, and goes on where it stopped: a mutant is tried again when its function changed, or when it is named.
The exit status is 1 under the share that the project promises.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

STATS = Path("mutants/mutmut-cicd-stats.json")
LEAST = 0.9
ROOM_BYTES = 8 << 30  # of addresses: a mutant that never stops filling a list ends before the machine's memory does
KILLED = ("killed", "timeout", "segfault", "suspicious")


def main(chosen: list[str]) -> int:
    """Run, count, and tell; *chosen* are options and patterns of ``mutmut run``, all mutants without a pattern."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a fork has no threads
    if failed := subprocess.run(["mutmut", "run", *chosen], env=alone, check=False).returncode:  # noqa: S603, S607
        return failed  # a test fails without any mutant: what was counted earlier says nothing
    subprocess.run(["mutmut", "export-cicd-stats"], check=True, stdout=subprocess.DEVNULL)  # noqa: S607
    told = json.loads(STATS.read_text(encoding="utf-8"))
    killed, lived = sum(told.get(name, 0) for name in KILLED), told["survived"] + told["no_tests"]
    share, untried = killed / max(1, killed + lived), told["total"] - killed - lived
    sys.stdout.write(
        f"{killed:,} of {killed + lived:,} mutants killed: {100 * share:.1f} % "
        f"({told['no_tests']} reached by no test, {untried:,} not tried)\n"
    )
    return int(share < LEAST)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
