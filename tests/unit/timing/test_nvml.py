"""What NVIDIA's library tells of a card is told; what it does not is None, and never another card's."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from clip_bench.specs import Device, Target
from clip_bench.timing import nvml

STANDIN = Path(__file__).parents[1] / "standins" / "pynvml.py"
WHOLE = {
    "name": "NVIDIA H200",
    "uuid": "GPU-aa",
    "clocks": {1: 1980, 2: 3201},
    "celsius": 41,
    "reasons": 0x01 | 0x04,
    "violations": {0: 2_000_000_000, 1: 0},
    "pids": [],
    "millijoules": 12_500,
}


@pytest.fixture
def library(monkeypatch):
    """A pynvml of our own, with no card yet."""
    spec = importlib.util.spec_from_file_location("pynvml", STANDIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    nvml._library.cache_clear()
    yield module
    nvml._library.cache_clear()


def test_a_card_tells_its_clocks_its_heat_and_what_holds_it_down(library):
    library.CARDS.append(WHOLE)

    assert nvml.missing() == ""
    assert nvml.cards() == (
        nvml.Card(
            name="NVIDIA H200",
            mhz=1980,
            memory_mhz=3201,
            celsius=41,
            held=("its power limit",),
            violations_s=(("power", 2.0), ("heat", 0.0)),
            others=0,
        ),
    )


def test_a_card_that_tells_nothing_but_its_name_has_no_figures(library):
    library.CARDS.append({"name": "old"})

    assert nvml.cards([0]) == (nvml.Card(name="old"),)
    assert nvml.joules([0]) is None


@pytest.mark.parametrize(
    ("pids", "others"),
    [([], 0), ([os.getpid()], 0), ([os.getpid(), os.getppid()], 1), ([os.getpid(), 2**22 + 1], None)],
    ids=["empty", "own", "company", "foreign"],
)
def test_company_is_every_process_but_this_one(library, pids, others):
    library.CARDS.append(WHOLE | {"pids": pids})

    assert nvml.cards()[0].others == others


@pytest.mark.parametrize(
    ("names", "visible", "order", "asked", "found"),
    [
        ("aa", None, None, [1], ["GPU-1"]),
        ("aa", "1,0", None, [0], ["GPU-1"]),
        ("aa", "GPU-1", None, [0], ["GPU-1"]),
        ("ab", "GPU-1", None, [0], ["GPU-1"]),
        ("ab", None, None, [0], []),
        ("ab", None, "PCI_BUS_ID", [0], ["GPU-0"]),
        ("aa", "1", None, [0, 1], []),
        ("aa", "", None, [0], []),
        ("aa", None, None, [0, 1], ["GPU-0", "GPU-1"]),
    ],
    ids=["plain", "turned", "named", "unlike_named", "unlike", "by_bus", "hidden", "none", "both"],
)
def test_a_card_is_the_one_that_the_runtime_numbers(library, monkeypatch, names, visible, order, asked, found):
    library.CARDS += [{"name": name, "uuid": f"GPU-{i}", "millijoules": i} for i, name in enumerate(names)]
    for variable, value in {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": order}.items():
        if value is not None:
            monkeypatch.setenv(variable, value)

    assert [handle["uuid"] for handle in nvml._handles(library, asked)] == found
    assert len(nvml.cards(asked)) == len(found)


def test_energy_is_the_sum_of_the_cards_that_were_asked(library):
    library.CARDS += [WHOLE, WHOLE | {"uuid": "GPU-bb", "millijoules": 500}]

    assert nvml.joules([0, 1]) == pytest.approx(13.0)
    assert nvml.joules([1]) == pytest.approx(0.5)


def test_without_a_driver_nothing_is_told_and_the_reason_says_so(library):
    library.STATE["driver"] = False

    assert (nvml.cards(), nvml.joules([0])) == ((), None)
    assert nvml.missing() == "NVML finds no driver of NVIDIA's (Driver Not Loaded)"


@pytest.mark.usefixtures("library")
def test_without_the_package_nothing_is_told_and_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert (nvml.cards(), nvml.joules([0])) == ((), None)
    assert "pip install nvidia-ml-py" in nvml.missing()


@pytest.mark.parametrize(
    ("target", "served"),
    [
        (Target(backend="torch", device=Device.GPU, provider="cuda"), True),
        (Target(backend="onnxruntime", device=Device.GPU, provider="trtrtx"), True),
        (Target(backend="openvino", device=Device.GPU), False),
        (Target(backend="onnxruntime", device=Device.GPU, provider="directml"), False),
        (Target(backend="torch", device=Device.CPU), False),
    ],
    ids=["eager", "engine", "intel", "windows", "host"],
)
def test_only_what_runs_on_such_a_card_is_asked_of_it(target, served):
    assert nvml.serves(target) is served


def test_reasons_are_told_bit_by_bit_and_an_idle_clock_is_none(library):
    library.CARDS += [WHOLE | {"reasons": mask} for mask in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF)]

    held = [card.held for card in nvml.cards()]

    each = [
        ("its power limit",),
        ("a hardware slowdown",),
        ("another GPU's clock",),
        ("heat, by its driver",),
        ("heat, by its hardware",),
        ("a power brake",),
    ]
    assert held == [(), (), *each, tuple(name for (name,) in each)]


def test_a_card_that_does_not_tell_its_name_has_that_of_its_kind(library):
    library.CARDS.append({"clocks": {1: 900, 2: 5000}})

    (card,) = nvml.cards()

    assert (card.name, card.mhz, card.memory_mhz) == ("NVIDIA GPU", 900, 5000)


def test_cards_of_others_that_answer_nothing_are_not_counted(library, monkeypatch):
    library.CARDS += [None, WHOLE | {"name": "a"}]

    def handle(index):
        if library.CARDS[index] is None:
            raise library.NVMLError
        return library.CARDS[index]

    monkeypatch.setattr(library, "nvmlDeviceGetHandleByIndex", handle)

    assert [card.name for card in nvml.cards()] == ["a"]
    assert [card.name for card in nvml.cards([0])] == ["a"]
    assert nvml.cards([1]) == ()


def test_a_driver_that_does_not_count_its_cards_has_none(library, monkeypatch):
    def refused():
        raise library.NVMLError

    library.CARDS.append(WHOLE)
    monkeypatch.setattr(library, "nvmlDeviceGetCount", refused)

    assert (nvml.cards(), nvml.joules([0])) == ((), None)


def test_spaces_between_the_visible_are_no_part_of_them(library, monkeypatch):
    library.CARDS += [{"name": "a", "uuid": f"GPU-{i}"} for i in range(3)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 0")

    assert [handle["uuid"] for handle in nvml._handles(library, [0, 1])] == ["GPU-2", "GPU-0"]


def test_a_number_beyond_the_listed_and_a_word_of_another_kind_are_no_card(library, monkeypatch):
    library.CARDS.append({"name": "a", "uuid": "GPU-0"})
    for visible in ("1", "MIG-0", "-1", "x"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert nvml._handles(library, [0]) == ()


def test_energy_of_which_one_card_tells_nothing_is_none(library):
    library.CARDS += [WHOLE, {"name": "NVIDIA H200"}]

    assert nvml.joules([0]) == pytest.approx(12.5)
    assert nvml.joules([0, 1]) is None


@pytest.mark.usefixtures("library")
def test_what_to_install_is_told_in_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert nvml.missing() == "NVML is not asked: pip install nvidia-ml-py, which the extra cuda brings"
