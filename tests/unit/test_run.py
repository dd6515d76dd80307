"""A run of pytest, as a user starts one: what it writes, how cells end, and what it says of bad options."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from clip_bench import runfile, witness
from clip_bench.journal import Journal
from clip_bench.record import Outcome
from clip_bench.report.verify import verify

PYTEST = (sys.executable, "-P", "-m", "pytest", "tests/bench", "-p", "no:cacheprovider")
FEW = ("--samples", "24", "--rounds", "4")
CHANGED = "one input gave another output in the first call than it gives now: another device, or other kernels"
HOST = "a-host-of-mine.example"  # acme.py says so
ACME = Path(__file__).with_name("acme") / "acme.py"
GAPPED = """
from clip_bench import gaps
from clip_bench.record import Outcome

ENDINGS = {
    "refused": (Outcome.UNSUPPORTED, "knows no Layer"),
    "misplaced": (Outcome.FALLBACK, "ran 8 nodes"),
    "exhausted": (Outcome.FAILED, "asked"),
    "good": (Outcome.UNSUPPORTED, "."),
    "absent": (Outcome.UNSUPPORTED, "."),
}
gaps.KNOWN = tuple(
    gaps.Gap(cells=f"*-acme-{name}-cpu-*", outcome=outcome, error=error, reason="no such layer", link="acme/rt#7")
    for name, (outcome, error) in ENDINGS.items()
)
"""
ID = re.compile(
    r"(image|text|pair)-[a-z0-9_]+-(torch|onnxruntime|openvino|sophon|vastai|rknn|null)(-[a-z0-9_]+)?"
    r"-(cpu|gpu|npu|emulated|numerics)-(fp32|fp16|bf16|a16w8|int8_(dynamic|qdq|nncf|vendor))"
    r"(-compiled|-cuda_graphs|-half_io)?"
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that ended: its exit status, what it printed, and its run file where there is one."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def file(self):
        (found,) = self.folder.glob("*/*.json")
        return found

    @property
    def data(self):
        return json.loads(self.file.read_text(encoding="utf-8"))

    @property
    def entries(self):
        return {entry.case: entry for entry in runfile.read(self.file).entries}

    @property
    def ids(self):
        return re.findall(r"test_latency\[(.+?)\]", self.out)


@pytest.fixture(scope="session")
def install(tmp_path_factory):
    """Install acme.py as a package of the given name: a folder for PYTHONPATH."""

    def installed(package):
        site = tmp_path_factory.mktemp("site")
        shutil.copy(ACME, site)
        told = site / f"{package}-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
        (told / "entry_points.txt").write_text("[clip_bench.backends]\nacme = acme\n", encoding="utf-8")
        return site

    return installed


@pytest.fixture(scope="session")
def acme(install):
    """A third party's backend, installed."""
    return install("acme")


@pytest.fixture(scope="session")
def run(request, cache, tmp_path_factory):
    """Start pytest on the matrix, in the checkout but not importing from it (-P), and wait for its end."""

    def started(*arguments, sites=(), **environment):
        folder = tmp_path_factory.mktemp("runs")
        paths = [*map(str, sites), *filter(None, [os.environ.get("PYTHONPATH")])]
        inherited = {name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}
        ended = subprocess.run(  # noqa: S603  ourselves
            [*PYTEST, *map(str, arguments), "--reports", str(folder)],
            cwd=request.config.rootpath,
            env={
                **inherited,
                "CLIP_BENCH_CACHE": str(cache),
                "ACME_LOG": str(folder / "log"),
                "PYTHONPATH": os.pathsep.join(paths),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Ended(status=ended.returncode, out=ended.stdout, err=ended.stderr, folder=folder)

    return started


@pytest.fixture(scope="session")
def sound(run, scenes, acme, tmp_path_factory):
    """A run of three cells that are right."""
    also = tmp_path_factory.mktemp("also") / "run.json"
    chosen = ("-k", "shapes_tiny and null", "--require", "null-cpu", "--benchmark-json", also)
    return run(*chosen, *FEW, "--data", scenes, sites=[acme]), json.loads(also.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def sabotaged(run, scenes, acme, sound):  # noqa: ARG001  which has built the reference
    """A run on a backend that breaks in every way, one per provider."""
    chosen = "acme and shapes_tiny and (image or narrow or renamed)"
    return run("-k", chosen, *FEW, "--data", scenes, sites=[acme])


@pytest.fixture(scope="session")
def absent(run):
    """A run of cells that no machine of ours can run."""
    return run("-k", "npu", "--no-skips")


def cell(provider, tower="image"):
    return f"{tower}-shapes_tiny-acme-{provider}-cpu-fp32"


def numbers(data):
    """Every number in JSON data."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return [number for part in data for number in numbers(part)]
    return [data] if isinstance(data, float | int) else []


def test_cells_that_agree_are_timed_and_the_run_succeeds(sound):
    ended, _ = sound

    assert ended.status == 0, ended.out + ended.err
    assert [entry.outcome for entry in ended.entries.values()] == [Outcome.OK] * 3
    assert [len(entry.record.timing.rounds_s) for entry in ended.entries.values()] == [4] * 3


def test_a_run_file_is_what_other_tools_read_with_one_outcome_per_cell(sound):
    ended, _ = sound

    timed = {row["param"]: row for row in ended.data["benchmarks"]}

    assert set(timed) == set(ended.entries)
    assert all(row["stats"]["rounds"] == 4 for row in timed.values())
    assert all(isinstance(part, str) for row in timed.values() for part in row["params"].values())
    assert [row["stats"]["data"] for row in timed.values()] == [
        list(ended.entries[case].record.timing.rounds_s) for case in timed
    ]


def test_the_benchmark_tools_own_file_holds_the_outcomes_as_well(sound):
    ended, also = sound

    assert also["outcomes"] == ended.data["outcomes"]
    assert len(also["benchmarks"]) == 3


def test_a_run_follows_from_its_raw_values_and_seals_them(sound):
    ended, also = sound

    (checked,) = verify(ended.file)
    assert checked.faults == ()
    assert witness.faults(also) == []
    told = next(iter(ended.entries.values())).record
    assert len(told.quality.compared[0].drift.split()) == told.quality.similarity[0].rows
    assert told.executed.inputs
    assert told.executed.outputs


def test_a_broken_run_follows_from_its_raw_values_too(sabotaged):
    (checked,) = verify(sabotaged.file)

    assert checked.faults == ()


def test_no_host_name_leaves_the_machine(sound):
    ended, also = sound

    told = json.dumps([ended.data, also])

    assert HOST not in told + ended.out + ended.err
    assert f'"{socket.gethostname()}"' not in told


def test_the_journal_is_gone_once_the_run_is_written(sound):
    ended, _ = sound

    assert [path.suffix for path in ended.folder.rglob("*.json*")] == [".json"]


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        ("constants", "constant"),
        ("nans", "24 of 24 rows are not finite"),
        ("one_nan", "1 of 24 rows are not finite"),
        ("strangers", "the output of other samples"),
        ("narrow", r"shape \(24, 5\) where the reference has"),
        ("doubled", r"shape \(48, \d+\) where the reference has"),
        ("shuffled", "24 of 24 rows are another sample's"),
        ("previous", "24 of 24 rows are another sample's"),
        ("renamed", "no such output, only"),
    ],
    ids=["constants", "nans", "one_nan", "strangers", "narrow", "doubled", "shuffled", "previous", "renamed"],
)
def test_a_wrong_answer_is_never_timed(sabotaged, provider, reason):
    entry = sabotaged.entries[cell(provider)]

    assert entry.outcome is Outcome.GATE_FAILED
    assert re.search(reason, entry.reason)
    assert entry.record.quality.failures
    assert entry.record.timing is None
    assert entry.case not in {row["param"] for row in sabotaged.data["benchmarks"]}


@pytest.mark.parametrize("provider", ["narrow", "renamed"], ids=str)
@pytest.mark.parametrize("tower", ["text", "pair"], ids=["one", "fused"])
def test_an_output_that_cannot_be_compared_fails_the_gate_of_every_tower(sabotaged, tower, provider):
    entry = sabotaged.entries[cell(provider, tower)]

    assert entry.outcome is Outcome.GATE_FAILED
    assert entry.record.quality.scores == ()


@pytest.mark.parametrize(
    ("provider", "outcome", "reason"),
    [
        ("absent", Outcome.SKIPPED, "install the acme driver"),
        ("refused", Outcome.UNSUPPORTED, "acme knows no LayerNormalization"),
        ("misplaced", Outcome.FALLBACK, "acme ran 7 nodes elsewhere"),
        ("nowhere", Outcome.FALLBACK, "the device is gone"),
        ("exhausted", Outcome.OUT_OF_MEMORY, "MemoryError: 2 GiB asked"),
        ("broken", Outcome.FAILED, "RuntimeError: acme said error 7"),
        ("late", Outcome.FAILED, "RuntimeError: the device is gone"),
        ("dying", Outcome.FAILED, "RuntimeError: the device is gone"),
        ("clingy", Outcome.FAILED, "RuntimeError: the device is gone"),
        ("good", Outcome.OK, ""),
        ("elsewhere", Outcome.FALLBACK, "asked for acme, and the runtime placed 3 nodes on acme, 1 nodes on host"),
        ("unplaced", Outcome.FALLBACK, "asked for acme, and the runtime placed 0 nodes on acme"),
        ("shared", Outcome.OK, ""),
        ("brainy", Outcome.FALLBACK, "asked for fp32, and the runtime executed 2 nodes in bfloat16"),
        ("changed", Outcome.FALLBACK, CHANGED),
        ("drifting", Outcome.FALLBACK, CHANGED),
        ("moving", Outcome.FALLBACK, "asked for acme, and the runtime placed 1 nodes on host"),
        ("restless", Outcome.OK, ""),
    ],
    ids=[
        *("absent", "refused", "misplaced", "nowhere", "exhausted", "broken", "late", "dying", "clingy", "good"),
        *("elsewhere", "unplaced", "shared", "brainy", "changed", "drifting", "moving", "restless"),
    ],
)
def test_each_failure_has_its_outcome_and_its_reason(sabotaged, provider, outcome, reason):
    entry = sabotaged.entries[cell(provider)]

    assert (entry.outcome, entry.reason) == (outcome, reason)


@pytest.mark.parametrize("provider", ["elsewhere", "brainy", "changed", "drifting", "moving"], ids=str)
def test_work_that_was_done_elsewhere_has_no_time_though_its_answers_are_right(sabotaged, provider):
    entry = sabotaged.entries[cell(provider)]

    assert entry.record.executed.nodes
    assert entry.record.timing is None
    assert entry.case not in {row["param"] for row in sabotaged.data["benchmarks"]}


def test_outputs_that_vary_from_call_to_call_are_noted_and_accuse_nobody(sabotaged):
    executed = sabotaged.entries[cell("restless")].record.executed

    assert executed.note == "outputs vary from call to call"
    assert executed.first_output != executed.last_output


def test_a_record_says_what_was_asked_found_and_told_and_where_nobody_lives(sabotaged):
    record = sabotaged.entries[cell("good")].record

    assert (record.executed.asked, record.executed.device) == ("acme", "acme 1")
    assert record.executed.first_output == record.executed.last_output != ""
    assert record.boundary.options == {"home": "acme.cfg"}


def test_what_is_no_hardware_is_judged_and_never_timed(sabotaged):
    entry = sabotaged.entries["image-shapes_tiny-acme-good-emulated-fp32"]

    assert entry.outcome is Outcome.OK
    assert entry.record.quality.similarity
    assert entry.record.timing is None
    assert entry.case not in {row["param"] for row in sabotaged.data["benchmarks"]}


@pytest.fixture
def gaps(tmp_path):
    """A plugin under which some cells are known not to work."""
    (tmp_path / "gapped.py").write_text(GAPPED, encoding="utf-8")
    return tmp_path


def test_a_known_gap_is_strict(run, acme, gaps, scenes, sound):  # noqa: ARG001  see sabotaged
    """One ends as its gap says, one is not here; one has another error, one another outcome, and one is mended."""
    chosen = "image and shapes_tiny and (refused or absent or misplaced or exhausted or good) and not emulated"

    ended = run("-k", chosen, "-p", "gapped", *FEW, "--data", scenes, sites=[acme, gaps])

    assert ended.status == 1
    assert re.search(r"=+ 1 failed, 1 skipped, \d+ deselected, 1 xfailed, 2 errors in ", ended.out)
    assert "acme ran 7 nodes elsewhere" in ended.out
    assert "MemoryError: 2 GiB asked" in ended.out
    assert "ended ok, in spite of the known gap: no such layer (acme/rt#7): take the gap out" in ended.out


def test_a_cell_that_ends_as_its_gap_says_fails_no_run_and_tells_so(run, acme, gaps, scenes, sound):  # noqa: ARG001  ditto
    ended = run("-k", "image and shapes_tiny and refused", "-p", "gapped", *FEW, "--data", scenes, sites=[acme, gaps])

    (entry,) = ended.entries.values()
    assert ended.status == 0
    assert entry.outcome is Outcome.UNSUPPORTED
    assert entry.reason == "acme knows no LayerNormalization; known gap: no such layer (acme/rt#7)"


def test_a_run_with_a_wrong_answer_fails(sabotaged):
    assert sabotaged.status == 1


def test_a_cell_that_dies_under_the_clock_has_no_time(sabotaged):
    entry = sabotaged.entries[cell("dying")]

    assert entry.record.quality.failures == ()
    assert entry.record.timing is None
    assert entry.case not in {row["param"] for row in sabotaged.data["benchmarks"]}


def test_every_figure_of_a_broken_run_is_finite(sabotaged):
    def refuse(name):
        raise ValueError(name)

    data = json.loads(sabotaged.file.read_text(encoding="utf-8"), parse_constant=refuse)

    assert len(numbers(data["outcomes"])) > 100


def test_every_session_that_was_loaded_is_closed(sabotaged):
    lines = (sabotaged.folder / "log").read_text(encoding="utf-8").splitlines()

    loaded, closed = (
        sorted(line.removeprefix(word) for line in lines if line.startswith(word)) for word in ("load ", "close ")
    )

    assert len(loaded) == 28
    assert loaded == closed


def test_cells_that_cannot_run_here_are_skipped_each_with_its_reason(absent):
    assert absent.status == 0, absent.out + absent.err
    assert {entry.outcome for entry in absent.entries.values()} == {Outcome.SKIPPED}
    assert all(re.search(r"\bNPU\b|\binstall|^needs ", entry.reason) for entry in absent.entries.values())
    assert absent.data["benchmarks"] == []


def test_what_is_required_and_missing_fails_the_run_and_is_named(run, absent):
    ended = run("-m", "npu", "--require", "npu", "--require", "null-cpu")

    assert ended.status == 1
    assert "--require npu: no npu cell ended ok" in ended.out
    assert "--require null-cpu: no null-cpu cell ended ok" in ended.out
    assert list(ended.entries) == list(absent.entries)


def test_what_is_required_is_not_met_by_a_device_that_left_all_its_work_to_another(run, acme, scenes, sound):  # noqa: ARG001  see sabotaged
    chosen = ("-k", "image and shapes_tiny and (delegated or shared)", "--data", scenes, *FEW)

    ended = run(*chosen, "--require", "acme-shared-cpu", "--require", "acme-delegated-cpu", sites=[acme])

    assert {entry.outcome for entry in ended.entries.values()} == {Outcome.OK}
    assert ended.status == 1
    assert "--require acme-delegated-cpu: no acme-delegated-cpu cell ended ok" in ended.out
    assert "--require acme-shared-cpu" not in ended.out


def test_what_is_required_and_not_even_selected_fails_the_run(run):
    ended = run("-k", "no_such_model", "--require", "npu")

    assert ended.status == 1
    assert "--require npu: no npu cell ended ok" in ended.out


def test_two_runs_collect_the_same_ids_in_the_same_order(run):
    one, two = run("--collect-only", "-q", "--full"), run("--collect-only", "-q", "--full")

    assert one.status == 0
    assert one.ids == two.ids
    assert len(one.ids) == len(set(one.ids)) > 100
    assert [case for case in one.ids if not ID.fullmatch(case)] == []


def test_to_collect_is_not_to_run(run):
    ended = run("--collect-only", "-q", "-k", "null", "--require", "npu")

    assert ended.status == 0
    assert ended.ids
    assert list(ended.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "how", "status", "outcomes"),
    [
        (["-x"], "failing", 1, [Outcome.FAILED, Outcome.LOST, Outcome.LOST]),
        (["--maxfail", "2"], "failing", 1, [Outcome.FAILED, Outcome.FAILED, Outcome.LOST]),
        ([], "interrupted", 2, [Outcome.FAILED, Outcome.FAILED, Outcome.LOST]),
    ],
    ids=["at_first", "at_second", "interrupted"],
)
def test_cells_that_a_run_never_reached_are_lost(run, acme, arguments, how, status, outcomes):
    ended = run("-k", "acme and image and shapes_tiny", *arguments, sites=[acme], ACME_DEVICES=how)

    entries = list(ended.entries.values())

    assert ended.status == status
    assert [entry.outcome for entry in entries[:3]] == outcomes
    assert {entry.outcome for entry in entries[3:]} == {Outcome.LOST}
    assert entries[-1].reason == "the run ended before this cell"


def test_a_run_that_died_goes_on_from_its_journal_with_what_ended_before(run, acme):
    chosen = ("-k", "acme and image and shapes_tiny and (absent or refused or misplaced or good)")
    ended = run(*chosen, sites=[acme], ACME_DEVICES="killed")
    (journal,) = ended.folder.glob("*.jsonl")
    story = Journal.opened(journal, locked=False).story

    again = run(*chosen, "--journal", journal, sites=[acme])

    first, second, third, *_ = again.entries
    assert ended.status == 9
    assert list(ended.folder.glob("*/*.json")) == []
    assert list(story.ended) == [first, second]
    assert story.flying == third
    assert [entry.outcome for entry in again.entries.values()][:2] == [Outcome.FAILED] * 2
    assert f"2 cells have ended before: {journal}" in again.out
    assert f"{third} was under way when everything ended: it is tried once more" in again.out
    assert not journal.exists()


def test_without_the_clock_the_gate_still_judges(run, scenes, sound):  # noqa: ARG001  it has built the reference
    chosen = ("-k", "image and shapes_tiny and null", "--benchmark-disable")

    ended = run(*chosen, *FEW, "--data", scenes)

    (entry,) = ended.entries.values()
    assert ended.status == 0, ended.out + ended.err
    assert entry.outcome is Outcome.OK
    assert entry.record.quality.similarity
    assert entry.record.timing is None
    assert ended.data["benchmarks"] == []


def test_cells_are_skipped_before_anything_is_built_where_benchmarks_are(run):
    ended = run("-k", "null", "--benchmark-skip")

    assert ended.status == 0
    assert {entry.outcome for entry in ended.entries.values()} == {Outcome.SKIPPED}
    assert {entry.record.boundary for entry in ended.entries.values()} == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vit_b_32_opena"], "no model is called 'vit_b_32_opena' (did you mean vit_b_32_openai"),
        (["--data", "no/such/folder"], "--data no/such/folder: no such file or folder"),
        (["--option", "qnn=60"], "--option qnn=60: NAME.KEY=VALUE, such as qnn.soc=SM8650"),
        (["--option", "acme.speed=9"], "--option acme.speed: no backend takes it; there are "),
        (["--calibration", "minmax"], "--calibration minmax: a method and a number of rows, such as minmax_100"),
    ],
    ids=["model", "data", "no_key", "no_owner", "no_rows"],
)
def test_a_bad_option_is_one_line_and_no_traceback(run, arguments, message):
    ended = run(*arguments)

    assert ended.status == 4
    assert ended.err.startswith(f"ERROR: {message}")
    assert len(ended.err.split("\n\n")[0].splitlines()) == 1
    assert "Traceback" not in ended.out + ended.err


def test_two_packages_with_one_backend_name_are_refused(run, install, acme):
    ended = run(sites=[acme, install("acme_too")])

    assert ended.status == 4
    assert "ERROR: backend 'acme' is declared 2 times (acme of acme, acme of acme_too); uninstall" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_skipped_test_fails_a_run_that_allows_none_but_a_skipped_cell_does_not(run, tmp_path, workers):
    (tmp_path / "skipper.py").write_text(
        "import pytest\n\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if item.name == 'test_a_spec_is_derived_and_not_edited':\n"
        "            item.add_marker(pytest.mark.skip(reason='on a whim'))\n",
        encoding="utf-8",
    )

    chosen = ("-k", "npu or a_spec_is_derived", "--no-skips")
    ended = run("tests/unit/test_specs.py", "-p", "skipper", *chosen, *workers, sites=[tmp_path])

    told = [line for line in ended.out.splitlines() if line.startswith("--no-skips")]
    assert ended.status == 1
    assert told == [
        "--no-skips: tests/unit/test_specs.py::test_a_spec_is_derived_and_not_edited was skipped: on a whim"
    ]
