"""Qualcomm's HTP: a chip is compiled for once, the binary is what runs, and on its emulator it answers as FP32 does."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import compile as compiling
from clip_bench.backends.onnxruntime import provider, qnn
from clip_bench.errors import UsageError
from clip_bench.quality import gates, metrics
from clip_bench.specs import Format, Precision, Tower
from clip_bench.store import Store

pytest.importorskip("onnxruntime_qnn", reason="install onnxruntime-qnn")
if qnn.PROVIDERS[qnn.EMULATED].lacks({}):
    pytest.skip(qnn.EMULATOR_NEEDS, allow_module_level=True)

CALLS = 8
CHIPS = [pytest.param(name, id=name.lower()) for name in ("SC8380XP", "SM8650", "SM8750")]
EVERY = [
    pytest.param(Precision.FP16, id="half"),
    pytest.param(Precision.INT8_QDQ, id="eight"),
    pytest.param(Precision.A16W8, id="sixteen"),
]


@pytest.fixture
def options(shapes):
    return Options(precision=Precision.A16W8, threads=1, store=shapes.store)


@pytest.fixture
def alone(options, tmp_path):
    """The same with a store of its own for what is compiled: no other test adds to it."""
    return replace(options, store=Store(tmp_path))


def answered(shapes, artifact, options, target=qnn.EMULATED):
    """What the text tower answers to a few calls on *target*, what the reference does, and the placement after it."""
    session = onnxruntime.load(artifact, target, options)
    calls = shapes.fed.calls(Tower.TEXT)[:CALLS]
    rows = np.concatenate([session.run(call)["text_embedding"] for call in calls])
    where = session.placement()
    session.close()
    return rows, shapes.reference.text[:CALLS], where


def recipes(store):
    """What the store holds: recipes by key."""
    found = store.home.glob("*/*/manifest.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["recipe"] for path in found}


@pytest.mark.parametrize("precision", EVERY)
def test_the_stand_in_holds_the_floors_with_every_node_on_it(shapes, options, precision):
    artifact = graphs.build(shapes.graph(Tower.TEXT), precision, Format.ONNX_QNN)

    rows, expected, where = answered(shapes, artifact, replace(options, precision=precision))

    cosines = metrics.cosine(rows, expected)
    assert cosines.mean() >= gates.FLOORS[precision].mean
    assert cosines.min() >= gates.FLOORS[precision].minimum
    assert (dict(where.nodes), where.asked, where.dtypes) == ({qnn.NAME: 1}, qnn.NAME, {})
    assert where.fault(precision) == ""
    assert not np.array_equal(rows, expected)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_chip_gets_a_binary_of_its_own_that_runs(shapes, options, chip):
    artifact = graphs.build(shapes.graph(Tower.TEXT), Precision.A16W8, Format.ONNX_QNN)
    asked = replace(options, settings={"soc": chip})

    made = compiling.compiled(artifact, qnn.PROVIDERS[qnn.EMULATED], asked)
    rows, expected, where = answered(shapes, artifact, asked)

    told = {each.key: each.value for each in onnx.load(made.file(".onnx")).metadata_props}
    assert f":{qnn.SOCS[chip]}:" in told[f"ep_compatibility_info.{qnn.NAME}"]
    assert compiling.kinds(made.file(".onnx")) == {"EPContext": 1}
    assert made.file(".bin").stat().st_size > 100_000
    assert where.options["soc_model"] == made.recipe["options"]["soc_model"] == qnn.SOCS[chip]
    assert metrics.cosine(rows, expected).mean() >= gates.FLOORS[Precision.A16W8].mean


def test_a_binary_is_made_once_for_what_it_depends_on(shapes, alone):
    artifact = graphs.build(shapes.graph(Tower.TEXT), Precision.A16W8, Format.ONNX_QNN)
    row = qnn.PROVIDERS[qnn.EMULATED]

    first = compiling.compiled(artifact, row, alone)
    again = compiling.compiled(artifact, row, replace(alone, settings={"soc": qnn.EMULATED_SOC}, threads=7))
    assert set(recipes(alone.store)) == {first.key}
    other = compiling.compiled(artifact, row, replace(alone, settings={"soc": "SM8450"}))
    elsewhere = compiling.compiled(artifact, row, alone, "another device")

    assert again == first
    assert len({first.key, other.key, elsewhere.key}) == 3
    assert {"onnxruntime", "onnxruntime_qnn", "parent"} <= first.recipe.keys()
    assert first.built_s > artifact.built_s


def test_the_device_is_told_to_burst_and_loads_its_binary(shapes, alone, monkeypatch):
    """The row of the device, with the plugin's emulator in the place of its hardware."""
    row = replace(qnn.PROVIDERS[qnn.NPU], hardware="CPU")
    for module in (onnxruntime, qnn):
        monkeypatch.setattr(module, "PROVIDERS", {**module.PROVIDERS, qnn.NPU: row})
    artifact = graphs.build(shapes.graph(Tower.TEXT), Precision.A16W8, Format.ONNX_QNN)

    rows, expected, where = answered(shapes, artifact, alone, qnn.NPU)

    (recipe,) = recipes(alone.store).values()
    assert where.options == {**qnn.HTP, "htp_performance_mode": "burst"} == recipe["options"]
    assert "QNNExecutionProvider" in recipe["device"]
    assert where.nodes == {qnn.NAME: 1}
    assert metrics.cosine(rows, expected).mean() >= gates.FLOORS[Precision.A16W8].mean


@pytest.mark.parametrize(
    ("chip", "number"),
    [
        pytest.param("SC8380XP", "60", id="by_name"),
        pytest.param("sm8650", "57", id="in_small_letters"),
        pytest.param("88", "88", id="by_number"),
    ],
)
def test_a_chip_is_known_by_name_or_number(chip, number):
    assert qnn.soc_model(chip) == number


@pytest.mark.parametrize("chip", [pytest.param("SM1", id="strange"), pytest.param("", id="empty")])
def test_a_chip_that_is_neither_name_nor_number_is_refused_with_those_there_are(chip):
    with pytest.raises(UsageError, match="no such chip; there are SC8380XP, "):
        qnn.soc_model(chip)


def test_a_machine_that_cannot_emulate_says_so(monkeypatch):
    monkeypatch.setattr(qnn.platform, "machine", lambda: "arm64")

    assert qnn.PROVIDERS[qnn.EMULATED].found({}).missing == qnn.EMULATOR_NEEDS


def test_without_the_plugin_both_say_what_to_install(monkeypatch):
    monkeypatch.setattr(provider, "find_spec", lambda name: name == "onnxruntime" or None)

    missing = {row.found({}).missing for row in qnn.PROVIDERS.values()}

    assert missing == {"install ONNX Runtime's QNN provider: pip install 'clip-bench[qnn]'"}
