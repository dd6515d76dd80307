"""Fuzz every door, one after the other: python tests/fuzz/run.py [--minutes N] [DOOR ...]; exit status 1 for a finding.

The examples that reach new code are kept in build/fuzz/DOOR, so that the next run goes on from there; one that is neither
read nor refused, takes 30 s or 4 GB is kept beside it as DOOR-crash-*, DOOR-timeout-* or DOOR-oom-*.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOORS = re.findall(r'^    "(\w+)": \(', (HERE / "doors.py").read_text(encoding="utf-8"), re.MULTILINE)
LIMITS = ("-timeout=30", "-rss_limit_mb=4096", "-max_len=4096", "-print_final_stats=1")
LEAST_S = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", default=[], help=f"of {', '.join(DOORS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=10, help="in all (default: %(default)s)")
    given = parser.parse_args()
    if unknown := set(given.doors) - set(DOORS):
        parser.error(f"no door {min(unknown)}; there are {', '.join(DOORS)}")
    doors = given.doors or DOORS
    seconds = max(LEAST_S, int(60 * given.minutes / len(doors)))
    failed = [door for door in doors if not fuzz(door, seconds)]
    tell(
        f"{len(failed)} of {len(doors)} doors let something through" if failed else "every example was read or refused"
    )
    return int(bool(failed))


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fuzz(door, seconds):
    """Whether *door* held for so many seconds; prints how much was tried, and how much of the code was reached."""
    corpus = Path("build", "fuzz", door)
    command = [sys.executable, str(HERE / "doors.py"), door, str(corpus), f"-max_total_time={seconds}", *LIMITS]
    ended = subprocess.run(  # noqa: S603  ourselves
        [*command, f"-artifact_prefix={corpus}-"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    told = ended.stdout.decode(errors="replace")
    tried = re.findall(r"number_of_executed_units: (\d+)", told)
    reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", told)
    cov, features, kept = reached[-1] if reached else ("0", "0", "0")
    tell(f"{door}: {tried[-1] if tried else '?'} examples, {cov} edges, {features} features, {kept} kept")
    if ended.returncode:
        tell(told[-4000:])
    return ended.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
