"""The only pytest adapter: options, the matrix as parameters, fixtures, and the ledger of outcomes."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from clip_bench import (
    backends,
    ceilings,
    files,
    gaps,
    journal,
    locks,
    machine,
    matrix,
    pipeline,
    plain,
    plan,
    record,
    runfile,
    settings,
    supervise,
    witness,
)
from clip_bench.errors import ClipBenchError, UnavailableError, UsageError
from clip_bench.journal import Journal
from clip_bench.ledger import Ledger
from clip_bench.live import Live
from clip_bench.options import KEEPING, LOADS, OPTIONS, TIMING
from clip_bench.record import Entry, Outcome
from clip_bench.report import github, platforms, rows, summary
from clip_bench.specs import Case
from clip_bench.timing import conditions, statistics

AXES = ("tower", "model", "target", "precision", "variant")
COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}
EXCUSED = {Outcome.SKIPPED, Outcome.UNSUPPORTED}  # what a machine or a runtime cannot do; the others are wrong
GITHUB_FILE = "GITHUB_STEP_SUMMARY"  # names the file that GitHub shows on the page of a job
SHOWN = "clip_bench_case"  # the report property of a test that is a cell
ROOFS = "ceilings"  # what the journal and the run file call them
ENDED_WELL = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}


@dataclass(slots=True, kw_only=True)
class Suite:
    """What the hooks of a session share: what was asked, which cells there are, and what became of them so far.

    ``run`` and ``journal`` are where their files are to be, ``heard`` the reports of the cell under way as JSON data, and
    ``skipped`` the reasons of the skipped tests that are no cells.
    """

    config: pytest.Config
    settings: settings.Settings
    backends: Mapping[str, backends.Backend]
    ledger: Ledger
    supervised: bool
    began: conditions.Snapshot
    run: Path | None = None
    journal: Path | None = None
    live: Live | None = None
    selected: list[Case] = field(default_factory=list)
    heard: list[dict[str, object]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    ceilings: dict[str, object] = field(default_factory=dict)
    broken_off: bool = False
    held: ExitStack = field(default_factory=ExitStack)  # the lock of this machine, while it times

    @property
    def terminal(self) -> pytest.TerminalReporter | None:
        """Unless it is switched off."""
        return self.config.pluginmanager.get_plugin("terminalreporter")

    def say(self, line: str) -> None:
        """A line at once, in a file and a pipe too, to whom it explains why nothing more comes for a while."""
        if terminal := self.terminal:
            terminal.write_line(line)
            terminal.flush()

    @property
    def timed(self) -> list[object]:
        """The rows of pytest-benchmark, which has no other handle on them."""
        return self.config._benchmarksession.benchmarks  # noqa: SLF001

    def facts(self) -> dict[str, object]:
        """What this machine is, what else it did during the run, and its ceilings where they were measured."""
        during = conditions.between(self.began, conditions.snapshot())
        fleet = {number: told["facts"] for number, told in self.ledger.story.machines.items()}
        found = machine.facts(self.settings.threads) | {"conditions": asdict(during)} | self.ceilings
        return found | ({"machines": fleet} if fleet else {})


SUITE = pytest.StashKey[Suite]()
CELL = pytest.StashKey[Case]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The shared options, and those that only a run has."""
    group = parser.getgroup("clip-bench")
    for flag, attributes in (*OPTIONS, *LOADS, *TIMING, *KEEPING):
        group.addoption(flag, **attributes)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, lay out the matrix, and register a mark for each of its words."""
    supervised = supervise.follow()
    try:
        known, found = settings.checked(vars(config.option)), backends.discover()
        cases = {case.id: case for case in matrix.cells(known, found)}
    except UsageError as exc:
        raise pytest.UsageError(str(exc)) from exc
    for word in sorted({word for case in cases.values() for word in case.words}):
        config.addinivalue_line("markers", f"{word}: cells with this word in their id")
    logging.getLogger("clip_bench").setLevel(logging.INFO)
    config.stash[SUITE] = suite = Suite(
        config=config,
        settings=known,
        backends=found,
        ledger=Ledger(cases=cases),
        supervised=supervised,
        began=conditions.snapshot(),
        journal=config.option.journal,
    )
    config.pluginmanager.register(Reports(suite))
    if (reports := config.option.reports) is not None:
        suite.journal = suite.journal or journal.fresh(reports)
        suite.run = reports / str(machine.facts(known.threads)["name"]) / f"{suite.journal.stem}.json"


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
                marks=[getattr(pytest.mark, word) for word in sorted(case.words)],
            )
            for case in metafunc.config.stash[SUITE].ledger.cases.values()
        ],
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which cell an item is, and begin or go on with the journal."""
    suite = config.stash[SUITE]
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and set(AXES) <= set(item.callspec.params):
            item.stash[CELL] = suite.ledger.cases[item.callspec.id]
            item.user_properties.append((SHOWN, item.callspec.id))
    suite.selected = [item.stash[CELL] for item in items if CELL in item.stash]
    if items and len(suite.selected) == len(items) and suite.terminal:
        suite.terminal.showfspath = False  # no line with the file's name before the line of each cell
    alone = not hasattr(config, "workerinput")  # pytest-xdist's workers time nothing, and share the options
    if (
        alone
        and suite.selected
        and not (suite.supervised or config.option.collectonly or config.option.benchmark_disable)
    ):
        try:
            suite.held.enter_context(locks.timing("timing cells", suite.say))
        except ClipBenchError as exc:
            raise pytest.UsageError(str(exc)) from exc
    if alone and suite.selected and suite.journal is not None and (suite.supervised or not config.option.collectonly):
        try:
            _keep(suite, suite.journal)
        except UsageError as exc:
            raise pytest.UsageError(str(exc)) from exc


def _keep(suite: Suite, path: Path) -> None:
    """Open the journal, and hold this run to what it tells of the one that it began with."""
    record.to_json([])  # whose first call takes memory, which no cell shall be said to have taken
    config, opened = suite.config, Journal.opened(path, locked=not suite.supervised)
    if config.option.collectonly and not (opened.story.asked or {}).get("ray"):  # a fleet alone plans without a run
        opened.close()
        return
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    planned = plan.of(suite.settings, suite.selected, commit.get("id"))
    if opened.story.asked is None:
        arguments, folder = [str(each) for each in config.invocation_params.args], str(config.invocation_params.dir)
        opened.write("asked", arguments=arguments, folder=folder, cell_timeout_s=None, memory_bytes=None)
    if opened.story.planned is None:
        opened.write("planned", **planned)
    elif other := plan.differing(opened.story.planned, planned):
        opened.close()
        msg = f"{path}: the run in it cannot go on here: {other}; begin it anew"
        raise UsageError(msg)
    suite.ledger.journal = opened
    told = "" if suite.supervised else opened.settle()
    if opened.story.ended:
        suite.say(f"{len(opened.story.ended)} cells have ended before: {path}")
    if told:
        suite.say(told)
    config.pluginmanager.register(Replay(suite, opened.story))


@pytest.fixture
def case(request: pytest.FixtureRequest, tower, model, target, precision, variant) -> Case:  # noqa: ARG001  the axes
    """The cell under test."""
    return request.node.stash[CELL]


@pytest.fixture(name="settings", scope="session")
def checked_settings(pytestconfig: pytest.Config) -> settings.Settings:
    """The run's checked options."""
    return pytestconfig.stash[SUITE].settings


@pytest.fixture(name="backends", scope="session")
def discovered_backends(pytestconfig: pytest.Config) -> Mapping[str, backends.Backend]:
    """Every backend, by name."""
    return pytestconfig.stash[SUITE].backends


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Where a cell notes what it measured."""
    return pytestconfig.stash[SUITE].ledger


@pytest.fixture
def prepared(case: Case, backends, settings, ledger: Ledger) -> Iterator[pipeline.Prepared]:
    """The cell, built and loaded; the only session alive."""
    try:
        ready = pipeline.prepare(case, backends, settings)
    except UnavailableError as exc:
        pytest.skip(str(exc))
    except ClipBenchError as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from exc
    ledger.note(ready.record)
    yield ready
    ready.close()
    del ready
    gc.collect()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make ready to show where a cell is: now there is a terminal, if there is one."""
    config, suite = session.config, session.config.stash[SUITE]
    capture = config.pluginmanager.get_plugin("capturemanager")
    suite.live = Live(
        suite.terminal,
        alone=config.getoption("capture") == "fd" and os.environ.get("TERM") != "dumb",
        columns=lambda: config.get_terminal_writer().fullwidth,
        uncaptured=capture.global_and_fixture_disabled if capture else nullcontext,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show which cell begins."""
    if case := item.stash.get(CELL, None):
        suite = item.config.stash[SUITE]
        others = [each for each in suite.selected if each != case and each.id not in suite.ledger.entries]
        suite.live.begin([case, *others], len(suite.selected))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Take the time of a whole cell, show its steps, and tell the journal when it begins and how it ended."""
    case, suite = item.stash.get(CELL, None), item.config.stash[SUITE]
    ledger, shown = suite.ledger, suite.live
    if case is None or ledger.told_before(case.id):
        return (yield)
    began, suite.heard = time.perf_counter(), []
    try:
        with _exiting():
            ledger.begin(case.id)
        with shown.listening():
            result = yield
        seconds = time.perf_counter() - began
        ledger.spend(case.id, seconds)
        row = next((row.as_dict() for row in suite.timed if row.fullname == item.nodeid and not row.has_error), None)
        with _exiting():
            ledger.close(case.id, row, suite.heard, seconds)
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


class Reports:
    """Hears every report: those of the cell under way, for a process that goes on from here, and skips of what is no cell.

    pytest-xdist's workers tell theirs too.
    """

    def __init__(self, suite: Suite) -> None:
        self.suite = suite

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it, and the reason of a skip that was not expected."""
        if self.suite.ledger.journal is not None:
            self.suite.heard.append(_as_json(self.suite, report))
        if report.skipped and not hasattr(report, "wasxfail") and SHOWN not in dict(report.user_properties):
            self.suite.skipped[report.nodeid] = _skip_reason(report)


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
    """Of each cell that ended in an earlier process its reports come again, and nothing is measured."""

    def __init__(self, suite: Suite, story: journal.Story) -> None:
        self.suite, self.story = suite, story

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Tell pytest of a test all that it heard when it ran; True, so that it is not run."""
        case = item.stash.get(CELL, None)
        if case is None or not self.suite.ledger.told_before(case.id):
            return None
        with _exiting():
            self.suite.ledger.restore(case.id)
        reports = self._reports(item, case)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item, case: Case) -> list[pytest.TestReport]:
        if death := self.story.died.get(case.id):
            return [self._death(item, case, Outcome(death["outcome"]), death["reason"])]
        told = self.story.ended[case.id]
        if told["row"]:
            self.suite.timed.append(Row(told["row"]))
        entry = self.suite.ledger.entries[case.id]
        self.suite.live.pace.end(case, told["whole_s"], skipped=entry.outcome is Outcome.SKIPPED)
        return [self._heard(data) for data in told["reports"]]

    def _heard(self, data: dict[str, object]) -> pytest.TestReport:
        """A report from JSON, which has no tuples; pytest looks for that of a skip."""
        config = self.suite.config
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)
        return report

    def _death(self, item: pytest.Item, case: Case, outcome: Outcome, reason: str) -> pytest.TestReport:
        """A cell under which the process died, ended now: as a failed test, unless a known gap expects it.

        One that no node of a fleet offers is skipped.
        """
        skipped = outcome is Outcome.SKIPPED
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome="skipped" if skipped else "failed",
            longrepr=(*item.location[:2], f"Skipped: {reason}")
            if skipped
            else f"{case.id}: {outcome.replace('_', ' ')}: {reason}",
            when="call",
            user_properties=list(item.user_properties),
        )
        _end(self.suite, case, outcome, reason, report)
        with _exiting():
            self.suite.ledger.close(case.id, None, [_as_json(self.suite, report)], 0.0)
        return report


def _as_json(suite: Suite, report: pytest.TestReport) -> dict[str, object]:
    return suite.config.hook.pytest_report_to_serializable(config=suite.config, report=report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Enter how a cell ended in the ledger, and show it."""
    report = yield
    case, suite = item.stash.get(CELL, None), item.config.stash[SUITE]
    if case is None:
        return report
    before = suite.ledger.entries.get(case.id)
    if (report.when == "call" or not report.passed) and (before is None or before.outcome is Outcome.OK):
        outcome, reason = _ending(suite.ledger, case, call, report)
        if outcome is not Outcome.OK:  # pytest-benchmark keeps the times of a cell that failed after they were measured
            suite.timed[:] = [row for row in suite.timed if row.fullname != item.nodeid]
        _end(suite, case, outcome, reason, report)
    return report


def _ending(ledger: Ledger, case: Case, call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Outcome, str]:
    """The outcome of a finished phase, and why in one line."""
    if report.passed:
        return Outcome.OK, ""
    if call.excinfo is None or report.skipped:
        return Outcome.SKIPPED, _skip_reason(report)
    error = call.excinfo.value
    if isinstance(error, pytest.fail.Exception):  # the words of the suite itself, or of what it was raised from
        error = error.__cause__ or ClipBenchError(str(error))
    return ledger.ending(case.id, error)


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _end(suite: Suite, case: Case, outcome: Outcome, reason: str, report: pytest.TestReport) -> None:
    """Enter an ending in the ledger, held to the cell's known gap if it has one, and show it as *report* counts it."""
    if gap := gaps.covering(case):
        reason = _expected(gap, outcome, reason, report)
    _show(suite, suite.ledger.end(case.id, outcome, reason), report.outcome)


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


def _show(suite: Suite, entry: Entry, counted: str) -> None:
    """One line for a cell that ended, in place of the line that showed its steps; *counted* as pytest counts it."""
    if (terminal := suite.terminal) is None:
        return
    timing = entry.record.timing if entry.outcome is Outcome.OK else None
    told = f"P50 {statistics.summary(timing.rounds_s, timing.batch).p50_s * 1e3:.3f} ms" if timing else entry.reason
    suite.live.erase()
    terminal.ensure_newline()
    terminal.write(f"[{len(suite.ledger.entries)}/{len(suite.selected)}] {entry.case}  ")
    terminal.write(str(entry.outcome), **{COLOURS[counted]: True})
    terminal.write_line(f"  {plain.printable(told)}")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot for a cell that ended: its line says more."""
    shown = SHOWN in dict(getattr(report, "user_properties", []))
    if shown and (report.when == "call" or report.outcome != "passed"):
        kind = "error" if report.failed and report.when != "call" else report.outcome
        kind = "xfailed" if hasattr(report, "wasxfail") else kind
        return kind, "", kind.upper()
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Give unreached cells an outcome, hold --require and --no-skips, and write the run even if nothing was timed."""
    suite = session.config.stash[SUITE]
    ledger = suite.ledger
    unreached = [case for case in suite.selected if case.id not in ledger.entries]
    # pytest says of an interruption that fails under its own hands that tests failed; with -x they did
    suite.broken_off = session.exitstatus not in ENDED_WELL or bool(unreached and not session.shouldfail)
    if session.exitstatus == pytest.ExitCode.USAGE_ERROR:  # there is no run, or no room for it
        return (yield)
    if not session.config.option.collectonly:
        for case in unreached:
            ledger.end(case.id, Outcome.LOST, "the run ended before this cell")
        if _broken(suite) and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    try:
        if not suite.broken_off:
            _measure_ceilings(suite)
        yield
    except OSError as exc:  # of who writes as well, such as --benchmark-json
        _unwritten(suite, exc)
    finally:
        if ledger.entries:
            with _exiting():
                _write(suite, session.exitstatus)


def _broken(suite: Suite) -> list[str]:
    """A line for each promise of --require and --no-skips that the run did not keep."""
    unmet = suite.ledger.unmet(suite.config.option.require)
    lines = [f"--require {word}: no {word} cell ended ok; see the reasons above" for word in unmet]
    if suite.config.option.no_skips:
        lines += [f"--no-skips: {name} was skipped: {reason}" for name, reason in suite.skipped.items()]
    return lines


def _measure_ceilings(suite: Suite) -> None:
    """The ceilings of what this run timed; a failure is told, and loses nothing of the run."""
    cases = [suite.ledger.cases[name] for name, entry in suite.ledger.entries.items() if entry.record.timing]
    if not (cases and suite.settings.roofline) or suite.ledger.story.machines:  # a fleet's are measured on its nodes
        return
    suite.say("")  # off the line of the last cell

    def measure() -> dict[str, object]:
        timed = {(case.target.device, case.precision) for case in cases}
        return asdict(
            ceilings.measure(suite.settings, suite.backends, timed, lambda line: suite.say(f"  ceiling: {line}"))
        )

    try:
        suite.ceilings = {ROOFS: suite.ledger.once(ROOFS, measure)}
    except ClipBenchError as exc:
        suite.say(f"no ceilings: {exc}")
    except Exception as exc:  # noqa: BLE001  whatever a runtime raises, the cells are measured and wait to be written
        suite.say(f"no ceilings: {type(exc).__name__}: {exc}")


def _write(suite: Suite, status: int) -> None:
    """The run file: pytest-benchmark's JSON with the outcomes, where --reports or --benchmark-json want it.

    The journal has done its work then, unless the run was broken off.
    """
    also = None if suite.timed else suite.config.getoption("benchmark_json")  # which pytest-benchmark then leaves out
    try:
        _write_to(suite, [Path(path) for path in (suite.run, also) if path])
    except OSError as exc:
        _unwritten(suite, exc)
    kept = suite.ledger.journal
    if kept is not None and not suite.broken_off:
        kept.write("finished", status=int(status))
        if not suite.supervised:
            kept.remove()


def _write_to(suite: Suite, wanted: list[Path]) -> None:
    """Each file whole or an OSError, and nothing half."""
    if not wanted:
        return
    config, hook = suite.config, suite.config.hook
    data = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=suite.timed,
        include_data=True,
        machine_info=config._benchmarksession.get_machine_info(),  # noqa: SLF001  its only handle on them
        commit_info=hook.pytest_benchmark_generate_commit_info(config=config),
    )
    pytest_benchmark_update_json(config, data)
    for path in wanted:
        with files.whole(path) as partial:
            partial.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")


def _unwritten(suite: Suite, exc: OSError) -> NoReturn:
    """One line in the place of a file that cannot be written, and how to have it nevertheless."""
    kept = suite.ledger.journal
    then = f", then go on with: {kept.command}" if kept else ""
    pytest.exit(
        f"{exc.filename or 'the run'}: cannot be written ({exc.strerror}); make room{then}",
        returncode=int(pytest.ExitCode.USAGE_ERROR),
    )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    """Say what this machine is, without its host name."""
    machine_info["clip_bench"] = facts = config.stash[SUITE].facts()
    machine_info["node"] = facts["name"]


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_generate_commit_info() -> Iterator[None]:
    """A commit is measured as it is though the run before made pages of reports anew, as each environment of tox does."""
    told = yield
    return told | {"dirty": told["dirty"] and _changed()}


def _changed() -> bool:
    """Whether a file that git holds was changed here, other than what is made from runs."""
    command = ("git", "diff", "--name-only", "HEAD")
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603
    return any(not name.startswith("reports/") or name.endswith(".json") for name in names)


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, object]) -> None:
    """Add every selected cell, timed or not, and the witness of all that the file holds."""
    output_json["outcomes"] = record.to_json(list(config.stash[SUITE].ledger.entries.values()))
    witness.seal(output_json)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the journal and of this machine."""
    if suite := config.stash.get(SUITE, None):
        suite.held.close()
        if suite.ledger.journal:
            suite.ledger.journal.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The tables of this run, what was required and missing, and where the run was written."""
    suite = config.stash[SUITE]
    entries, kept = tuple(suite.ledger.entries.values()), suite.ledger.journal
    broken = [] if config.option.collectonly else _broken(suite)
    if not entries and not broken:
        return
    terminalreporter.section("clip-bench")
    if entries:
        _summarise(suite, runfile.Run(name="this run", datetime="", machine=suite.facts(), entries=entries), broken)
    for line in broken:
        terminalreporter.write_line(line, red=True)
    if kept is not None and suite.broken_off and not suite.supervised:
        terminalreporter.write_line(f"broken off; it goes on with: {kept.command}")
    if entries and suite.run is not None:
        terminalreporter.write_line(f"run written to {suite.run}; tables: clip-bench report")


def _summarise(suite: Suite, run: runfile.Run, broken: list[str]) -> None:
    """The tables of *run*, or with ``--format github`` a page of a CI job: in its file, or here where there is none."""
    terminal, options = suite.terminal, suite.config.option
    if options.format == "github":
        page = os.environ.get(GITHUB_FILE)
        told = {platforms.machine_name(each.machine): rows.frame([each]) for each in runfile.apart(run)}
        if not page:
            terminal.write_line(github.summary(told, broken))
            return
        terminal.write_line(github.append(Path(page), told, broken))
    columns = suite.config.get_terminal_writer().fullwidth if terminal.isatty else None
    for outcome, line in summary.lines(run, suite.settings.percentiles, columns, alone=bool(options.load)):
        colour = {"yellow" if outcome in EXCUSED else "red": True} if outcome else {}
        terminal.write_line(line, **colour)
