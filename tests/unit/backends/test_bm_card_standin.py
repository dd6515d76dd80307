"""The stand-in for a SOPHON card's library refuses what the library does not document."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

STANDIN = Path(__file__).parent.parent / "standins" / "sail.py"
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="session")
def standin():
    import sys

    spec = importlib.util.spec_from_file_location("bm_card_sail", STANDIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sail(standin, monkeypatch):
    standin.installed(monkeypatch)
    from sophon import sail

    return sail


@pytest.fixture
def doubling(tmp_path):
    """A bmodel of two rows of three: the ids of tokens, doubled."""
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, [2, 3])
    doubled = helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [2, 3])
    nodes = [
        helper.make_node("Add", ["tokens", "tokens"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["doubled"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "doubling", [tokens], [doubled])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "doubling.bmodel")
    return str(tmp_path / "doubling.bmodel")


def test_what_is_documented_is_answered(sail, doubling):
    engine = sail.Engine(doubling, 0, sail.IOMode.SYSIO)

    (graph,) = engine.get_graph_names()
    answer = engine.process(graph, {"tokens": ROWS})

    assert sail.get_available_tpu_num() == 1
    assert (engine.get_input_names(graph), engine.get_output_names(graph)) == (["tokens"], ["doubled"])
    assert engine.get_input_shape(graph, "tokens") == engine.get_output_shape(graph, "doubled") == [2, 3]
    assert engine.get_output_dtype(graph, "doubled") is sail.Dtype.BM_FLOAT32
    assert (engine.get_device_id(), engine.get_handle().get_target()) == (0, "BM1684X")
    assert answer["doubled"].dtype == np.float32
    assert np.array_equal(answer["doubled"], 2 * ROWS)


def test_the_next_call_overwrites_the_last_answer(sail, doubling):
    engine = sail.Engine(doubling, 0, sail.IOMode.SYSIO)
    first = engine.process("doubling", {"tokens": ROWS})["doubled"]

    engine.process("doubling", {"tokens": ROWS + 1})

    assert np.array_equal(first, 2 * ROWS + 2)


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        pytest.param({"tokens": ROWS.astype(np.int32)}, "float32 is due", id="integers"),
        pytest.param({"tokens": ROWS.astype(np.float64)}, "float32 is due", id="doubles"),
        pytest.param({"tokens": ROWS.tolist()}, "float32 is due", id="list"),
        pytest.param({"tokens": np.asfortranarray(ROWS)}, "float32 is due", id="columns first"),
        pytest.param({"tokens": ROWS[:1]}, "where the bmodel has", id="one row"),
        pytest.param({"tokens": np.concatenate([ROWS, ROWS])}, "where the bmodel has", id="four rows"),
        pytest.param({"tokens": ROWS + np.float32(0.5)}, "token ids are due", id="fractions"),
        pytest.param({"ids": ROWS}, "are due", id="another name"),
        pytest.param({"tokens": ROWS, "more": ROWS}, "are due", id="one too many"),
        pytest.param(ROWS, "are due", id="no dict"),
    ],
)
def test_arrays_of_another_kind_are_refused(sail, doubling, feeds, told):
    engine = sail.Engine(doubling, 0, sail.IOMode.SYSIO)

    with pytest.raises((TypeError, RuntimeError), match=told):
        engine.process("doubling", feeds)


@pytest.mark.parametrize("mode", ["SYSI", "SYSO", "DEVIO"])
def test_arrays_need_system_memory_on_both_sides(sail, doubling, mode):
    engine = sail.Engine(doubling, 0, sail.IOMode[mode])

    with pytest.raises(RuntimeError, match="system memory"):
        engine.process("doubling", {"tokens": ROWS})


@pytest.mark.parametrize("device", [1, -1, "0", True], ids=["second", "negative", "word", "truth"])
def test_a_device_that_is_not_there_is_refused(sail, doubling, device):
    with pytest.raises((TypeError, RuntimeError), match="device"):
        sail.Engine(doubling, device, sail.IOMode.SYSIO)


def test_a_file_is_named_by_a_string_and_must_be_a_bmodel(sail, doubling, tmp_path):
    with pytest.raises(TypeError, match="incompatible"):
        sail.Engine(Path(doubling), 0, sail.IOMode.SYSIO)
    with pytest.raises(TypeError, match="incompatible"):
        sail.Engine(doubling, 0, 2)
    with pytest.raises(RuntimeError, match="cannot load"):
        sail.Engine(str(tmp_path / "another.bmodel"), 0, sail.IOMode.SYSIO)
    with pytest.raises(TypeError):
        sail.Engine(doubling, tpu_id=0, mode=sail.IOMode.SYSIO)


def test_names_that_the_bmodel_has_not_are_refused(sail, doubling):
    engine = sail.Engine(doubling, 0, sail.IOMode.SYSIO)

    with pytest.raises(RuntimeError, match="no graph"):
        engine.process("clip", {"tokens": ROWS})
    with pytest.raises(RuntimeError, match="no tensor"):
        engine.get_input_shape("doubling", "doubled")
    with pytest.raises(AttributeError):
        engine.run({"tokens": ROWS})


def test_no_card_is_counted_and_none_can_be_opened(standin, monkeypatch, doubling):
    sail = standin.installed(monkeypatch, cards=0)

    assert sail.get_available_tpu_num() == 0
    with pytest.raises(RuntimeError, match="no device"):
        sail.Engine(doubling, 0, sail.IOMode.SYSIO)


def test_an_engine_lives_until_nobody_holds_it(sail, doubling):
    engine = sail.Engine(doubling, 0, sail.IOMode.SYSIO)
    held = list(sail.engines)

    del engine, held

    assert not list(sail.engines)
