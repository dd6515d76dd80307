"""What a run and the commands write: to a real terminal one line in place, to a pipe plain lines without codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="a pseudo-terminal takes POSIX")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

CELL = "image-shapes_tiny-null-cpu-fp32"
OTHER = "text-shapes_tiny-null-cpu-fp32"
GONE = "image-shapes_tiny-openvino-npu-fp16"
CHOSEN = f"{CELL} or {OTHER} or {GONE}"
GOLDEN = Path(__file__).parent / "tables" / "golden" / "run.json"
PLAIN = {"TERM": "xterm", "NO_COLOR": "1"}
CODE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all control characters but tab and newline
COLOUR = "\x1b["
LIVE = re.compile(r"\.\.\.  \S+ left")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """This one without what says how to colour, and with a store of its own: what takes long is shown while it is made."""
    told = {"NO_COLOR", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "LINES", "CI", "PYTEST_ADDOPTS", "GITHUB_STEP_SUMMARY"}
    kept = {name: text for name, text in os.environ.items() if name not in told}
    return {**kept, "CLIP_BENCH_CACHE": str(tmp_path_factory.mktemp("store")), "TERM": "xterm"}


@pytest.fixture(scope="module")
def on_terminal(pytestconfig, environment):
    """Run Python in a terminal of so many columns: what was written to it, with its newlines as a file has them."""

    def ran(*arguments, columns=80, **changes):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns)) if hasattr(termios, "tcsetwinsize") else fcntl.ioctl(
            theirs, termios.TIOCSWINSZ, bytes([24, 0, columns % 256, columns // 256, 0, 0, 0, 0])
        )
        with subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-P", *arguments],
            cwd=pytestconfig.rootpath,
            env={**environment, **changes},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            written = b""
            while part := _read(ours):
                written += part
        os.close(ours)
        assert process.returncode in {0, 1}, written
        return written.decode().replace("\r\n", "\n")

    return ran


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux's word for the end
        return b""


@pytest.fixture(scope="module")
def in_pipe(pytestconfig, environment):
    """Run Python with its output in pipes: stdout and stderr, one after the other."""

    def ran(*arguments, **changes):
        ended = subprocess.run(  # noqa: S603  ourselves
            [sys.executable, "-P", *arguments],
            cwd=pytestconfig.rootpath,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return ran


def suite(*arguments):
    """Arguments for a short run."""
    few = ("--samples", "24", "--rounds", "4", "--benchmark-only")
    return ("-m", "pytest", "tests/bench", "-p", "no:cacheprovider", "-k", CHOSEN, *few, *arguments)


@pytest.fixture(scope="module")
def shown(on_terminal):
    """A run on a terminal of 80 columns."""
    return on_terminal(*suite())


@pytest.fixture(scope="module")
def plain(in_pipe, shown):  # noqa: ARG001  which has built what both take
    """The same in a pipe, on other samples: their reference is made."""
    return in_pipe(*suite("--samples", "16"))


def screen(written):
    """The lines that are left to see: what a carriage return goes back over is overwritten."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", written).split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def rewritten(written, case):
    """What the live line of a cell told, one after the other."""
    told = re.findall(rf"\r\[\d/\d\] {re.escape(case)}  ([^\r\n\x1b]+?) \.\.\.  (\S+) left", written)
    return [step for step, _ in told], [left for _, left in told]


def test_each_step_of_a_cell_is_shown_in_its_line(shown):
    steps, _ = rewritten(shown, OTHER)

    assert list(dict.fromkeys(step for step in steps if ", making" not in step)) == [
        *("starting", "building", "importing", "loading", "calling", "gating", "timing"),
    ]
    assert steps.count("timing") == 1


def test_what_takes_long_is_shown_in_the_same_line(shown):
    steps, _ = rewritten(shown, CELL)

    assert "building, making reference" in steps


def test_the_time_left_is_told_once_a_cell_ended(shown):
    first, second = rewritten(shown, CELL)[1], rewritten(shown, OTHER)[1]

    assert set(first) == {"-"}
    assert all(re.fullmatch(r"\d+:\d\d", left) for left in second)


def test_the_live_line_gives_way_to_the_cells_last_one(shown):
    lines = screen(shown)

    assert not any(LIVE.search(line) for line in lines)
    assert [line for line in lines if line.startswith("[")] == [
        line for case in (CELL, GONE, OTHER) for line in lines if re.match(rf"\[\d/3\] {case}  (ok|skipped)  \S", line)
    ]


def test_no_live_line_is_wider_than_the_terminal(on_terminal, shown):  # noqa: ARG001  ditto
    written = on_terminal(*suite(), columns=50)

    live = [part for line in written.split("\n") for part in line.split("\r") if LIVE.search(part)]
    assert len(live) > 10
    assert {len(part) for part in live} == {49}


def test_an_outcome_has_a_colour_and_without_colours_only_the_line_moves(on_terminal, shown):
    without = on_terminal(*suite(), **PLAIN)

    assert f"{CELL}  {COLOUR}32mok{COLOUR}0m" in shown
    assert f"{GONE}  {COLOUR}33mskipped{COLOUR}0m" in shown
    assert COLOUR not in without
    assert set(CODE.findall(without)) == {"\r"}
    assert "timing" in rewritten(without, OTHER)[0]


def test_in_a_pipe_nothing_is_rewritten_and_no_code_is_written(plain):
    assert CODE.findall(plain) == []
    assert re.search(rf"^\[1/3\] {CELL}  ok  P50 ", plain, re.MULTILINE)
    assert not LIVE.search(plain)


def test_in_a_pipe_what_takes_long_is_a_line_of_its_own(plain):
    assert f"{CELL}: making reference ...\n" in plain


def test_a_pipe_that_is_told_to_colour_is_coloured_and_still_not_rewritten(in_pipe, plain):  # noqa: ARG001  ditto
    written = in_pipe(*suite(), FORCE_COLOR="1")

    assert f"{CELL}  {COLOUR}32mok{COLOUR}0m" in written
    assert "\r" not in written


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [(["-s"], {}), ([], {"TERM": "dumb"})],
    ids=["uncaptured", "dumb"],
)
def test_where_others_write_or_cannot_rewrite_lines_are_plain(on_terminal, shown, arguments, changes):  # noqa: ARG001  ditto
    written = on_terminal(*suite(*arguments), **changes)

    assert not LIVE.search(written)
    assert re.search(rf"\[1/3\] {CELL}  \S*ok", written)


@pytest.mark.parametrize("arguments", [["-q"], ["-v"]], ids=["quiet", "verbose"])
def test_a_quiet_and_a_verbose_run_end_each_cell_in_a_line_of_its_own(on_terminal, shown, arguments):  # noqa: ARG001  ditto
    lines = screen(on_terminal(*suite(*arguments)))

    assert [line for line in lines if line.startswith(f"[1/3] {CELL}  ok  P50 ")]
    assert not any(LIVE.search(line) for line in lines)


def test_without_a_terminal_plugin_a_run_is_silent(on_terminal, shown):  # noqa: ARG001  ditto
    assert on_terminal(*suite("-p", "no:terminal", "-o", "addopts=--import-mode=importlib")) == ""


def test_an_interrupted_run_leaves_no_live_line(on_terminal, tmp_path, shown):  # noqa: ARG001  ditto
    (tmp_path / "stopping.py").write_text(
        "import pytest\nfrom clip_bench import pipeline\n\ndef stop(*_):\n    raise KeyboardInterrupt\n\n"
        "pipeline.judge = stop\n",
        encoding="utf-8",
    )
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))

    lines = screen(_interrupted(on_terminal, paths))

    assert any("KeyboardInterrupt" in line for line in lines)
    assert not any(LIVE.search(line) for line in lines)


def _interrupted(on_terminal, paths):
    """pytest's status of an interrupted run is 2; the shell that asks hides it."""
    call = "import sys, pytest; pytest.main(sys.argv[1:])"
    return on_terminal("-c", call, *suite("-p", "stopping")[2:], PYTHONPATH=paths)


def test_eighty_columns_hold_the_tables(shown):
    lines = screen(shown)
    begin = next(index for index, line in enumerate(lines) if "clip-bench =" in line)

    body = [line for line in lines[begin:] if not line.startswith(("SKIPPED", "="))]
    assert [line for line in body if len(line) > 80] == []
    assert "2 ok, 1 skipped of 3 planned." in body


def test_reasons_are_told_once_each_with_their_cells(plain):
    assert re.search(rf"^1 skipped: .*NPU.*\n    {GONE}$", plain, re.MULTILINE)


def test_the_summary_of_a_job_goes_to_its_page_and_a_line_says_so(in_pipe, plain, tmp_path):  # noqa: ARG001  ditto
    page = tmp_path / "summary.md"
    page.write_text("before\n", encoding="utf-8")

    told = in_pipe(*suite("--format", "github", "--require", "npu"), GITHUB_STEP_SUMMARY=str(page))

    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n## clip-bench\n\n- --require npu: ")
    assert "<summary>Cells without a time: 1</summary>" in written
    assert f"summary added to {page}" in told
    assert "<details>" not in told


def test_without_a_page_the_summary_of_a_job_is_printed(in_pipe, plain):  # noqa: ARG001  ditto
    told = in_pipe(*suite("--format", "github"))

    assert "\n## clip-bench\n" in told
    assert "<summary>Cells without a time: 1</summary>" in told


COMMANDS = [
    ["doctor"],
    ["list"],
    ["compare", str(GOLDEN), str(GOLDEN)],
    ["best", str(GOLDEN)],
    ["report", "--format", "github", str(GOLDEN)],
]


def test_the_commands_write_no_codes_to_a_pipe_nor_where_colours_are_unwanted(on_terminal, in_pipe):
    call = f"from clip_bench.__main__ import main\nfor each in {COMMANDS}: print('status', main(each) < 2)"

    piped, shown = in_pipe("-c", call), on_terminal("-c", call, **PLAIN)

    assert piped.count("status True") == shown.count("status True") == len(COMMANDS)
    assert CODE.findall(piped + shown) == []
