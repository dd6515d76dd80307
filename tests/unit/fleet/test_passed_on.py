"""What a node is told of what the user asked, and with which Python it measures."""

import sys

import pytest

from clip_bench import fleet
from clip_bench.__main__ import main
from clip_bench.fleet.node import interpreter


def test_what_is_done_with_a_run_stays_where_its_file_is_written():
    given = [
        "tests/bench",
        "-k",
        "a and b",
        "--reports",
        "out",
        "--samples",
        "8",
        "--require=npu",
        "--no-skips",
        "--full",
    ]

    assert fleet.passed_on(given) == ["-k", "a and b", "--samples", "8", "--full"]


@pytest.mark.parametrize("given", [["-x"], ["--maxfail", "2"], ["--maxfail=2"], ["--collect-only"]], ids=" ".join)
def test_what_a_fleet_cannot_do_is_told_before_anything_begins(given, tmp_path, capsys, monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)

    status = main(["run", "--ray", "nowhere.invalid:1", "--reports", str(tmp_path), *given])

    assert status == 2
    assert "a fleet measures every cell that is selected: leave -x" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["onnxruntime", "qnn", "npu"], "qnn"),
        (["onnxruntime", "npu"], "onnxruntime"),
        (["onnxruntime-qnn-npu", "qnn"], "onnxruntime-qnn-npu"),
        (["npu"], "npu"),
        (["openvino"], None),
    ],
    ids=["provider", "backend", "target", "device", "none"],
)
def test_a_cell_is_measured_in_the_environment_that_is_named_after_most_of_its_target(tmp_path, there, chosen):
    for name in there:
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()

    found = interpreter("onnxruntime-qnn-npu", str(tmp_path))

    assert found == (sys.executable if chosen is None else str(tmp_path / chosen / "bin" / "python"))


def test_without_environments_a_node_measures_with_its_own_python():
    assert interpreter("openvino-npu", "") == sys.executable
