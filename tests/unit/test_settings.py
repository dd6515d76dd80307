"""Options are checked once, before anything runs."""

import argparse
from pathlib import Path

import pytest

from clip_bench import machine
from clip_bench.errors import UsageError
from clip_bench.options import LOADS, OPTIONS, TIMING
from clip_bench.settings import checked
from clip_bench.specs import Inputs, Load, Pattern, Tower
from clip_bench.timing import percentiles


@pytest.fixture
def parsed():
    """What argparse makes of a command line."""
    parser = argparse.ArgumentParser()
    for flag, attributes in (*OPTIONS, *LOADS, *TIMING):
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
        ("--rounds", "0", "--rounds 0: a number of calls, at least 1, or a percentile to prove, such as p99"),
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


def test_rewrites_are_one_by_one_or_several_at_once_in_one_order(parsed):
    given = ("--rewrite", "folded+pooled", "--rewrite", "trimmed", "--rewrite", "pooled+folded")

    assert checked(parsed(*given)).rewrites == (("pooled", "folded"), ("trimmed",))
    assert checked(parsed()).rewrites == ()


@pytest.mark.parametrize("word", ["quick", "", "trimmed+", "pooled,folded"], ids=["unknown", "empty", "half", "comma"])
def test_an_unknown_rewrite_is_told_with_all_there_are(parsed, word):
    with pytest.raises(UsageError, match="there are trimmed, pooled, folded, optimised, joined by"):
        checked(parsed("--rewrite", word))


def test_without_options_one_request_of_one_sample_is_timed_at_a_time(parsed):
    settings = checked(parsed())

    assert settings.loads == (Load(),)
    assert {settings.batches_of(tower) for tower in Tower} == {(1,)}
    assert (settings.percentiles, settings.paired, settings.roofline) == (percentiles.SHOWN, False, False)


@pytest.mark.parametrize(
    ("given", "rounds"),
    [("p90", 64), ("p95", 130), ("p99", 662), ("p99.9", 6636), ("12", 12)],
    ids=["p90", "p95", "p99", "p999", "plain"],
)
@pytest.mark.parametrize("flag", ["--rounds", "--iterations"], ids=["rounds", "iterations"])
def test_as_many_calls_are_timed_as_a_percentile_takes_to_be_proven(parsed, flag, given, rounds):
    assert checked(parsed(flag, given)).rounds == rounds


def test_every_number_of_instances_with_every_depth_is_a_load_of_its_own(parsed):
    settings = checked(
        parsed(
            "--load", "throughput", "--instances", "1-2", "--queue", "0,3", "--device-ids", "0,1", "--inputs", "fresh"
        )
    )

    assert [(load.instances, load.queue, load.depth) for load in settings.loads] == [
        (1, 0, 1),
        (1, 3, 4),
        (2, 0, 2),
        (2, 3, 8),
    ]
    assert {load.device_ids for load in settings.loads} == {(0, 1)}
    assert {load.inputs for load in settings.loads} == {Inputs.FRESH}
    assert len({str(load) for load in settings.loads}) == 4


def test_both_patterns_can_be_asked_for_at_once(parsed):
    settings = checked(parsed("--load", "latency", "--load", "throughput"))

    assert settings.loads == (Load(), Load(pattern=Pattern.THROUGHPUT, queue=1))


def test_a_sweep_is_another_one_for_each_tower(parsed):
    settings = checked(parsed("--batch", "sweep"))

    assert [settings.batches_of(tower) for tower in Tower] == [(1, 8, 16, 32), (1, 4, 32), (1,)]


def test_one_picture_with_its_captions_is_never_many_at_once(parsed):
    settings = checked(parsed("--batch", "2,4", "--batch", "8"))

    assert [settings.batches_of(tower) for tower in Tower] == [(2, 4, 8), (2, 4, 8), ()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--instances", "2"), "--instances 2: add --load throughput"),
        (("--queue", "0"), "--queue 0: add --load throughput"),
        (("--device-ids", "0,1"), "--device-ids 0,1: one request at a time has one device"),
        (("--load", "throughput", "--instances", "0"), "--instances 0: a number of at least 1"),
        (("--load", "throughput", "--instances", "3-1"), "--instances 3-1: a range begins with its smaller number"),
        (("--load", "throughput", "--queue", "many"), "--queue many: a number of at least 0"),
        (("--batch", "0"), "--batch 0: a number of at least 1"),
        (("--batch", "sweep", "--batch", "2"), "--batch sweep: give it alone"),
        (("--percentiles", "50,100"), "--percentiles 50,100: numbers between 0 and 100"),
        (("--percentiles", "most"), "--percentiles most: numbers between 0 and 100"),
        (("--rounds", "p101"), "101"),
    ],
    ids=["alone", "depth", "places", "none", "backwards", "word", "nothing", "both", "all", "most", "beyond"],
)
def test_a_load_that_cannot_be_is_refused(parsed, arguments, message):
    with pytest.raises(UsageError, match=message):
        checked(parsed(*arguments))


def test_percentiles_may_be_written_as_a_list(parsed):
    assert checked(parsed("--percentiles", "[50, 99.9]")).percentiles == (50, 99.9)


def test_data_may_have_a_name_and_a_root(parsed, tmp_path):
    settings = checked(parsed("--data", f"coco:{tmp_path}", "--data-root", tmp_path))

    assert (settings.data_kind, settings.data, settings.data_root) == ("coco", tmp_path, tmp_path)
    assert checked(parsed("--data", tmp_path)).data_kind == ""


def test_a_folder_with_a_colon_is_a_folder(parsed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats:dogs").mkdir()

    assert checked(parsed("--data", "cats:dogs")).data == Path("cats:dogs")


def test_a_name_that_is_not_known_is_told_with_those_that_are(parsed, tmp_path):
    with pytest.raises(
        UsageError, match=f"--data imagnet:{tmp_path}: no such file or folder; NAME:PATH takes imagenet, "
    ):
        checked(parsed("--data", f"imagnet:{tmp_path}"))
    with pytest.raises(UsageError, match=r"--data coco:gone: no such file or folder$"):
        checked(parsed("--data", "coco:gone"))
    with pytest.raises(UsageError, match=r"--data-root gone: no such file or folder$"):
        checked(parsed("--data", f"coco:{tmp_path}", "--data-root", "gone"))
