"""An engine is built where no card is, and what was built is told; nothing else counts as evidence."""

import hashlib
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from clip_bench.errors import UnavailableError, UnsupportedError
from clip_bench.graphs import trtrtx


class Config:
    """What a builder is told."""

    def __init__(self):
        self.cleared, self.built_for, self.num_compute_capabilities = [], {}, 0

    def clear_flag(self, flag):
        self.cleared.append(flag)

    def set_compute_capability(self, capability, index):
        self.built_for[index] = capability


class Parser:
    """Takes any file but a refused one."""

    def __init__(self, network, logger):
        self.network, self.logger = network, logger

    def parse_from_file(self, path):
        self.num_errors = int("refused" in path)
        return not self.num_errors

    def get_error(self, _):
        return "In node 27: Plugin not found\nmore of it"


@pytest.fixture
def compiler(monkeypatch):
    """A stand-in for the package, with the parts of its interface that are used; what its builder was told."""
    told = SimpleNamespace(config=Config(), flags=None, engine=b"an engine")
    capabilities = {"NONE": 0, "CURRENT": 1, "SM89": 89, "SM120": 120}

    def network(flags):
        told.flags = flags
        return object()

    module = SimpleNamespace(
        __spec__=ModuleSpec("tensorrt_rtx", None),
        __version__="1.7.1",
        ComputeCapability=SimpleNamespace(__members__=capabilities),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=3),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        Logger=type("Logger", (), {"INTERNAL_ERROR": 0, "__init__": lambda *_: None}),
        OnnxParser=Parser,
        Builder=lambda _: SimpleNamespace(
            create_network=network,
            create_builder_config=lambda: told.config,
            build_serialized_network=lambda *_: told.engine,
        ),
    )
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module)
    return told


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a graph")
    return path


def test_an_engine_is_written_and_told_with_what_it_was_built_from(compiler, model, tmp_path):
    out = tmp_path / "model.engine"

    found = trtrtx.compiles(model, out)

    assert out.read_bytes() == compiler.engine
    assert (found.capability, found.tensorrt_rtx, found.size_bytes) == ("SM89", "1.7.1", len(compiler.engine))
    assert found.sha256 == hashlib.sha256(compiler.engine).hexdigest()
    assert found.onnx_sha256 == hashlib.sha256(b"a graph").hexdigest()
    assert found.build_s > 0


def test_it_is_built_for_the_card_that_is_named_in_the_graphs_own_types(compiler, model, tmp_path):
    trtrtx.compiles(model, tmp_path / "model.engine", "SM120")

    assert compiler.config.built_for == {0: 120}
    assert compiler.config.num_compute_capabilities == 1
    assert compiler.config.cleared == ["tf32"]
    assert compiler.flags == 1 << 3


def test_a_card_that_it_does_not_know_is_refused_with_those_that_it_does(compiler, model, tmp_path):
    with pytest.raises(UnavailableError, match=r"builds for SM89, SM120, and for no SM90"):
        trtrtx.compiles(model, tmp_path / "model.engine", "SM90")
    assert compiler.flags is None


@pytest.mark.usefixtures("compiler")
def test_a_graph_that_it_does_not_understand_is_its_first_complaint(tmp_path):
    with pytest.raises(UnsupportedError, match=r"refuses the graph: In node 27: Plugin not found$"):
        trtrtx.compiles(tmp_path / "refused.onnx", tmp_path / "model.engine")


def test_no_engine_is_no_evidence(compiler, model, tmp_path):
    compiler.engine = None

    with pytest.raises(UnsupportedError, match="makes no engine of the graph for SM89"):
        trtrtx.compiles(model, tmp_path / "model.engine")
    assert not (tmp_path / "model.engine").exists()


def test_without_the_package_the_reason_says_what_to_install(monkeypatch, model, tmp_path):
    monkeypatch.setattr(trtrtx, "find_spec", lambda _: None)

    with pytest.raises(UnavailableError, match="pip install tensorrt-rtx"):
        trtrtx.compiles(model, tmp_path / "model.engine")
