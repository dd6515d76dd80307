"""A run on a fleet of Ray nodes on this machine: separate processes, each with the targets that it was started with."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import pyarrow.parquet as pq
import pytest

from clip_bench import runfile
from clip_bench.corpus.shards import MANIFEST
from clip_bench.data import generated
from clip_bench.record import Outcome
from clip_bench.report.verify import verify

LONGEST_S = 600
PICTURES, SHARD = 2000, 25
FEW = ("--model", "shapes_tiny", "--samples", "24", "--rounds", "4", "--benchmark-only", "-p", "no:cacheprovider")
CHOSEN = "(fatal and (good or wrong or leaves)) or null or fatal-hangs"


@pytest.fixture(scope="session")
def start(begin, variables, fleet, scenes, tmp_path_factory):
    """Start ``clip-bench run --ray`` in the checkout: the process, and the folder of its run."""

    def started(chosen, *arguments, folder=None):
        folder = folder or tmp_path_factory.mktemp("runs")
        options = ("--ray", fleet.address, "-k", chosen, *FEW, "--data", str(scenes), "--reports", str(folder))
        return begin(variables, "run", *(options if chosen else ()), *arguments), folder

    return started


def told(folder, kind):
    """The lines of *kind* in the journal of *folder*."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line.startswith(f'{{"kind": "{kind}"')]


def wait_for(folder, kind, count=1):
    limit = time.monotonic() + LONGEST_S
    while len(told(folder, kind)) < count:
        assert time.monotonic() < limit, kind
        time.sleep(0.05)


def file_of(folder):
    (found,) = folder.glob("*/*.json")
    return found


@pytest.fixture(scope="session")
def disturbed(start, fleet, second):
    """A run whose second node is killed once its third cell has ended; its folder, status and words."""
    process, folder = start(CHOSEN)
    with process:
        wait_for(folder, "end", 3)
        fleet.kill("b")
        out, err = process.communicate(timeout=LONGEST_S)
    fleet.add("b", *second)
    return folder, process.returncode, out, err


def test_the_nodes_of_a_fleet_are_listed_with_what_they_offer(fleet, variables):
    asked = subprocess.run(  # noqa: S603  ourselves
        [sys.executable, "-m", "clip_bench", "list", "--ray", fleet.address, "--model", "shapes_tiny"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )

    offers = [line.split("  ", maxsplit=2)[2] for line in asked.stdout.splitlines() if line.startswith("node ")]
    assert sorted(offers) == [
        "fatal-good-cpu, fatal-wrong-cpu, torch-cpu",
        "fatal-good-cpu, null-cpu, torch-cpu",
        "fatal-leaves-cpu, torch-cpu",
        "offers no target",
    ]
    assert asked.stdout.splitlines()[-1].startswith("4 nodes on 1 machine; ")


def test_a_run_with_a_node_killed_in_it_has_every_cell_once(disturbed):
    folder, status, out, err = disturbed

    entries = runfile.read(file_of(folder)).entries
    ended = Counter(entry.outcome for entry in entries)
    assert Counter(entry.case for entry in entries).most_common(1)[0][1] == 1
    assert {entry.outcome for entry in entries if "-null-" in entry.case or "-good-" in entry.case} == {Outcome.OK}
    assert {entry.outcome for entry in entries if "-leaves-" in entry.case} == {Outcome.CRASHED}
    assert {entry.outcome for entry in entries if "-hangs-" in entry.case} == {Outcome.SKIPPED}
    assert {entry.outcome for entry in entries if "-wrong-" in entry.case} <= {Outcome.LOST, Outcome.GATE_FAILED}
    assert ended[Outcome.OK] == 6
    assert len(entries) == 15
    assert status == 1
    assert list(folder.glob("*.jsonl")) == []
    assert "Traceback" not in out + err


def test_the_file_of_a_fleet_follows_from_its_raw_values(disturbed):
    assert [each.faults for each in verify(file_of(disturbed[0]))] == [()]


def test_each_cell_tells_its_machine_and_no_address_is_in_the_file(disturbed, fleet):
    run = runfile.read(file_of(disturbed[0]))

    assert list(run.machine["machines"]) == ["1"]
    assert {entry.machine for entry in run.entries if entry.outcome is Outcome.OK} == {"1"}
    assert fleet.address.partition(":")[0] not in file_of(disturbed[0]).read_text(encoding="utf-8")


def test_a_cell_has_the_threads_of_its_node_not_those_of_a_worker_of_ray(disturbed):
    facts = runfile.read(file_of(disturbed[0])).machine["machines"]["1"]

    assert facts["environment"].get("OMP_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS")


def test_a_head_that_is_killed_goes_on_to_the_same_cells(start):
    process, folder = start("null or (fatal and good)")
    with process:
        wait_for(folder, "end", 2)
        process.kill()
        process.communicate(timeout=LONGEST_S)
    before = len(told(folder, "end"))

    again, _ = start("", "--resume", folder, folder=folder)
    _, err = again.communicate(timeout=LONGEST_S)

    entries = runfile.read(file_of(folder)).entries
    assert again.returncode == 0, err
    assert before >= 2
    assert [entry.outcome for entry in entries] == [Outcome.OK] * 6
    assert len({entry.case for entry in entries}) == 6


def test_what_a_cell_did_on_a_node_is_what_it_does_alone(disturbed, pytestconfig, variables, scenes, tmp_path):
    command = ["-m", "pytest", "tests/bench", "-k", "null", *FEW, "--data", str(scenes), "--reports", str(tmp_path)]
    subprocess.run(  # noqa: S603  ourselves
        [sys.executable, "-P", *command],
        cwd=pytestconfig.rootpath,
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
    )

    alone = {entry.case: entry for entry in runfile.read(file_of(tmp_path)).entries}
    there = {entry.case: entry for entry in runfile.read(file_of(disturbed[0])).entries if entry.case in alone}
    assert len(there) == 3
    for case, entry in there.items():
        assert entry.boundary == alone[case].boundary
        assert entry.record.executed.outputs == alone[case].record.executed.outputs
        assert entry.record.quality == alone[case].record.quality


def test_a_journal_of_a_fleet_is_json_lines_with_the_facts_of_its_machines(start):
    process, folder = start("null and image")
    with process:
        wait_for(folder, "machine")
        (line,) = map(json.loads, told(folder, "machine"))
        process.communicate(timeout=LONGEST_S)

    assert line["case"] == "1"
    assert {"name", "cpu", "runtimes"} <= set(line["facts"])


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Two thousand, of which one is none."""
    root = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(generated.evaluation(0, PICTURES, 64).pictures):
        folder = root / f"{number % 7}"
        folder.mkdir(exist_ok=True)
        picture.open().save(folder / f"{number:04}.bmp")
    (root / "3" / "0010.bmp").write_bytes(b"no picture")
    return root


@pytest.fixture
def embed(begin, variables, pictures):
    """Start ``clip-bench embed`` on them."""
    return partial(begin, variables, "embed", pictures)


def test_a_corpus_with_a_node_killed_in_it_has_every_picture_once_as_one_machine_embeds_it(
    fleet, embed, second, tmp_path
):
    out, limit = tmp_path / "out", time.monotonic() + LONGEST_S
    with embed("--ray", fleet.address, "-o", out, "--shard", SHARD) as process:
        while len(list(out.glob("*.parquet"))) < 3 and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.02)
        fleet.kill("b")
        before = len(list(out.glob("*.parquet")))
        told, errors = process.communicate(timeout=LONGEST_S)
    fleet.add("b", *second)
    with embed("-o", tmp_path / "alone.parquet") as alone:
        alone.communicate(timeout=LONGEST_S)

    tables = [pq.read_table(path) for path in (out, tmp_path / "alone.parquet")]
    assert process.returncode == 1, errors  # one picture is none
    assert 3 <= before < PICTURES // SHARD
    assert len(tables[0]) == PICTURES - 1
    assert tables[0]["file"].equals(tables[1]["file"])
    assert tables[0]["embedding"].equals(tables[1]["embedding"])
    assert json.loads((out / MANIFEST).read_text(encoding="utf-8"))["complete"] is True
    assert f"Total images: {PICTURES - 1}" in told
    assert "left out: 3/0010.bmp: no picture of a known format" in told
    assert "Traceback" not in told + errors
