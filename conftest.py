"""The only pytest adapter: options, the matrix as parameters, fixtures, and the ledger of outcomes."""

from __future__ import annotations

import gc
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clip_bench import backends, ceilings, gaps, machine, matrix, pipeline, progress, record, settings, witness
from clip_bench.errors import ClipBenchError, PlacementError, UnavailableError, UnsupportedError, UsageError
from clip_bench.ledger import Ledger
from clip_bench.record import Entry, Outcome
from clip_bench.report import figures, github, missed, narrow, platforms, profiles, rows, spent, tables
from clip_bench.specs import Case, Precision
from clip_bench.timing import conditions, statistics

AXES = ("tower", "model", "target", "precision", "variant")
ENDED = {
    UnsupportedError: Outcome.UNSUPPORTED,
    PlacementError: Outcome.FALLBACK,
    MemoryError: Outcome.OUT_OF_MEMORY,
}


SETTINGS = pytest.StashKey[settings.Settings]()
BACKENDS = pytest.StashKey[Mapping[str, backends.Backend]]()
CASES = pytest.StashKey[dict[str, Case]]()
LEDGER = pytest.StashKey[Ledger]()
RUN = pytest.StashKey[Path | None]()
CELL = pytest.StashKey[Case]()
SKIPPED = pytest.StashKey[dict[str, str]]()
SELECTED = pytest.StashKey[list[Case]]()
PROGRESS = pytest.StashKey["Progress"]()
BEGAN = pytest.StashKey[conditions.Snapshot]()
CEILINGS = pytest.StashKey[dict[str, object]]()
STEPS = "clip_bench.steps"  # the logger that hears when a step of the pipeline begins
COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}
EXCUSED = {Outcome.SKIPPED, Outcome.UNSUPPORTED}  # what a machine or a runtime cannot do; the others are wrong
GITHUB_FILE = "GITHUB_STEP_SUMMARY"  # names the file that GitHub shows on the page of a job
SHOWN = "clip_bench_case"  # the report property of a test that is a cell


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


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, lay out the matrix, and register a mark for each of its words."""
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
    config.stash[SKIPPED] = {}
    config.pluginmanager.register(Skips(config.stash[SKIPPED]))
    config.stash[CEILINGS] = {}
    config.stash[BEGAN] = conditions.snapshot()
    config.stash[RUN] = None
    if (reports := config.getoption("--reports")) is not None:
        name = machine.facts(config.stash[SETTINGS].threads)["name"]
        run = reports / str(name) / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
        config.stash[RUN] = run
        config.stash[LEDGER].journal = run.with_suffix(".jsonl")


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
    """Remember which cell an item is."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and set(AXES) <= set(item.callspec.params):
            item.stash[CELL] = config.stash[CASES][item.callspec.id]
            item.user_properties.append((SHOWN, item.callspec.id))
    config.stash[SELECTED] = [item.stash[CELL] for item in items if CELL in item.stash]
    if items and len(config.stash[SELECTED]) == len(items) and (reporter := _reporter(config)):
        reporter.showfspath = False  # no line with the file's name before the line of each cell


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


class Progress(logging.Handler):
    """Shows where a cell is, while pytest captures the rest.

    On a terminal that is one line, rewritten; elsewhere, and where what a runtime prints would stand in that line
    (``-s``), a line for each step that takes long. It is written when a step begins, so never while the clock runs.
    """

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(logging.DEBUG)
        self.config, self.reporter = config, _reporter(config)
        self.capture = config.pluginmanager.get_plugin("capturemanager")
        alone = config.getoption("capture") == "fd" and os.environ.get("TERM") != "dumb"
        self.live = alone and self.reporter is not None and bool(self.reporter.isatty)
        self.pace = progress.Pace()
        self.waiting: list[Case] = []
        self.began = 0.0
        self.step, self.shown = "", False

    def begin(self, case: Case) -> None:
        """Show that the set-up of *case* begins."""
        ended, selected = self.config.stash[LEDGER].entries, self.config.stash[SELECTED]
        self.waiting = [case, *(each for each in selected if each != case and each.id not in ended)]
        self.began, self.step = time.perf_counter(), "starting"
        self._rewrite(self.step)

    def emit(self, message: logging.LogRecord) -> None:
        """A word when a step begins, and one line per artifact that is made."""
        told = message.getMessage()
        if message.name == STEPS:
            self.step = told
            self._rewrite(told)
        elif self.live:
            self._rewrite(f"{self.step}, {told}")
        elif self.reporter is not None:
            with self._uncaptured():
                self.reporter.ensure_newline()
                self.reporter.write_line(f"  {self.waiting[0].id}: {told} ...")

    def erase(self) -> None:
        """Take the line back, for what comes in its place."""
        if self.shown:
            self.shown = False
            self.reporter.rewrite("", erase=True)
            self.reporter.rewrite("")

    def _rewrite(self, step: str) -> None:
        if not self.live:
            return
        total = len(self.config.stash[SELECTED])
        place = f"[{total - len(self.waiting) + 1}/{total}]"
        left = self.pace.left(self.waiting, time.perf_counter() - self.began)
        with self._uncaptured():
            self.reporter.ensure_newline()
            columns = self.config.get_terminal_writer().fullwidth
            self.reporter.rewrite(progress.line(place, self.waiting[0].id, step, left, columns), erase=True)
            self.reporter.flush()
        self.shown = True

    def _uncaptured(self) -> AbstractContextManager[None]:
        return self.capture.global_and_fixture_disabled() if self.capture else nullcontext()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make ready to show where a cell is: now there is a terminal, if there is one."""
    session.config.stash[PROGRESS] = Progress(session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show which cell begins."""
    if case := item.stash.get(CELL, None):
        item.config.stash[PROGRESS].begin(case)


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
    """Take the time of a whole cell, from its set-up to its end, and show its steps meanwhile."""
    if (case := item.stash.get(CELL, None)) is None:
        return (yield)
    ledger, shown = item.config.stash[LEDGER], item.config.stash[PROGRESS]
    began = time.perf_counter()
    try:
        with _listening(shown):
            result = yield
    finally:
        shown.erase()  # before whatever an interruption prints
    seconds = time.perf_counter() - began
    ledger.spend(case.id, seconds)
    if entry := ledger.entries.get(case.id):
        shown.pace.end(case, seconds, skipped=entry.outcome is Outcome.SKIPPED)
    return result


@contextmanager
def _listening(shown: Progress) -> Iterator[None]:
    """Let *shown* hear what takes long, and where the line is live, every step; no test's captured log holds these."""
    made, steps = logging.getLogger("clip_bench"), logging.getLogger(STEPS)
    made.addHandler(shown)
    if shown.live:
        steps.addHandler(shown)
        steps.setLevel(logging.DEBUG)
        steps.propagate = False
    try:
        yield
    finally:
        made.removeHandler(shown)
        steps.removeHandler(shown)
        steps.setLevel(logging.NOTSET)
        steps.propagate = True


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
    timing = entry.record.timing
    told = f"P50 {statistics.summary(timing.rounds_s, timing.batch).p50_s * 1e3:.3f} ms" if timing else entry.reason
    config.stash[PROGRESS].erase()
    reporter.ensure_newline()
    reporter.write(f"[{len(ledger.entries)}/{len(config.stash[SELECTED])}] {entry.case}  ")
    reporter.write(str(entry.outcome), **{COLOURS[counted]: True})
    reporter.write_line(f"  {figures.printable(told)}")


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
    reporter = _reporter(config)
    log = reporter.write_line if reporter else str
    log("")  # off the line of the last cell
    try:
        found = ceilings.measure(
            config.stash[SETTINGS], config.stash[BACKENDS], timed, lambda line: log(f"  ceiling: {line}")
        )
    except Exception as exc:  # noqa: BLE001  whatever a runtime raises, the cells are measured and wait to be written
        log(f"no ceilings: {type(exc).__name__}: {exc}")
        return
    config.stash[CEILINGS] = {"ceilings": asdict(found)}


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
    if not config.option.collectonly:
        for item in session.items:
            case = item.stash.get(CELL, None)
            if case is not None and case.id not in ledger.entries:
                ledger.end(case.id, Outcome.LOST, "the run ended before this cell")
        if _broken(config) and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    try:
        if session.exitstatus != pytest.ExitCode.INTERRUPTED:
            _measure_ceilings(config)
        yield
    finally:
        if ledger.entries:
            _write(config)


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


def _write(config: pytest.Config) -> None:
    """The run file: pytest-benchmark's JSON with the outcomes, where --reports or --benchmark-json want it."""
    session, run = config._benchmarksession, config.stash[RUN]  # noqa: SLF001  its only handle on what was timed
    wanted = [path for path in (run, None if session.benchmarks else config.getoption("benchmark_json")) if path]
    if not wanted:
        return
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    data = config.hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=session.benchmarks,
        include_data=True,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    pytest_benchmark_update_json(config, data)
    for path in map(Path, wanted):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(path)
    if run is not None:
        run.with_suffix(".jsonl").unlink(missing_ok=True)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot for a cell that ended: its line says more."""
    shown = SHOWN in dict(getattr(report, "user_properties", []))
    if shown and (report.when == "call" or report.outcome != "passed"):
        kind = "error" if report.failed and report.when != "call" else report.outcome
        kind = "xfailed" if hasattr(report, "wasxfail") else kind
        return kind, "", kind.upper()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
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
