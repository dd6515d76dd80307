"""Kills: a run that is killed again and again ends with the cells of one that is left alone, and its supervisor sleeps.

``python tests/claims/kills.py [KILLS [SEED]]``. One run of ``clip-bench run`` on cells of the null backend is left alone.
Others are killed with SIGKILL at random moments, from the start of the process on: in turns everything at once, the
supervisor first, and the child alone. After each kill of everything ``--resume`` goes on; where not even the journal had
begun, the run begins anew. A run that ends is held against the first: each planned cell once, in the same order, with the
same outcome, or as crashed where a kill met it; and clip-bench verify finds nothing in its file.

The supervisor's processor seconds are those of its own process alone, from when it has started pytest until it ends, in the
run that is left alone; what Python took to start it is told beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import verdict

from clip_bench import runfile
from clip_bench.record import Outcome
from clip_bench.report.verify import verify

ROOT = Path(__file__).parents[2]
KILLS, SEED = 50, 0
CHOSEN = ("-k", "null and shapes_tiny", "--batch", "1-12", "--samples", "24", "--rounds", "4")
ASLEEP = 0.01  # of a run's seconds
LOOK_S = 0.05  # how often this script looks at what it started
LONGEST_S = 300.0

Cells = list[tuple[str, Outcome]]


@dataclass(slots=True)
class Tally:
    """What was killed, and what became of it."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    wrong: list[str] = field(default_factory=list)
    crashed: int = 0
    cells: int = 0


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin the run of *folder*, or go on with it."""
    options = ("--resume", str(folder)) if any(folder.glob("*.jsonl")) else (*CHOSEN, "--reports", str(folder))
    told = {name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.Popen(  # noqa: S603  ourselves
        [sys.executable, "-P", "-m", "clip_bench", "run", *options],
        cwd=ROOT,
        env=told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A run that is left alone: its seconds, those of them after pytest's start, and the supervisor's own of the processor."""

    seconds: float
    asleep_s: float
    start_s: float
    own_s: float


def left_alone(folder: Path) -> Alone:
    """A run from its start to its end."""
    began, looks = time.perf_counter(), []
    with start(folder) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            times = watched.cpu_times()
            if looks or watched.children():
                looks.append((time.perf_counter(), times.user + times.system))
            time.sleep(LOOK_S)
    (first, start_s), (last, end_s) = looks[0], looks[-1]
    return Alone(
        seconds=time.perf_counter() - began, asleep_s=last - first, start_s=start_s, own_s=max(end_s, start_s) - start_s
    )


def killed(folder: Path, what: str, after_s: float) -> bool:
    """Begin or go on, and kill *what* so many seconds later; False where nothing was left to kill by then."""
    with start(folder) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        supervisor = psutil.Process(process.pid)
        children = supervisor.children(recursive=True)
        if what == "child":
            for child in children[:1]:
                child.kill()
            process.wait(LONGEST_S)
            return bool(children)
        for each in (supervisor, *children):
            _kill(each)
    return True


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:  # it ended with its supervisor
        return


def ended(folder: Path) -> Path | None:
    """The file of the run of *folder*, once it is all that is left."""
    files = [*folder.glob("*/*.json")]
    return files[0] if files and not any(folder.glob("*.jsonl")) else None


def cells(file: Path) -> Cells:
    """Each cell of a run file, in its order."""
    return [(entry.case, entry.outcome) for entry in runfile.read(file).entries]


def faults(undisturbed: Cells, found: Cells) -> Iterator[str]:
    """What is not as in the run that was left alone, a line each."""
    times = Counter(case for case, _ in found)
    yield from (f"{case} is lost" for case, _ in undisturbed if not times[case])
    yield from (f"{case} is there {count} times" for case, count in times.items() if count > 1)
    yield from (f"{case} was never planned" for case in times if case not in dict(undisturbed))
    if not times or [case for case, _ in undisturbed] != [case for case, _ in found]:
        yield "the order is another"
    for case, outcome in found:
        if outcome not in {dict(undisturbed).get(case), Outcome.CRASHED}:
            yield f"{case} ended as {outcome}"


def disturbed(home: Path, undisturbed: Cells, seconds: float, kills: int, draw: np.random.Generator) -> Tally:
    """Runs that are killed *kills* times in all, each held against the one that was left alone."""
    tally = Tally()
    while sum(tally.kills.values()) < kills:
        folder = home / str(tally.runs)
        folder.mkdir()
        while (file := ended(folder)) is None:
            what = ("everything", "child")[sum(tally.kills.values()) % 2]
            over = sum(tally.kills.values()) >= kills
            if killed(folder, what, LONGEST_S if over else draw.uniform(0, seconds)):
                tally.kills[what] += 1
        tally.runs += 1
        found = cells(file)
        tally.cells += len(found)
        tally.crashed += sum(outcome is Outcome.CRASHED for _, outcome in found)
        tally.wrong += [*faults(undisturbed, found), *(line for each in verify(file) for line in each.faults)]
    return tally


def told(tally: Tally, alone: Alone) -> list[verdict.Row]:
    """The rows of the table."""
    kills = ", ".join(f"{count} of {what}" for what, count in tally.kills.items())
    return [
        verdict.row(
            claim=f"faults after {sum(tally.kills.values())} kills ({kills}) in {tally.runs} runs",
            measured=f"{len(tally.wrong)} among {tally.cells} cells, {tally.crashed} of them crashed",
            bound="0",
            holds=not tally.wrong and tally.runs > 0,
        ),
        verdict.row(
            claim="the supervisor's share of a run's seconds, once pytest is started",
            measured=f"{alone.own_s / alone.asleep_s:.2%} ({alone.own_s:.2f} of {alone.asleep_s:.1f} s; {alone.start_s:.2f} before)",
            bound=f"{ASLEEP:.0%}",
            holds=alone.own_s / alone.asleep_s < ASLEEP,
        ),
    ]


def main(kills: int = KILLS, seed: int = SEED) -> int:
    """Measure, print, and say whether the bounds hold."""
    with TemporaryDirectory() as home:
        for name in ("cold", "alone"):  # the first fills the store
            folder = Path(home, name)
            folder.mkdir()
            alone = left_alone(folder)
        undisturbed = cells(ended(folder))
        tally = disturbed(Path(home), undisturbed, alone.seconds, kills, np.random.default_rng(seed))
    sys.stdout.write(f"{len(undisturbed)} cells; {alone.seconds:.1f} s where they are left alone; seed {seed}\n\n")
    sys.stdout.writelines(f"{line}\n" for line in tally.wrong)
    return verdict.show(told(tally, alone))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
