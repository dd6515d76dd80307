"""Options are checked once, before anything runs."""

import argparse
from pathlib import Path

import pytest

from clip_bench import machine
from clip_bench.errors import UsageError
from clip_bench.settings import OPTIONS, checked


@pytest.fixture
def parsed():
    """What argparse makes of a command line."""
    parser = argparse.ArgumentParser()
    for flag, attributes in OPTIONS:
        parser.add_argument(flag, **attributes)
    return lambda *arguments: vars(parser.parse_args([str(argument) for argument in arguments]))


def test_without_options_every_default_holds(parsed, monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path))

    settings = checked(parsed())

    assert (settings.models, settings.full, settings.data, settings.weights) == ((), False, None, None)
    assert (settings.samples, settings.rounds, settings.threads) == (None, 64, machine.cores())
    assert settings.cache == tmp_path


def test_what_is_given_is_taken(parsed, tmp_path):
    settings = checked(
        parsed(
            "--model", "b", "--model", "a", "--full", "--samples", 2, "--rounds", 1, "--threads", 3, "--data", tmp_path
        )
    )

    assert settings.models == ("b", "a")
    assert (settings.full, settings.samples, settings.rounds, settings.threads) == (True, 2, 1, 3)
    assert settings.data == tmp_path


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("--samples", "1", "--samples 1: at least 2"),
        ("--samples", "-8", "--samples -8: at least 2"),
        ("--rounds", "0", "--rounds 0: at least 1"),
        ("--threads", "0", "--threads 0: at least 1"),
        ("--data", "nowhere", "--data nowhere: no such file or folder"),
        ("--weights", "nowhere", "--weights nowhere: no such file or folder"),
        *(
            (
                "--calibration",
                word,
                f"--calibration {word}: a method and a number of rows, such as minmax_100, percentile_200, entropy_12",
            )
            for word in ("kmeans_12", "minmax", "minmax_0")
        ),
    ],
    ids=["samples", "negative", "rounds", "threads", "data", "weights", "method", "numberless", "none"],
)
def test_what_cannot_be_used_is_refused_by_its_name(parsed, tmp_path, monkeypatch, option, given, message):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as raised:
        checked(parsed(option, given))

    assert str(raised.value) == message


def test_two_runs_on_the_same_options_have_equal_settings(parsed):
    one, two = checked(parsed("--data", Path.cwd())), checked(parsed("--data", Path.cwd()))

    assert one == two
    assert hash(one) == hash(two)


def test_options_are_by_name_and_key_and_the_last_one_counts(parsed):
    settings = checked(parsed("--option", "qnn.soc=60", "--option", "a_b.c=d=e", "--option", "qnn.soc=57"))

    assert settings.by_name == {"qnn": {"soc": "57"}, "a_b": {"c": "d=e"}}


def test_the_interpreter_of_a_compiler_is_an_option_like_another(parsed):
    assert checked(parsed("--tpu-mlir-python", "p")).by_name == {"sophon": {"tpu_mlir_python": "p"}}


@pytest.mark.parametrize(
    "text", ["minmax_0", "minmax", "median_12", "minmax_1.5"], ids=["none", "bare", "method", "part"]
)
def test_rows_to_calibrate_on_are_a_method_and_a_number(parsed, text):
    with pytest.raises(UsageError, match="a method and a number of rows"):
        checked(parsed("--calibration", text))
