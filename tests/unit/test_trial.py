"""Every gate tried on a few saboteurs of each kind, through the pipeline that judges every cell."""

from dataclasses import replace

import numpy as np
import pytest

from clip_bench import backends, evaluation, trial
from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.finding import Gates
from clip_bench.models import catalog
from clip_bench.report import kills
from clip_bench.specs import Precision, Tower

FEW = ("constant", "epsilon_1e-3", "squashed", "rows_permuted", "towers_swapped", "moved")


@pytest.fixture(scope="module")
def told(small):
    """The image tower in FP32, whole and broken."""
    settings = replace(small, samples=24)
    lines = []
    found = trial.run(
        settings,
        backends.discover(),
        chosen=trial.saboteurs(FEW),
        towers=[Tower.IMAGE],
        precisions=[Precision.FP32],
        draws=5,
        say=lines.append,
    )
    return found, lines


@pytest.fixture(scope="module")
def by_name(told):
    return {each.saboteur: each for each in told[0].tried}


def test_the_true_cell_lives(by_name):
    true = by_name[""]

    assert (true.gates, true.error) == ((), "")
    assert true.drift < 1e-12


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("constant", "constant"),
        ("epsilon_1e-3", "mean"),
        ("squashed", "feeds"),
        ("rows_permuted", "rows"),
        ("towers_swapped", "stranger"),
        ("moved", "repeated"),
    ],
)
def test_each_is_killed_by_the_gate_of_its_kind(by_name, name, gate):
    assert gate in by_name[name].gates
    assert by_name[name].error == ""


def test_a_squashed_square_drifts_nowhere_and_is_killed_all_the_same(by_name):
    assert by_name["squashed"].drift == by_name[""].drift


def test_the_published_figure_lets_a_broken_cell_live(by_name):
    assert by_name["epsilon_1e-3"].published_percent == by_name[""].published_percent


def test_noise_as_large_as_the_references_own_raises_no_alarm(told):
    (alarms,) = told[0].alarms

    assert (alarms.draws, alarms.failed) == (5, 0)


def test_each_precision_is_told_when_it_begins(told):
    assert told[1] == ["image fp32"]


def test_nothing_lives_and_the_page_shows_each(told):
    found, _ = told

    assert kills.living(found) == []
    page = kills.page(found)
    assert all(f"| {name}" in page for name in FEW)
    assert "False alarms: 0 in 5 draws, over 1 true cells" in page


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (np.ones_like, 100, 100),
        (lambda rows: rows * np.nan, 100, 100),
        (lambda rows: rows, 90, 100),
        (np.negative, 0, 10),
    ],
    ids=["constants", "no_numbers", "own", "negated"],
)
def test_constants_and_no_numbers_are_all_right_to_the_published_figure(small, change, least, most):
    settings = replace(small, samples=24)
    tried = trial.Trial(settings=settings, backends={})
    words = evaluation.reference_of(settings, catalog.MODELS[trial.MODEL]).text

    percent = tried._published(tried.case(Tower.TEXT, Precision.FP32), {"text_embedding": change(words)})

    assert least <= percent <= most


def test_noise_turns_rows_as_far_as_it_is_told():
    rows = np.random.default_rng(5).standard_normal((400, 128))

    noisy = trial._noisy(rows, 1e-6, np.random.default_rng(6))

    cosines = (rows * noisy).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(noisy, axis=1)
    assert 0.8e-6 < (1 - cosines).mean() < 1.2e-6


def test_an_unknown_saboteur_is_told_with_those_there_are(capsys):
    with pytest.raises(UsageError, match="no saboteur is called 'mole': give one of constant, nan, "):
        trial.saboteurs(["mole"])
    assert main(["gates", "--saboteur", "mole"]) == 2
    assert "no saboteur is called 'mole'" in capsys.readouterr().err


def test_the_command_prints_and_keeps_the_matrix(monkeypatch, capsys, tmp_path, told):
    monkeypatch.setattr(trial, "run", lambda *_, **__: told[0])

    assert main(["gates", "--json", str(tmp_path / "gates.json")]) == 0

    assert "every gate held" in capsys.readouterr().out
    assert (tmp_path / "gates.json").is_file()


def test_a_living_saboteur_is_the_commands_exit_status(monkeypatch, capsys, told):
    alive = [replace(each, gates=(), drift=1.0) if each.saboteur else each for each in told[0].tried]
    monkeypatch.setattr(trial, "run", lambda *_, **__: Gates(model="m", tried=tuple(alive)))

    assert main(["gates"]) == 1

    assert "constant lives, with a drift of 1" in capsys.readouterr().out
