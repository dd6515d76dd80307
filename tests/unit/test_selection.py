"""Cells are found by their words, and nothing else is."""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from itertools import permutations

import pytest

from clip_bench import backends, matrix
from clip_bench.models import catalog
from clip_bench.specs import Rewrite

FAMILY = "int8"
NEVER = "ort"  # a common short name, and a part of many words
BENCH = "tests/bench/test_latency.py"


@pytest.fixture(scope="module")
def cells(small):
    """Every cell that there is."""
    rewrites = tuple((rewrite,) for rewrite in Rewrite)
    return list(matrix.cells(replace(small, models=(), full=True, rewrites=rewrites), backends.discover()))


@pytest.fixture(scope="module")
def axes(cells):
    """The words of each axis."""
    return {
        "tower": {str(cell.tower) for cell in cells},
        "model": set(catalog.MODELS),
        "backend": {cell.target.backend for cell in cells},
        "provider": {cell.target.provider for cell in cells} - {""},
        "device": {str(cell.target.device) for cell in cells} | {"npu", "emulated", "numerics"},
        "precision": {str(cell.precision) for cell in cells} | {FAMILY},
        "variant": {word for cell in cells for word in str(cell.variant).split("-")} - {""},
    }


@pytest.fixture(scope="module")
def vocabulary(axes):
    return set().union(*axes.values())


@pytest.fixture(scope="module")
def collect(pytestconfig):
    """What a run with these arguments selects."""

    def collected(*arguments):
        ended = subprocess.run(  # noqa: S603  ourselves
            [sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=pytestconfig.rootpath,
            env={name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return [line for line in ended.stdout.splitlines() if "::" in line]

    return collected


def found(text, words):
    """The words that ``-k`` would find in *text*."""
    return sorted(word for word in words if word in text.lower())


def test_no_file_or_folder_of_tests_has_a_word_of_the_matrix_in_its_name(pytestconfig, vocabulary):
    tests = pytestconfig.rootpath / "tests"
    names = {part for path in tests.rglob("*.py") for part in path.relative_to(tests.parent).with_suffix("").parts}

    assert len(names) > 20
    assert {name: found(name, vocabulary | {NEVER}) for name in names if found(name, vocabulary | {NEVER})} == {}


def test_no_test_has_a_word_of_the_matrix_in_its_name(pytestconfig, vocabulary):
    names = {
        node.name
        for path in (pytestconfig.rootpath / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test")
    }

    assert len(names) > 100
    assert {name: found(name, vocabulary | {NEVER}) for name in names if found(name, vocabulary | {NEVER})} == {}


def test_no_parameter_of_a_test_has_a_word_of_the_matrix_in_its_name(request, vocabulary):
    """Of the tests that this run collected; a model's name is there on purpose, where a test is about that model."""
    words = (vocabulary | {NEVER}) - set(catalog.MODELS)
    names = [item.name for item in request.session.items if "case" not in item.fixturenames]

    assert request.node.name in names
    assert {name: found(name, words) for name in names if found(name, words)} == {}


def test_no_word_of_one_axis_lies_inside_a_word_of_another_axis(axes):
    inside = [
        (one, two)
        for a, b in permutations(axes, 2)
        for one in axes[a]
        for two in axes[b]
        if one in two and one != NEVER
    ]

    assert set(inside) <= {("cuda", "cuda_graphs")}  # one meaning: that variant is of that provider alone


def test_an_exact_mark_and_a_search_find_the_same_cells_for_every_word(cells, axes):
    """A word inside a longer one of its own axis, as a model's in its twin's, is told apart by ``-m`` alone."""
    for words in axes.values():
        for word in words:
            longer = {other for other in words if word in other}
            marked = [cell.id for cell in cells if longer & cell.words]
            assert [cell.id for cell in cells if word in f"{BENCH}::test_latency[{cell.id}]"] == marked, word


def test_only_models_have_twins_that_a_search_finds_too(axes):
    twins = {one for words in axes.values() for one, two in permutations(words, 2) if one in two and one != FAMILY}

    assert twins == {"mobileclip_s1", "mobileclip_s2", "siglip_b_16"}


@pytest.mark.parametrize("letter", ["k", "m"], ids=["searched", "marked"])
def test_the_family_of_precisions_is_one_word(collect, letter):
    selected = collect("tests/bench", f"-{letter}", FAMILY)

    assert {test.rpartition("-")[2].rstrip("]") for test in selected} == {
        "int8_dynamic",
        "int8_qdq",
        "int8_nncf",
        "int8_vendor",
    }
