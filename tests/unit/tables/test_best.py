"""The cell to deploy is the best that may be chosen, among its like alone; the next one, ties and what is left out are told."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.__main__ import main
from clip_bench.commands import best as command
from clip_bench.errors import UsageError
from clip_bench.report import best, choices
from clip_bench.report.best import Bounds

GOLDEN = Path(__file__).parent / "golden" / "run.json"
TINY = "image-shapes_tiny"
VIT = "image-vit_b_32_random"
FIRST = f"{TINY}-openvino-cpu-int8_nncf"
SECOND = f"{TINY}-onnxruntime-cpu-int8_dynamic"
FIGURES = st.tuples(st.integers(1, 9), st.integers(0, 30), st.sampled_from(["ok", "gate_failed", "fallback"]))


@pytest.fixture
def run():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture
def saved(tmp_path):
    def write(data, name="run.json"):
        path = tmp_path / name
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write


@pytest.fixture
def chosen(saved):
    """The answers to a run, by the beginning of their cells' ids."""

    def answers(data, objective="latency", **bounds):
        answer = best.choose(best.measured([saved(data)], {}), objective, Bounds(**bounds))
        return {key(choice): choice for choice in answer.choices}, dict(reasons(answer))

    return answers


def key(choice):
    row = choice.rows[0]
    return f"{row['tower']}-{row['model']}", int(row["batch"]), row["load"]


def reasons(answer):
    return ((row["case"], reason) for row, reason in answer.left_out)


def parts(choice):
    return [(told.part, told.row["case"]) for told in choice.told]


def cell(run, case):
    (found,) = [each for each in run["outcomes"] if each["case"] == case]
    return found


def scored(run, case, value, reference=0.955):
    (score,) = [each for each in cell(run, case)["record"]["quality"]["scores"] if each["name"] == "top1"]
    score |= {"value": value, "reference": reference}


def test_the_fastest_is_deployed_and_the_next_is_the_runner_up(chosen, run):
    answers, _ = chosen(run)

    assert parts(answers[TINY, 1, "latency"])[:2] == [("deploy", FIRST), ("runner-up", SECOND)]


def test_unlike_calls_have_answers_of_their_own(chosen, run):
    answers, _ = chosen(run)

    assert set(answers) >= {(TINY, 1, "latency"), (TINY, 8, "latency"), (TINY, 1, "throughput"), (VIT, 1, "latency")}
    for (words, batch, load), choice in answers.items():
        assert {(f"{row['tower']}-{row['model']}", row["batch"], row["load"]) for row in choice.rows} == {
            (words, batch, load)
        }


def test_a_cell_that_lost_more_than_allowed_is_left_out_with_the_reason(chosen, run):
    scored(run, FIRST, 0.94)

    answers, left_out = chosen(run, max_top1_drop=1.4)

    assert left_out[FIRST] == "more than 1.4 points of top-1 lost"
    assert parts(answers[TINY, 1, "latency"])[0] == ("deploy", SECOND)


def test_a_drop_as_large_as_the_bound_is_allowed_whatever_floats_make_of_it(chosen, run):
    scored(run, FIRST, 0.947, 0.957)

    _, left_out = chosen(run, max_top1_drop=1.0)

    assert 100 * 0.957 - 100 * 0.947 > 1.0
    assert FIRST not in left_out


def test_what_was_never_measured_on_hardware_is_left_out_each_with_its_reason(chosen, run):
    _, left_out = chosen(run)

    assert left_out[f"{TINY}-null-cpu-fp32"].startswith("the null target")
    assert left_out[f"{TINY}-onnxruntime-qnn-emulated-a16w8"].startswith("emulated")
    assert left_out[f"{TINY}-onnxruntime-cpu-int8_qdq"] == "gate failed"
    assert left_out[f"{TINY}-onnxruntime-qnn-npu-a16w8"] == "skipped"
    assert left_out["pair-shapes_tiny-openvino-cpu-fp32"] == "lost"


def test_every_cell_is_left_out_or_may_be_chosen(chosen, run):
    answers, left_out = chosen(run)

    assert sum(choice.fitting for choice in answers.values()) + len(left_out) == len(run["outcomes"])


def test_random_weights_are_held_by_similarity_alone(chosen, run):
    cell(run, f"{VIT}-onnxruntime-cpu-fp32")["record"]["quality"]["similarity"][0]["mean"] = 0.99

    answers, left_out = chosen(run, min_similarity=0.995)

    assert left_out[f"{VIT}-onnxruntime-cpu-fp32"] == "mean cosine below 0.995"
    assert parts(answers[VIT, 1, "latency"]) == [("deploy", f"{VIT}-torch-cpu-fp32")]


def test_a_call_that_no_cell_may_answer_is_told_as_such(chosen, run):
    answers, _ = chosen(run, min_similarity=1.0)

    assert parts(answers[TINY, 1, "latency"]) == [("deploy", f"{TINY}-torch-cpu-fp32")]
    assert parts(answers["text-shapes_tiny", 1, "latency"]) == [("deploy", "text-shapes_tiny-torch-cpu-fp32")]
    cell(run, "text-shapes_tiny-torch-cpu-fp32")["record"]["quality"]["similarity"][0]["mean"] = 0.99999
    answers, _ = chosen(run, min_similarity=1.0)
    assert parts(answers["text-shapes_tiny", 1, "latency"]) == []


def test_overlapping_spreads_are_a_tie_and_the_runner_up_lies_beyond(chosen, run):
    """The rounds of a cell spread by 19 %: one that is 2 % slower is a tie."""
    rounds = cell(run, FIRST)["record"]["timing"]["rounds_s"]
    cell(run, SECOND)["record"]["timing"]["rounds_s"] = [1.02 * second for second in rounds]

    answers, _ = chosen(run)

    assert parts(answers[TINY, 1, "latency"])[:3] == [
        ("deploy", FIRST),
        ("tie", SECOND),
        ("runner-up", f"{TINY}-onnxruntime-cpu-fp32"),
    ]


def test_the_most_samples_in_a_second_are_best_and_the_least_bytes(chosen, run):
    fastest, _ = chosen(run, "throughput")
    cell(run, SECOND)["record"]["artifact"]["size_bytes"] = 400_000
    smallest, _ = chosen(run, "size")

    assert parts(fastest[TINY, 1, "latency"])[0] == ("deploy", FIRST)
    told = [each.row["throughput_avg"] for each in fastest[TINY, 1, "throughput"].told]
    assert told == sorted(told, reverse=True)
    assert parts(smallest[TINY, 1, "latency"])[:2] == [("deploy", SECOND), ("runner-up", FIRST)]


def test_equal_sizes_tie_and_the_more_accurate_comes_first(chosen, run):
    scored(run, FIRST, 0.95)
    scored(run, SECOND, 0.955)

    answers, _ = chosen(run, "size")

    assert parts(answers[TINY, 1, "latency"])[:2] == [("deploy", SECOND), ("tie", FIRST)]


def test_the_most_accurate_of_those_that_cost_more_are_named(chosen, run):
    scored(run, FIRST, 0.949)
    scored(run, SECOND, 0.948)

    answers, _ = chosen(run)

    assert parts(answers[TINY, 1, "latency"]) == [
        ("deploy", FIRST),
        ("runner-up", SECOND),
        ("more accurate", f"{TINY}-onnxruntime-cpu-fp32"),
    ]


def test_an_impossible_time_is_no_answer(chosen, run):
    cell(run, FIRST)["record"]["timing"]["rounds_s"] = [1e-7] * 64
    run["machine_info"]["clip_bench"]["ceilings"]["arithmetic"].append(
        {"device": "cpu", "precision": "int8_nncf", "flops_s": 7e11, "by": "a test", "shape": "1728 cubed"}
    )

    answers, left_out = chosen(run)

    assert left_out[FIRST].startswith("impossible")
    assert parts(answers[TINY, 1, "latency"])[0] == ("deploy", SECOND)


def test_machines_are_answered_apart_by_their_newest_measurements(saved, run):
    older = saved(run, "older.json")
    run["datetime"] = "2025-03-02T03:04:05+00:00"
    timing = cell(run, SECOND)["record"]["timing"]
    timing["rounds_s"] = [second / 2 for second in timing["rounds_s"]]
    newer = saved(run, "newer.json")
    run["machine_info"]["clip_bench"]["name"] = "another"
    timing["rounds_s"] = [second * 1e4 for second in timing["rounds_s"]]
    third = saved(run, "third.json")

    answer = best.choose(best.measured([older, third, newer], {}), "latency", Bounds())

    told = {
        choice.rows[0]["machine"]: choice.told[0].row["case"]
        for choice in answer.choices
        if key(choice) == (TINY, 1, "latency")
    }
    assert told == {"another": FIRST, "example": SECOND}


def test_one_machine_model_and_tower_can_be_asked_about(saved, run):
    only = {"machine": ["example"], "model": ["shapes_tiny"], "tower": ["text"]}

    answer = best.choose(best.measured([saved(run)], only), "latency", Bounds())

    assert {(row["model"], row["tower"]) for choice in answer.choices for row in choice.rows} == {
        ("shapes_tiny", "text")
    }
    with pytest.raises(UsageError, match="--model nope: not in these runs, only shapes_tiny, vit_b_32_random"):
        best.measured([saved(run)], {"model": ["nope"]})


def test_what_nothing_recorded_is_one_clear_line(chosen, run):
    for each in run["outcomes"]:
        if each["record"]["timing"]:
            each["record"]["timing"]["energy"] = {"joules": None, "source": "n/a: no counter here"}

    with pytest.raises(UsageError, match=r"no energy was recorded by any of 26 cells \(no counter here\); .*latency"):
        chosen(run, "energy")


def test_energy_is_ranked_where_it_was_recorded(chosen, run):
    cell(run, SECOND)["record"]["timing"]["energy"]["joules"] = 6.0
    cell(run, FIRST)["record"]["timing"]["energy"] = None

    answers, left_out = chosen(run, "energy")

    assert parts(answers[TINY, 1, "latency"])[0] == ("deploy", SECOND)
    assert left_out[FIRST] == "no energy was recorded"


@pytest.mark.parametrize(
    "bounds",
    [{"max_top1_drop": -1}, {"max_top1_drop": float("nan")}, {"min_similarity": 1.5}, {"min_similarity": float("nan")}],
    ids=["negative", "nan", "beyond", "nan_cosine"],
)
def test_a_bound_that_is_none_is_refused(bounds):
    with pytest.raises(UsageError, match="--m"):
        Bounds(**bounds)


@pytest.fixture(scope="module")
def table():
    return best.measured([GOLDEN], {})


@given(st.lists(FIGURES, min_size=1, max_size=12), st.integers(0, 30))
def test_whatever_was_measured_the_answer_keeps_its_promises(table, figures, allowed):
    """Nothing is chosen that breaks a bound, nothing that may be chosen is faster, and ties are those of equal times."""
    plain = table[table["case"] == FIRST].iloc[0].to_dict()
    rows = [
        plain
        | {"case": f"cell {place}", "p50_ms": float(ms), "rounds_s": (1e-3 * ms,), "outcome": ok}
        | {"top1_percent": 95.0 - lost / 10, "top1_reference_percent": 95.0}
        for place, (ms, lost, ok) in enumerate(figures)
    ]
    fitting = {f"cell {place}": ms for place, (ms, lost, ok) in enumerate(figures) if ok == "ok" and lost <= allowed}
    least = min(fitting.values(), default=0)

    answer = best.choose(
        pd.DataFrame([*rows, plain | {"tower": "text"}], columns=list(table.columns)),
        "latency",
        Bounds(max_top1_drop=allowed / 10),
    )

    told = [each for choice in answer.choices if key(choice)[0] == TINY for each in choice.told]
    assert {each.row["case"] for each in told} <= set(fitting)
    assert [each.part for each in told].count("deploy") == bool(fitting)
    assert {each.row["case"] for each in told if each.part in {"deploy", "tie"}} == {
        case for case, ms in fitting.items() if ms == least
    }
    better = [each.row for each in told if each.part == "more accurate"]
    for row in better:
        assert best.change(row) > best.change(told[0].row)
        assert not any(
            ms <= row["p50_ms"] and figures[int(case.split()[1])][1] < 10 * (95 - row["top1_percent"]) - 1e-6
            for case, ms in fitting.items()
        )


def test_the_command_prints_a_table_for_each_call_and_counts_what_is_left_out(saved, run, capsys):
    scored(run, SECOND, 0.952)

    assert main(["best", str(saved(run)), "--tower", "image", "--model", "shapes_tiny"]) == 0

    told = capsys.readouterr().out
    assert told.startswith("# Least latency")
    assert "at most 1 point of top-1" in told
    assert "### shapes_tiny, Vision Model, batch 8" in told
    (line,) = [line for line in told.splitlines() if line.startswith("| runner-up") and SECOND in line]
    assert [part.strip() for part in line.strip("|").split("|")][3] == "26.7 % slower, -0.3 points"
    assert "| skipped " in told
    assert "nan" not in told.lower()


def test_a_cell_that_was_scored_on_other_samples_is_told_so(saved, run, capsys):
    cell(run, SECOND)["record"]["boundary"]["data_sha256"] = "0" * 64

    assert main(["best", str(saved(run)), "--tower", "image", "--model", "shapes_tiny"]) == 0

    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("| runner-up") and SECOND in line
    ]
    assert "26.7 % slower, 0.0 points (other samples)" in line


def test_what_has_random_weights_says_so(saved, run, capsys):
    assert main(["best", str(saved(run)), "--model", "vit_b_32_random", "--min-similarity", "0.99"]) == 0

    told = capsys.readouterr().out
    assert "† random weights: speed and similarity only." in told
    assert "mean cosine to it is at least 0.99." in told
    assert "Top-1" not in "".join(line for line in told.splitlines() if line.startswith("|"))


def test_trained_weights_without_top1_say_so(saved, run, capsys):
    for each in run["outcomes"]:
        if each["record"]["quality"]:
            each["record"]["quality"]["scores"] = []

    assert main(["best", str(saved(run)), "--model", "shapes_tiny"]) == 0

    assert "No top-1 was measured, and similarity alone held these cells." in capsys.readouterr().out


def test_the_status_tells_that_nothing_holds_the_bounds(saved, run, capsys):
    for each in run["outcomes"]:
        if each["record"]["quality"]:
            each["record"]["quality"]["similarity"][0]["mean"] = 0.99

    assert main(["best", str(saved(run)), "--min-similarity", "0.999"]) == 1

    assert choices.NOTHING in capsys.readouterr().out


def test_the_json_has_every_call_and_every_cell_that_was_left_out(saved, run, tmp_path, capsys):
    out = tmp_path / "best.json"

    assert main(["best", str(saved(run)), "--json", str(out)]) == 0

    told = json.loads(out.read_text(encoding="utf-8"))
    assert sum(call["fitting"] for call in told["calls"]) + len(told["left_out"]) == len(run["outcomes"])
    first = next(call for call in told["calls"] if call["call"] == "" and call["tower"] == "image")
    assert [each["case"] for each in first["cells"]][:2] == [FIRST, SECOND]
    assert first["cells"][0]["latency"] == pytest.approx(
        1e3 * np.median(cell(run, FIRST)["record"]["timing"]["rounds_s"])
    )
    assert FIRST in capsys.readouterr().out


def test_names_from_elsewhere_stay_words(saved, run, capsys):
    run["machine_info"]["clip_bench"]["name"] = "a<b>|c"
    for each in run["outcomes"]:
        each["record"]["model"] = "m<script>|"
        each["case"] = each["case"].replace("shapes_tiny", "<i>|")

    assert main(["best", str(saved(run))]) == 0

    told = capsys.readouterr().out
    assert "<" not in told
    assert "## a&lt;b>&#124;c" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json", "nowhere/out.json"], "its folder does not exist"),
        (["--max-top1-drop", "-1"], "0 or more"),
        (["--model", "nope"], "not in these runs"),
        (["--objective", "energy", "--tower", "image", "--machine", "nope"], "not in these runs, only example"),
    ],
    ids=["folder", "drop", "model", "machine"],
)
def test_a_wrong_word_is_one_line_that_says_what_to_do(saved, run, capsys, arguments, said):
    assert main(["best", str(saved(run)), *arguments]) == 2

    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_folder_without_any_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no measured cell among the given files"):
        best.measured([tmp_path], {})


def test_the_command_offers_every_objective():
    parser = argparse.ArgumentParser()
    command.add(parser)

    (offered,) = [action.choices for action in parser._actions if action.dest == "objective"]

    assert list(offered) == list(best.OBJECTIVES)
