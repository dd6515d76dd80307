"""What the documentation tells people to type is there to be typed, and what it shows was made here."""

import argparse
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from clip_bench import backends
from clip_bench.__main__ import COMMANDS
from clip_bench.report import pages

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BETWEEN = {"&&", "|", ";", ">", ">>", "&"}
PLACEHOLDERS = {"NAME", "COMMAND", "…"}
PROGRAMS = ("clip-bench", "tox", "pytest", "-e")


def tokens(path):
    """Of a page, outer tokens and those inside its lines."""
    parsed = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    return [each for token in parsed for each in (token, *(token.children or ()))]


def snippets(path):
    """Whatever stands in monospace on a page, a line each."""
    for token in tokens(path):
        if token.type in {"code_block", "fence"}:
            yield from token.content.splitlines()
        elif token.type == "code_inline":
            yield token.content


def words(line):
    """The commands in *line*, each as its words, without comments and prompts."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split = True
    found = [[]]
    try:
        for word in lexer:
            if word in BETWEEN:
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:  # a quote that is none: prose, or another language
        return []
    return [each[1:] if each[:1] == ["$"] else each for each in found]


def typed(path):
    """What a page tells people to type of ours: the program, and its words."""
    for line in snippets(path):
        for command in words(line):
            for program in PROGRAMS:
                at = next((n for n, word in enumerate(command[:6]) if word.rpartition("/")[2] == program), None)
                if at is not None and (program != "-e" or at == 0):
                    yield program, command[at + (program != "-e") :]
                    break


@pytest.fixture(scope="module")
def everything():
    return [(path.name, *each) for path in PAGES for each in typed(path)]


@pytest.fixture(scope="module")
def environments(tox):
    return {name.removeprefix("testenv:") for name in tox.sections()} | PLACEHOLDERS


@pytest.fixture(scope="module")
def options():
    """What pytest takes here."""
    command = [sys.executable, "-P", "-m", "pytest", "--help", "-p", "no:cacheprovider"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603  ourselves
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", told))


def refused(name, arguments):
    """Why clip-bench would not take *arguments* of its command *name*; those that it asks for may be left out in a mention."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    COMMANDS[name].add(parser)
    for action in (*parser._actions, *parser._mutually_exclusive_groups):
        action.required = False
    try:
        known, unknown = parser.parse_known_args([word.strip("[]").removesuffix("...") for word in arguments])
    except argparse.ArgumentError as exc:
        return str(exc)
    return "" if hasattr(known, "pytest") else " ".join(unknown)  # what is pytest's is held against its options


def test_every_command_that_is_told_is_there_and_takes_what_is_told(everything):
    told = [(page, found) for page, program, found in everything if program == "clip-bench" and found]
    wrong = [
        (page, " ".join(found), "no such command" if found[0] not in COMMANDS else refused(found[0], found[1:]))
        for page, found in told
        if found[0] not in PLACEHOLDERS and (found[0] not in COMMANDS or refused(found[0], found[1:]))
    ]

    assert len(told) > 50
    assert not wrong


def test_every_environment_that_is_told_is_in_tox(everything, environments):
    told = [(page, found) for page, program, found in everything if program in {"tox", "-e"}]
    wrong = [
        (page, name)
        for page, found in told
        for name in dict(pairwise(found)).get("-e", "NAME").split(",")
        if name not in environments
    ]

    assert len(told) > 30
    assert not wrong


def test_every_option_of_a_run_that_is_told_is_one_of_pytest_here(everything, options):
    runs = [(page, found) for page, program, found in everything if program == "pytest"]
    runs += [
        (page, found[found.index("--") + 1 :])
        for page, program, found in everything
        if program == "tox" and found[:1] == ["run"] and "--" in found
    ]
    runs += [(page, found) for page, program, found in everything if program == "clip-bench" and found[:1] == ["run"]]
    own = {"--cell-timeout", "--memory-limit", "--ray", "--resume"}  # of clip-bench run
    wrong = [
        (page, word)
        for page, found in runs
        for word in found
        if word.startswith("-") and word.strip("[]").partition("=")[0] not in options | own
    ]

    assert len(runs) > 15
    assert not wrong


def test_the_index_has_every_command():
    told = {found[0] for _, found in typed(ROOT / "docs" / "README.md") if found}

    assert not set(COMMANDS) - told, "give these a line in docs/README.md"


def test_every_target_is_told_with_an_environment_that_runs_it(environments):
    text = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    rows = [[re.findall("`([^`]+)`", cell) for cell in line.split("|")] for line in text.splitlines() if "|" in line]
    table = {target: row[2] for row in rows if len(row) == 7 for target in row[3]}
    targets = {str(target) for each in backends.discover().values() for target in backends.targets_of(each, {})}

    assert set(table) == targets - {"null-cpu"}
    assert all(names and environments.issuperset(names) for names in table.values())


def test_every_environment_for_a_device_is_told(tox):
    told = {word for token in tokens(ROOT / "docs" / "devices.md") for word in token.content.replace("`", " ").split()}
    runs = {
        name.removeprefix("testenv:")
        for name in tox.sections()
        if "--require" in tox.get(name, "commands", fallback="")
    }

    assert len(runs) > 15
    assert not runs - told


def test_each_picture_of_readme_is_one_that_the_tables_of_this_machine_make_now(tmp_path):
    shown = [token for token in tokens(ROOT / "README.md") if token.type == "image"]
    paths = [ROOT / token.attrs["src"] for token in shown]

    pages.write([ROOT / "reports"], tmp_path)

    assert shown
    assert all(token.content for token in shown), "a picture without a word for who does not see it"
    for path in paths:
        assert path.read_bytes() == (tmp_path / path.relative_to(ROOT / "reports")).read_bytes(), path.name
