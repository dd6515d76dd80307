"""Cards of NVIDIA, Windows and Apple under ONNX Runtime: what each is told, and why it cannot run here."""

import ctypes
import platform
import sys
from types import SimpleNamespace

import onnxruntime as library
import pytest

from clip_bench import backends
from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import coreml, directml, nvidia
from clip_bench.errors import UnavailableError
from clip_bench.specs import Format, Precision, Target, Variant

ROWS = {target.provider: provider for target, provider in onnxruntime.PROVIDERS.items() if target.provider}
OURS = {**nvidia.PROVIDERS, **directml.PROVIDERS, **coreml.PROVIDERS}
HALF_EDGE = Variant(half_io=True)
WHOLE = Options(precision=Precision.FP32, threads=1)
HALF = Options(precision=Precision.FP16, threads=1)


@pytest.fixture(autouse=True)
def _asked_anew():
    kept = (nvidia.gpu, nvidia._starts)
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


class Driver:
    """The driver's library, with one card in it."""

    def __init__(self, *, cards=1, failing=""):
        self.cards, self.failing = cards, failing

    def __getattr__(self, name):
        def call(*given):
            if name == self.failing:
                return 100
            if name == "cuDeviceGetCount":
                given[0]._obj.value = self.cards
            if name == "cuDeviceGetName":
                given[0].value = b"NVIDIA H200"
            if name == "cuDriverGetVersion":
                given[0]._obj.value = 13010
            return 0

        return call


def test_every_row_takes_the_graphs_made_for_cards():
    found = {backends.format_of(onnxruntime, target) for target in OURS}

    assert found == {Format.ONNX_GPU}
    assert set(OURS) <= set(onnxruntime.TARGETS)


def test_whoever_knows_the_standards_operators_alone_is_offered_no_fused_graph():
    offered = {name: (ROWS[name].precisions, dict(ROWS[name].variants)) for name in ("tensorrt", "trtrtx", "coreml")}

    assert all(Precision.FP16 not in plain for plain, _ in offered.values())
    assert all(variants[HALF_EDGE] == {Precision.FP16} for _, variants in offered.values())


def test_a_driver_with_a_card_names_it_and_what_it_drives(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())

    assert nvidia.gpu() == "NVIDIA H200, driver for CUDA 13.1"


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param(Driver(cards=0), id="no_card"),
        *(
            pytest.param(Driver(failing=name), id=name[2:].lower())
            for name in ("cuInit", "cuDeviceGetCount", "cuDeviceGetName", "cuDriverGetVersion")
        ),
    ],
)
def test_a_driver_without_a_card_is_none(monkeypatch, driver):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: driver)

    assert nvidia.gpu() == ""


@pytest.mark.parametrize("name", ["one", "other"])
def test_without_a_driver_the_reason_is_the_card(monkeypatch, name):
    def absent(_):
        msg = "cannot open shared object file"
        raise OSError(msg)

    monkeypatch.setattr(ctypes, "CDLL", absent)

    found = ROWS[{"one": "cuda", "other": "tensorrt"}[name]].found({})

    assert found.missing == "needs an NVIDIA GPU with its driver"


def test_a_card_without_the_package_for_it_says_what_to_install_in_place_of_what(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())

    found = ROWS["cuda"].found({})

    assert found.missing == "install onnxruntime-gpu in place of onnxruntime: pip install 'clip-bench[cuda]'"


def test_a_provider_that_is_listed_but_does_not_start_is_missing(monkeypatch):
    """onnxruntime-gpu lists it everywhere; made by its name it would leave all to the CPU without a word."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())
    monkeypatch.setattr(library, "get_available_providers", lambda: [nvidia.CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(library, "preload_dlls", lambda: None, raising=False)

    found = ROWS["cuda"].found({})

    assert found.missing.startswith("CUDAExecutionProvider does not start: its libraries are missing or of another")
    assert "pip install 'clip-bench[cuda]'" in found.missing


def test_a_provider_that_starts_is_found_with_its_card(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())
    monkeypatch.setattr(library, "get_available_providers", lambda: [nvidia.CUDA])
    monkeypatch.setattr(nvidia, "_starts", lambda _: "")

    found = ROWS["cuda"].found({})

    assert found.missing == ""
    assert found.device == f"NVIDIA H200, driver for CUDA 13.1, {nvidia.CUDA}, ONNX Runtime {library.__version__}"


def test_the_probe_refuses_a_provider_that_would_leave_its_one_node_to_the_processor():
    """ONNX Runtime lists this one in every build for servers, and it takes no node of a plain model."""
    assert "does not start" in nvidia._starts("AzureExecutionProvider")


def test_float32_is_told_to_be_no_tf32_and_a_graph_is_captured_where_asked():
    plain = nvidia.cuda_options(WHOLE)
    captured = nvidia.cuda_options(Options(precision=Precision.FP32, threads=1, variant=Variant(cuda_graphs=True)))

    assert plain["use_tf32"] == captured["use_tf32"] == "0"
    assert (plain["enable_cuda_graph"], captured["enable_cuda_graph"]) == ("0", "1")
    assert ROWS["cuda"].bound == ROWS["tensorrt"].bound == "cuda"


@pytest.mark.parametrize("told", [nvidia.tensorrt_options, nvidia.rtx_options], ids=["server", "desktop"])
@pytest.mark.parametrize("given", [None, "1", ""], ids=["unset", "on", "empty"])
def test_float32_without_the_switch_against_tf32_is_unavailable(monkeypatch, told, given):
    monkeypatch.delenv(nvidia.EXACT, raising=False)
    if given is not None:
        monkeypatch.setenv(nvidia.EXACT, given)

    with pytest.raises(UnavailableError, match=r"TF32 unless NVIDIA_TF32_OVERRIDE=0 is set"):
        told(WHOLE)
    assert told(HALF)


def test_float16_is_allowed_in_a_float16_graph_alone(monkeypatch):
    monkeypatch.setenv(nvidia.EXACT, "0")

    found = [nvidia.tensorrt_options(options)["trt_fp16_enable"] for options in (WHOLE, HALF)]

    assert found == ["0", "1"]


def test_a_plugin_that_cannot_be_loaded_says_why_without_a_path(monkeypatch, tmp_path):
    made = tmp_path / "libplugin.so"
    made.write_bytes(b"no library")
    row = ROWS["trtrtx"]
    monkeypatch.setattr(nvidia, "gpu", lambda: "a card")
    monkeypatch.setattr("clip_bench.backends.onnxruntime.provider.find_spec", lambda name: name)
    monkeypatch.setattr(nvidia, "import_module", lambda _: SimpleNamespace(get_library_path=lambda: made))

    found = row.found({})

    assert "cannot load libplugin.so of NvTensorRTRTXExecutionProvider" in found.missing
    assert str(tmp_path) not in found.missing


@pytest.mark.parametrize(
    ("row", "system", "reason"),
    [
        pytest.param("directml", "linux", "needs Windows", id="windows"),
        pytest.param("coreml", "linux", "needs macOS", id="mac"),
        pytest.param("coreml", "darwin", "needs Apple silicon", id="old_mac"),
    ],
)
def test_another_system_is_the_reason(monkeypatch, row, system, reason):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    assert ROWS[row].found({}).missing.startswith(reason)


def test_windows_without_the_package_for_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")

    assert "pip install 'clip-bench[directml]'" in ROWS["directml"].found({}).missing


def test_the_neural_engine_is_asked_for_and_the_note_says_what_is_not_known():
    row = ROWS["coreml"]

    assert row.options(HALF)["MLComputeUnits"] == "CPUAndNeuralEngine"
    assert row.options(HALF)["ModelFormat"] == "MLProgram"
    assert "may run parts on the CPU" in row.note


def test_a_case_on_an_absent_card_is_unavailable_before_anything_is_opened():
    with pytest.raises(UnavailableError, match="needs Windows"):
        onnxruntime.load(None, next(iter(directml.PROVIDERS)), WHOLE)
    assert all(isinstance(target, Target) for target in OURS)
