"""Mutants of quality/ and timing/, and the share of them that the tests kill: ``tox run -e mutation``.

mutmut changes one operator, constant or call at a time, and runs the tests that reach it. It takes hours, and goes on where it
stopped. The exit status is 1 under the share that the project promises.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

STATS = Path("mutants/mutmut-cicd-stats.json")
LEAST = 0.9
KILLED = ("killed", "timeout", "segfault", "suspicious")


def main(chosen: list[str]) -> int:
    """Run, count, and tell; *chosen* are patterns of mutants, all without."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a fork has no threads
    subprocess.run(["mutmut", "run", *chosen], env=alone, check=False)  # noqa: S603, S607  mutmut ends with 1 where one lives
    subprocess.run(["mutmut", "export-cicd-stats"], check=True, stdout=subprocess.DEVNULL)  # noqa: S607
    told = json.loads(STATS.read_text(encoding="utf-8"))
    killed, lived = sum(told.get(name, 0) for name in KILLED), told["survived"] + told["no_tests"]
    share = killed / max(1, killed + lived)
    sys.stdout.write(
        f"{killed:,} of {killed + lived:,} mutants killed: {100 * share:.1f} % ({told['no_tests']} reached by no test)\n"
    )
    return int(share < LEAST)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
