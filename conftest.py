"""The only pytest adapter: options, the matrix as parameters, fixtures, and the ledger of outcomes."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from clip_bench import (
    backends,
    ceilings,
    gaps,
    journal,
    machine,
    matrix,
    pipeline,
    plain,
    record,
    settings,
    supervise,
    witness,
)
from clip_bench.errors import ClipBenchError, PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.journal import Journal
from clip_bench.ledger import Ledger
from clip_bench.live import Live
from clip_bench.record import Entry, Outcome
from clip_bench.report import github, missed, narrow, platforms, profiles, rows, spent, tables
from clip_bench.specs import Case, Precision
from clip_bench.timing import conditions, statistics

AXES = ("tower", "model", "target", "precision", "variant")
ENDED = {
    UnsupportedError: Outcome.UNSUPPORTED,
    PlacementError: Outcome.FALLBACK,
    MemoryError: Outcome.OUT_OF_MEMORY,
}
EXHAUSTED = re.compile(r"out ?of ?memory|can(no|')t allocate memory|bad[ _]alloc", re.IGNORECASE)  # what runtimes say


SETTINGS = pytest.StashKey[settings.Settings]()
BACKENDS = pytest.StashKey[Mapping[str, backends.Backend]]()
CASES = pytest.StashKey[dict[str, Case]]()
LEDGER = pytest.StashKey[Ledger]()
RUN = pytest.StashKey[Path | None]()
JOURNAL = pytest.StashKey[Path | None]()  # where it is to be
SUPERVISED = pytest.StashKey[bool]()
HEARD = pytest.StashKey[list[dict[str, object]]]()  # the reports of the cell under way, as JSON data
CELL = pytest.StashKey[Case]()
SKIPPED = pytest.StashKey[dict[str, str]]()
SELECTED = pytest.StashKey[list[Case]]()
LIVE = pytest.StashKey[Live]()
BEGAN = pytest.StashKey[conditions.Snapshot]()
CEILINGS = pytest.StashKey[dict[str, object]]()
COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}
EXCUSED = {Outcome.SKIPPED, Outcome.UNSUPPORTED}  # what a machine or a runtime cannot do; the others are wrong
GITHUB_FILE = "GITHUB_STEP_SUMMARY"  # names the file that GitHub shows on the page of a job
SHOWN = "clip_bench_case"  # the report property of a test that is a cell
ROOFS = "ceilings"  # what the journal calls their measurement, which may die as a cell may
SAME = ("name", "cpu", "isa", "os", "python", "runtimes", "threads", "accelerators")  # of a machine's facts
ENDED_WELL = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The shared options, and those that only a run has."""
    group = parser.getgroup("clip-bench")
    for flag, attributes in (*settings.OPTIONS, *settings.LOADS, *settings.TIMING):
        group.addoption(flag, **attributes)
    group.addoption(
        "--require",
        action="append",
        default=[],
        metavar="WORD",
        help="fail unless a cell with this word (a device such as npu, or a whole target) ended ok; may be repeated",
    )
    group.addoption(
        "--no-skips", action="store_true", help="fail if a test that is no cell is skipped: for CI, where all can run"
    )
    group.addoption(
        "--format",
        choices=("terminal", "github"),
        default="terminal",
        help="how the run is summed up: for a terminal, or for the page of a CI job, in $GITHUB_STEP_SUMMARY if it is set",
    )
    group.addoption("--reports", type=Path, metavar="DIR", help="write the run to DIR/<machine>/<run>.json")
    group.addoption(
        "--journal",
        type=Path,
        metavar="FILE",
        help="keep what ends in FILE until the run is written, or go on with the run in it (default: DIR/<run>.jsonl)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, lay out the matrix, and register a mark for each of its words."""
    config.stash[SUPERVISED] = supervise.follow()
    try:
        config.stash[SETTINGS] = settings.checked(vars(config.option))
        config.stash[BACKENDS] = backends.discover()
        cases = matrix.cells(config.stash[SETTINGS], config.stash[BACKENDS])
        config.stash[CASES] = {case.id: case for case in cases}
    except UsageError as exc:
        raise pytest.UsageError(str(exc)) from exc
    for word in sorted({word for case in config.stash[CASES].values() for word in words(case)}):
        config.addinivalue_line("markers", f"{word}: cells with this word in their id")
    logging.getLogger("clip_bench").setLevel(logging.INFO)
    config.stash[LEDGER] = Ledger(cases=config.stash[CASES])
    config.stash[SKIPPED], config.stash[HEARD] = {}, []
    config.pluginmanager.register(Skips(config.stash[SKIPPED]))
    config.stash[CEILINGS] = {}
    config.stash[BEGAN] = conditions.snapshot()
    config.stash[RUN], config.stash[JOURNAL] = None, config.getoption("--journal")
    if (reports := config.getoption("--reports")) is not None:
        config.stash[JOURNAL] = config.stash[JOURNAL] or journal.fresh(reports)
        name = machine.facts(config.stash[SETTINGS].threads)["name"]
        config.stash[RUN] = reports / str(name) / f"{config.stash[JOURNAL].stem}.json"


def words(case: Case) -> set[str]:
    """The words of every axis of *case*: what ``-k`` finds in its id, and ``-m`` exactly."""
    family = {"int8"} if case.precision in {p for p in Precision if p.startswith("int8")} else set()
    return {word for word in case.id.split("-") if word} | family


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per cell; parameters are strings, since anything else is lost in pytest-benchmark's JSON."""
    if not set(AXES) <= set(metafunc.fixturenames):
        return
    metafunc.parametrize(
        AXES,
        [
            pytest.param(
                str(case.tower),
                case.model.name,
                str(case.target),
                str(case.precision),
                str(case.variant),
                id=case.id,
                marks=[getattr(pytest.mark, word) for word in sorted(words(case))],
            )
            for case in metafunc.config.stash[CASES].values()
        ],
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which cell an item is, and begin or go on with the journal."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and set(AXES) <= set(item.callspec.params):
            item.stash[CELL] = config.stash[CASES][item.callspec.id]
            item.user_properties.append((SHOWN, item.callspec.id))
    config.stash[SELECTED] = [item.stash[CELL] for item in items if CELL in item.stash]
    if items and len(config.stash[SELECTED]) == len(items) and (reporter := _reporter(config)):
        reporter.showfspath = False  # no line with the file's name before the line of each cell
    alone = not hasattr(config, "workerinput")  # pytest-xdist's workers time nothing, and share the options
    if alone and config.stash[SELECTED] and config.stash[JOURNAL] is not None and not config.option.collectonly:
        try:
            _keep(config, config.stash[JOURNAL])
        except UsageError as exc:
            raise pytest.UsageError(str(exc)) from exc


def _keep(config: pytest.Config, path: Path) -> None:
    """Open the journal, and hold this run to what it tells of the one that it began with."""
    record.to_json([])  # whose first call takes memory, which no cell shall be said to have taken
    opened = Journal.opened(path, locked=not config.stash[SUPERVISED])
    plan = _plan(config)
    if opened.story.asked is None:
        arguments, folder = [str(each) for each in config.invocation_params.args], str(config.invocation_params.dir)
        opened.write("asked", arguments=arguments, folder=folder, cell_timeout_s=None, memory_bytes=None)
    if opened.story.planned is None:
        opened.write("planned", **plan)
    elif other := journal.differing(opened.story.planned, plan):
        opened.close()
        msg = f"{path}: the run in it cannot go on here: {other}; begin it anew"
        raise UsageError(msg)
    config.stash[LEDGER].journal = opened
    told = "" if config.stash[SUPERVISED] else opened.settle()
    if (reporter := _reporter(config)) and opened.story.ended:
        reporter.write_line(f"{len(opened.story.ended)} cells have ended before: {path}")
    if reporter and told:
        reporter.write_line(told)
    config.pluginmanager.register(Replay(config, opened.story))


def _plan(config: pytest.Config) -> dict[str, object]:
    """What has to be the same wherever this run goes on."""
    known, commit = config.stash[SETTINGS], config.hook.pytest_benchmark_generate_commit_info(config=config)
    facts = machine.facts(known.threads)
    told = {name: value for name, value in asdict(known).items() if name != "cache"}
    plan = {
        "schema": record.SCHEMA,
        "commit": commit.get("id"),
        "machine": {name: facts[name] for name in SAME},
        "settings": told,
        "cells": [case.id for case in config.stash[SELECTED]],
    }
    return json.loads(json.dumps(plan, default=str))


@pytest.fixture
def case(request: pytest.FixtureRequest, tower, model, target, precision, variant) -> Case:  # noqa: ARG001  the axes
    """The cell under test."""
    return request.node.stash[CELL]


@pytest.fixture(name="settings", scope="session")
def checked_settings(pytestconfig: pytest.Config) -> settings.Settings:
    """The run's checked options."""
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(name="backends", scope="session")
def discovered_backends(pytestconfig: pytest.Config) -> Mapping[str, backends.Backend]:
    """Every backend, by name."""
    return pytestconfig.stash[BACKENDS]


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Where a cell notes what it measured."""
    return pytestconfig.stash[LEDGER]


def _reporter(config: pytest.Config) -> pytest.TerminalReporter | None:
    """The terminal, unless it is switched off."""
    return config.pluginmanager.get_plugin("terminalreporter")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make ready to show where a cell is: now there is a terminal, if there is one."""
    config = session.config
    capture = config.pluginmanager.get_plugin("capturemanager")
    session.config.stash[LIVE] = Live(
        _reporter(config),
        alone=config.getoption("capture") == "fd" and os.environ.get("TERM") != "dumb",
        columns=lambda: config.get_terminal_writer().fullwidth,
        uncaptured=capture.global_and_fixture_disabled if capture else nullcontext,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show which cell begins."""
    if case := item.stash.get(CELL, None):
        ended, selected = item.config.stash[LEDGER].entries, item.config.stash[SELECTED]
        waiting = [case, *(each for each in selected if each != case and each.id not in ended)]
        item.config.stash[LIVE].begin(waiting, len(selected))


@pytest.fixture
def prepared(
    pytestconfig: pytest.Config,
    case: Case,
    ledger: Ledger,
) -> Iterator[pipeline.Prepared]:
    """The cell, built and loaded; the only session alive."""
    try:
        ready = pipeline.prepare(case, pytestconfig.stash[BACKENDS], pytestconfig.stash[SETTINGS])
    except UnavailableError as exc:
        pytest.skip(str(exc))
    except ClipBenchError as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from exc
    ledger.note(ready.record)
    yield ready
    ready.close()
    del ready
    gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Take the time of a whole cell, show its steps, and tell the journal when it begins and how it ended."""
    case, ledger, shown = item.stash.get(CELL, None), item.config.stash[LEDGER], item.config.stash[LIVE]
    if case is None or _told_before(ledger, case):
        return (yield)
    began = time.perf_counter()
    item.config.stash[HEARD] = []
    try:
        with _exiting():
            ledger.begin(case.id)
        with shown.listening():
            result = yield
        seconds = time.perf_counter() - began
        ledger.spend(case.id, seconds)
        with _exiting():
            ledger.close(case.id, _row(item), item.config.stash[HEARD], seconds)
    except (KeyboardInterrupt, pytest.exit.Exception):
        with _exiting():
            ledger.withdraw(case.id)
        raise
    finally:
        shown.erase()  # before whatever an interruption prints
    if entry := ledger.entries.get(case.id):
        shown.pace.end(case, seconds, skipped=entry.outcome is Outcome.SKIPPED)
    return result


@contextmanager
def _exiting() -> Iterator[None]:
    """End pytest in order where the journal cannot be written."""
    try:
        yield
    except UsageError as exc:
        pytest.exit(str(exc), returncode=int(pytest.ExitCode.USAGE_ERROR))


def _told_before(ledger: Ledger, case: Case) -> bool:
    """Whether the journal of an earlier process tells how *case* ended."""
    story = ledger.journal.story if ledger.journal else None
    return story is not None and (case.id in story.ended or case.id in story.died)


def _row(item: pytest.Item) -> dict[str, object] | None:
    """The row of pytest-benchmark of a cell that was timed, its rounds included."""
    timed = item.config._benchmarksession.benchmarks  # noqa: SLF001  its only handle on what was timed
    return next((row.as_dict() for row in timed if row.fullname == item.nodeid and not row.has_error), None)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of pytest-benchmark that another process measured, as its own class would give it."""

    told: Mapping[str, object]
    has_error: bool = False

    @property
    def fullname(self) -> str:
        """The id of its test."""
        return self.told["fullname"]

    def as_dict(self, include_data=True, flat=False, stats=True, cprofile=None) -> dict[str, object]:  # noqa: ARG002, FBT002  its signature
        """The row, its figures in it or beside it."""
        told = {name: value for name, value in self.told.items() if name != "stats"}
        figures = {name: value for name, value in self.told["stats"].items() if include_data or name != "data"}
        return told | (figures if flat else {"stats": figures}) if stats else told


class Replay:
    """Hears the reports of each cell; of those that ended in an earlier process they come again, and nothing is measured."""

    def __init__(self, config: pytest.Config, story: journal.Story) -> None:
        self.config, self.story, self.ledger = config, story, config.stash[LEDGER]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Tell pytest of a test all that it heard when it ran; True, so that it is not run."""
        if (case := item.stash.get(CELL, None)) is None or not _told_before(self.ledger, case):
            return None
        with _exiting():
            self.ledger.restore(case.id)
        reports = self._reports(item, case)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what is told of the cell under way, for a process that goes on from here."""
        self.config.stash[HEARD].append(_as_json(self.config, report))

    def _reports(self, item: pytest.Item, case: Case) -> list[pytest.TestReport]:
        if death := self.story.died.get(case.id):
            return [self._death(item, case, Outcome(death["outcome"]), death["reason"])]
        told = self.story.ended[case.id]
        if told["row"]:
            self.config._benchmarksession.benchmarks.append(Row(told["row"]))  # noqa: SLF001  as _row
        entry = self.ledger.entries[case.id]
        self.config.stash[LIVE].pace.end(case, told["whole_s"], skipped=entry.outcome is Outcome.SKIPPED)
        return [self._heard(data) for data in told["reports"]]

    def _heard(self, data: dict[str, object]) -> pytest.TestReport:
        """A report from JSON, which has no tuples; pytest looks for that of a skip."""
        report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)
        return report

    def _death(self, item: pytest.Item, case: Case, outcome: Outcome, reason: str) -> pytest.TestReport:
        """A cell under which the process died, ended now: as a failed test, unless a known gap expects it."""
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome="failed",
            longrepr=f"{case.id}: {outcome.replace('_', ' ')}: {reason}",
            when="call",
            user_properties=list(item.user_properties),
        )
        if gap := gaps.covering(case):
            reason = _expected(gap, outcome, reason, report)
        _show(self.config, self.ledger.end(case.id, outcome, reason), report.outcome)
        with _exiting():
            self.ledger.close(case.id, None, [_as_json(self.config, report)], 0.0)
        return report


def _as_json(config: pytest.Config, report: pytest.TestReport) -> dict[str, object]:
    return config.hook.pytest_report_to_serializable(config=config, report=report)


class Skips:
    """Hears every report, those of pytest-xdist's workers too, and keeps which tests that are no cell were skipped."""

    def __init__(self, skipped: dict[str, str]) -> None:
        self.skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reason of a skip that was not expected."""
        if report.skipped and not hasattr(report, "wasxfail") and SHOWN not in dict(report.user_properties):
            self.skipped[report.nodeid] = _skip_reason(report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Enter how a cell ended in the ledger, and show it."""
    report = yield
    case, ledger = item.stash.get(CELL, None), item.config.stash[LEDGER]
    if case is None:
        return report
    before = ledger.entries.get(case.id)
    if (report.when == "call" or not report.passed) and (before is None or before.outcome is Outcome.OK):
        outcome, reason = _ending(ledger, case, call, report)
        if gap := gaps.covering(case):
            reason = _expected(gap, outcome, reason, report)
        if outcome is not Outcome.OK:
            _untimed(item.config, item.nodeid)
        _show(item.config, ledger.end(case.id, outcome, reason), report.outcome)
    return report


def _expected(gap: gaps.Gap, outcome: Outcome, reason: str, report: pytest.TestReport) -> str:
    """Hold a cell to its known gap: an expected ending passes, a good one fails; how it ended, in words."""
    told = f"known gap: {gap.reason} ({gap.link})"
    if gap.expects(outcome, reason):
        report.outcome, report.wasxfail = "skipped", told
        return f"{reason}; {told}"
    if outcome is Outcome.OK:
        report.outcome = "failed"
        report.longrepr = f"ended ok, in spite of the {told}: take the gap out of clip_bench/gaps.py"
    return reason


def _untimed(config: pytest.Config, nodeid: str) -> None:
    """Take back the times of a cell that failed after they were measured: pytest-benchmark keeps them."""
    timed = config._benchmarksession.benchmarks  # noqa: SLF001  its only handle on what was timed
    timed[:] = [row for row in timed if row.fullname != nodeid]


def _show(config: pytest.Config, entry: Entry, counted: str) -> None:
    """One line for a cell that ended, in place of the line that showed its steps; *counted* as pytest counts it."""
    ledger, reporter = config.stash[LEDGER], _reporter(config)
    if reporter is None:
        return
    timing = entry.record.timing if entry.outcome is Outcome.OK else None
    told = f"P50 {statistics.summary(timing.rounds_s, timing.batch).p50_s * 1e3:.3f} ms" if timing else entry.reason
    config.stash[LIVE].erase()
    reporter.ensure_newline()
    reporter.write(f"[{len(ledger.entries)}/{len(config.stash[SELECTED])}] {entry.case}  ")
    reporter.write(str(entry.outcome), **{COLOURS[counted]: True})
    reporter.write_line(f"  {plain.printable(told)}")


def _ending(ledger: Ledger, case: Case, call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Outcome, str]:
    """The outcome of a finished phase, and why in one line."""
    if report.passed:
        return Outcome.OK, ""
    if call.excinfo is None or report.skipped:
        return Outcome.SKIPPED, _skip_reason(report)
    measured = ledger.records.get(case.id)
    if measured and measured.quality and measured.quality.failures:
        return Outcome.GATE_FAILED, "; ".join(measured.quality.failures)
    error = call.excinfo.value
    if isinstance(error, pytest.fail.Exception):
        error = error.__cause__ or error
    reason = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ClipBenchError | pytest.fail.Exception):
        reason = f"{type(error).__name__}: {reason}"
        if EXHAUSTED.search(reason):
            return Outcome.OUT_OF_MEMORY, reason
    return next((outcome for kind, outcome in ENDED.items() if isinstance(error, kind)), Outcome.FAILED), reason


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _facts(config: pytest.Config) -> dict[str, object]:
    """What this machine is, what else it did during the run, and its ceilings where they were measured."""
    during = conditions.between(config.stash[BEGAN], conditions.snapshot())
    return machine.facts(config.stash[SETTINGS].threads) | {"conditions": asdict(during)} | config.stash[CEILINGS]


def _measure_ceilings(config: pytest.Config) -> None:
    """The ceilings of what this run timed; a failure is told, and loses nothing of the run."""
    timed = {
        (case.target.device, case.precision)
        for name, case in config.stash[CASES].items()
        if (entry := config.stash[LEDGER].entries.get(name)) and entry.record.timing
    }
    if not (timed and config.stash[SETTINGS].roofline):
        return
    reporter, ledger = _reporter(config), config.stash[LEDGER]
    log = reporter.write_line if reporter else str
    log("")  # off the line of the last cell
    story = ledger.journal.story if ledger.journal else journal.Story()
    if death := story.died.get(ROOFS):
        log(f"no ceilings: {death['outcome'].replace('_', ' ')}: {death['reason']}")
    elif told := story.ended.get(ROOFS):
        config.stash[CEILINGS] = {"ceilings": told["ceilings"]}
    else:
        ledger.begin(ROOFS)
        try:
            found = ceilings.measure(
                config.stash[SETTINGS], config.stash[BACKENDS], timed, lambda line: log(f"  ceiling: {line}")
            )
        except Exception as exc:  # noqa: BLE001  whatever a runtime raises, the cells are measured and wait to be written
            log(f"no ceilings: {type(exc).__name__}: {exc}")
            ledger.withdraw(ROOFS)
            return
        config.stash[CEILINGS] = {"ceilings": asdict(found)}
        if ledger.journal:
            ledger.journal.write("end", ROOFS, **config.stash[CEILINGS])


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    """Say what this machine is, without its host name."""
    machine_info["clip_bench"] = facts = _facts(config)
    machine_info["node"] = facts["name"]


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, object]) -> None:
    """Add every selected cell, timed or not, and the witness of all that the file holds."""
    output_json["outcomes"] = record.to_json(list(config.stash[LEDGER].entries.values()))
    witness.seal(output_json)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Give unreached cells an outcome, hold --require and --no-skips, and write the run even if nothing was timed."""
    config = session.config
    ledger = config.stash[LEDGER]
    if session.exitstatus == pytest.ExitCode.USAGE_ERROR:  # there is no run, or no room for it
        return (yield)
    if not config.option.collectonly:
        for item in session.items:
            case = item.stash.get(CELL, None)
            if case is not None and case.id not in ledger.entries:
                ledger.end(case.id, Outcome.LOST, "the run ended before this cell")
        if _broken(config) and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    try:
        if session.exitstatus in ENDED_WELL:
            _measure_ceilings(config)
        yield
    except OSError as exc:  # of who writes as well, such as --benchmark-json
        _unwritten(config, exc)
    finally:
        if ledger.entries:
            with _exiting():
                _write(config, session.exitstatus)


def _broken(config: pytest.Config) -> list[str]:
    """A line for each promise of --require and --no-skips that the run did not keep."""
    lines = [f"--require {word}: no {word} cell ended ok; see the reasons above" for word in _unmet(config)]
    if config.getoption("--no-skips"):
        lines += [f"--no-skips: {name} was skipped: {reason}" for name, reason in config.stash[SKIPPED].items()]
    return lines


def _unmet(config: pytest.Config) -> list[str]:
    """The words of --require with which no cell ended ok; one whose choice of devices ran elsewhere does not count."""
    ended = config.stash[LEDGER].entries.values()
    ok = [entry.case for entry in ended if entry.outcome is Outcome.OK and _served(entry)]
    cases = config.stash[CASES]
    return [
        word
        for word in config.getoption("--require")
        if not any(word in {cases[name].target.device, str(cases[name].target)} for name in ok)
    ]


def _served(entry: Entry) -> bool:
    """Whether the device that the target means did any of the work, as far as the runtime tells."""
    executed = entry.record.executed
    return executed is None or not executed.nodes or executed.nodes.get(executed.asked, 0) > 0


def _write(config: pytest.Config, status: int) -> None:
    """The run file: pytest-benchmark's JSON with the outcomes, where --reports or --benchmark-json want it.

    The journal has done its work then, unless the run was broken off.
    """
    session, run = config._benchmarksession, config.stash[RUN]  # noqa: SLF001  its only handle on what was timed
    wanted = [path for path in (run, None if session.benchmarks else config.getoption("benchmark_json")) if path]
    if wanted:
        try:
            _write_to(config, [Path(path) for path in wanted])
        except OSError as exc:
            _unwritten(config, exc)
    kept = config.stash[LEDGER].journal
    if kept is not None and status in ENDED_WELL:
        kept.write("finished", status=int(status))
        if not config.stash[SUPERVISED]:
            kept.remove()


def _unwritten(config: pytest.Config, exc: OSError) -> NoReturn:
    """One line in the place of a file that cannot be written, and how to have it nevertheless."""
    kept = config.stash[LEDGER].journal
    then = f", then go on with: clip-bench run --resume {kept.path}" if kept else ""
    pytest.exit(
        f"{exc.filename or 'the run'}: cannot be written ({exc.strerror}); make room{then}",
        returncode=int(pytest.ExitCode.USAGE_ERROR),
    )


def _write_to(config: pytest.Config, wanted: list[Path]) -> None:
    """All files or an OSError, and nothing half."""
    session = config._benchmarksession  # noqa: SLF001  its only handle on what was timed
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    data = config.hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=session.benchmarks,
        include_data=True,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    pytest_benchmark_update_json(config, data)
    for path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the journal."""
    if (ledger := config.stash.get(LEDGER, None)) and ledger.journal:
        ledger.journal.close()


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot for a cell that ended: its line says more."""
    shown = SHOWN in dict(getattr(report, "user_properties", []))
    if shown and (report.when == "call" or report.outcome != "passed"):
        kind = "error" if report.failed and report.when != "call" else report.outcome
        kind = "xfailed" if hasattr(report, "wasxfail") else kind
        return kind, "", kind.upper()
    return None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    """The tables of this run, what was required and missing, and where the run was written."""
    entries = tuple(config.stash[LEDGER].entries.values())
    broken = [] if config.option.collectonly else _broken(config)
    if not entries and not broken:
        return
    terminalreporter.section("clip-bench")
    if entries:
        run = record.Run(name="this run", datetime="", machine=_facts(config), entries=entries)
        _summarise(terminalreporter, config, run, broken)
    for line in broken:
        terminalreporter.write_line(line, red=True)
    kept = config.stash[LEDGER].journal
    if kept is not None and exitstatus not in ENDED_WELL and not config.stash[SUPERVISED]:
        terminalreporter.write_line(f"broken off; it goes on with: clip-bench run --resume {kept.path}")
    if entries and config.stash[RUN] is not None:
        terminalreporter.write_line(f"run written to {config.stash[RUN]}; tables: clip-bench report")


def _summarise(reporter: pytest.TerminalReporter, config: pytest.Config, run: record.Run, broken: list[str]) -> None:
    """The tables of *run*, or with ``--format github`` a page of a CI job: in its file, or here where there is none."""
    frame = rows.frame([run])
    if config.getoption("--format") == "github":
        page = os.environ.get(GITHUB_FILE)
        told = {platforms.machine_name(run.machine): frame}
        if not page:
            reporter.write_line(github.summary(told, broken))
            return
        reporter.write_line(github.append(Path(page), told, broken))
    columns = config.get_terminal_writer().fullwidth if reporter.isatty else None
    reporter.write_line(tables.terminal(frame, columns).rstrip("\n") + "\n")
    if asked := profiles(frame, config.stash[SETTINGS].percentiles, alone=bool(config.option.load)):
        reporter.write_line(asked)
    for outcome, line in missed.missed(frame, columns):
        reporter.write_line(line, **{"yellow" if outcome in EXCUSED else "red": True})
    ended = missed.tally([entry.outcome for entry in run.entries])
    reporter.write_line("")
    budget = "\n".join(filter(None, (f"{ended}.", spent.line(run.entries))))
    reporter.write_line(narrow.wrapped(budget, columns) if columns else budget)
