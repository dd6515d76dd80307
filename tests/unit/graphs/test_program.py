"""A tower becomes a program that computes what open_clip computes."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.models import towers
from clip_bench.quality import gates, metrics
from clip_bench.specs import Format, Precision, Tower

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="fused"),
]
FLOATS = [
    pytest.param(Precision.FP32, torch.float32, id="whole"),
    pytest.param(Precision.FP16, torch.float16, id="half"),
    pytest.param(Precision.BF16, torch.bfloat16, id="brain"),
]


def build(graph, precision=Precision.FP32):
    """The program of *graph* as a module, with what it was made of."""
    artifact = graphs.build(graph, precision, Format.TORCH_EXPORT)
    return artifact, torch.export.load(artifact.file(".pt2"))


def answer(module, call):
    """The outputs of *module* as a tuple, in order."""
    with torch.inference_mode():
        result = module(*(torch.from_numpy(array) for array in call.values()))
    return (result,) if isinstance(result, torch.Tensor) else result


@pytest.mark.parametrize("tower", TOWERS)
def test_a_program_computes_what_the_tower_computes(shapes, tower):
    module = towers.module(shapes.source.model(), tower, torch.float32)
    call = shapes.fed.calls(tower)[0]

    artifact, program = build(shapes.graph(tower))

    expected = answer(module, call)
    assert artifact.names("outputs") == towers.OUTPUTS[tower]
    for ours, theirs in zip(answer(program.module(), call), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", [floats.values[0] for floats in FLOATS[1:]], ids=["half", "brain"])
@pytest.mark.parametrize("tower", TOWERS)
def test_a_program_in_a_cheaper_type_differs_by_no_more_than_its_floor(shapes, tower, precision):
    call = shapes.fed.calls(tower)[0]
    whole = answer(towers.module(shapes.source.model(), tower, torch.float32), call)

    _, program = build(shapes.graph(tower), precision)

    for ours, theirs in zip(answer(program.module(), call), whole, strict=True):
        least = metrics.cosine(ours.numpy(), theirs.numpy()).min()
        assert gates.FLOORS[precision].minimum < least < 1


@pytest.mark.parametrize(("precision", "dtype"), FLOATS)
@pytest.mark.parametrize("tower", TOWERS)
def test_what_crosses_the_edge_of_a_program_is_float32_and_int64(shapes, tower, precision, dtype):
    _, program = build(shapes.graph(tower), precision)
    given = {"image": torch.float32, "tokens": torch.int64}

    inside = {parameter.dtype for parameter in program.parameters()}

    fed = [node.meta["val"].dtype for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    made = [node.meta["val"].dtype for node in program.graph.nodes if node.name in program.graph_signature.user_outputs]
    assert inside == {dtype}
    assert fed == [given[name] for name in towers.INPUTS[tower]]
    assert made == [torch.float32] * len(towers.OUTPUTS[tower])


def test_a_program_has_the_batch_that_was_asked_for_and_no_other(shapes):
    _, program = build(shapes.graph(Tower.IMAGE, batch=4))

    assert answer(program.module(), {"image": shapes.fed.image[:4]})[0].shape == (4, 128)
    with pytest.raises(Exception, match="4"):
        answer(program.module(), {"image": shapes.fed.image[:3]})


def test_the_fused_tower_has_one_picture(shapes):
    with pytest.raises(UnsupportedError, match="one image with ten texts"):
        build(shapes.graph(Tower.PAIR, batch=4))


def test_the_towers_are_copies_so_a_cheaper_one_leaves_the_model_as_it_was(shapes):
    before = {name: value.clone() for name, value in shapes.source.model().state_dict().items()}

    for tower in Tower:
        towers.module(shapes.source.model(), tower, torch.bfloat16)

    after = shapes.source.model().state_dict()
    assert {value.dtype for value in after.values()} == {torch.float32}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_dynamic_fused_tower_takes_as_many_captions_as_it_is_given(shapes):
    _, program = build(shapes.graph(Tower.PAIR, batch=None))
    module = towers.module(shapes.source.model(), Tower.PAIR, torch.float32)

    for texts in (1, 3, 10):
        call = {"image": shapes.fed.image[:1], "tokens": shapes.fed.tokens[:texts]}
        ours, theirs = answer(program.module(), call), answer(module, call)
        assert ours[2].shape == (1, texts)
        for left, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_the_recipe_of_a_program_tells_its_batch_type_and_weights_apart(shapes):
    plain, _ = build(shapes.graph(Tower.IMAGE))
    keys = {
        plain.key,
        build(shapes.graph(Tower.IMAGE, batch=4))[0].key,
        build(shapes.graph(Tower.IMAGE), Precision.BF16)[0].key,
        build(shapes.graph(Tower.TEXT))[0].key,
    }

    assert len(keys) == 4
    assert plain.recipe["weights_sha256"] == shapes.source.sha256()


def test_a_precision_without_a_recipe_is_named_with_its_format(shapes):
    graph = shapes.graph(Tower.IMAGE)

    for precision, kind in (
        (Precision.A16W8, Format.TORCH_EXPORT),
        (Precision.BF16, Format.ONNX_QNN),
        (Precision.INT8_NNCF, Format.ONNX),
        (Precision.INT8_QDQ, Format.OPENVINO_IR),
    ):
        with pytest.raises(UnsupportedError, match=f"^no recipe makes {precision} in the {kind} format$"):
            graphs.build(graph, precision, kind)


def test_answers_are_replayed_not_built_from_a_graph(shapes):
    with pytest.raises(UnsupportedError, match="no recipe makes a graph in the replay format"):
        graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.REPLAY)


def test_calibration_is_asked_for_only_by_the_recipes_that_need_it(shapes):
    def never():
        pytest.fail("nothing here is calibrated")

    graph = graphs.Graph(source=shapes.source, tower=Tower.IMAGE, store=shapes.store, calibration=never)

    made = [
        graphs.build(graph, Precision.FP32, Format.TORCH_EXPORT),
        graphs.build(graph, Precision.INT8_DYNAMIC, Format.ONNX),
        graphs.build(graph, Precision.FP16, Format.OPENVINO_IR),
    ]

    assert all(artifact.size_bytes > np.float32().nbytes for artifact in made)


FULL = """
import gc, resource, sys
from pathlib import Path
from clip_bench import graphs
from clip_bench.errors import StoreError
from clip_bench.graphs import Graph
from clip_bench.models import catalog, weights
from clip_bench.specs import Format, Precision, Tower
from clip_bench.store import Store

root = Path(sys.argv[1])
source = weights.Source(spec=catalog.MODELS["shapes_tiny"], folder=None, store_root=root)
graph = Graph(source=source, tower=Tower.TEXT, store=Store(root), calibration=None, batch=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    graphs.build(graph, Precision.FP32, Format.TORCH_EXPORT)
except StoreError as exc:
    print(exc)
gc.collect()
"""


def test_a_program_that_does_not_fit_ends_in_one_line_and_not_the_process(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  ourselves

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"no room to write program into {tmp_path} (File too large; ")
    assert [path.suffix for path in tmp_path.glob("v*/*/*")] == [".lock"]
