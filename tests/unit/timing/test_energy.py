"""Energy is what the counters rose by, over every package once; where none can be read, the reason says what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.specs import Device, Target
from clip_bench.timing import energy, nvml

HOST = Target(backend="torch", device=Device.CPU)
CARD = Target(backend="torch", device=Device.GPU, provider="cuda")
RANGE_UJ = 262_143_328_850


@pytest.fixture
def powercap(tmp_path):
    """Two packages, one of them twice, each with a part of its own, and the board's own counter."""
    folder = tmp_path / "powercap"
    for domain, name in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }.items():
        (folder / domain).mkdir(parents=True)
        (folder / domain / "name").write_text(f"{name}\n")
        (folder / domain / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        count(folder, domain, 1_000_000)
    return folder


def count(folder, domain, microjoules):
    (folder / domain / "energy_uj").write_text(f"{microjoules}\n")


def test_the_packages_are_summed_and_nothing_is_counted_twice(powercap):
    begun = energy.begin(HOST, folder=powercap)
    for domain in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
        count(powercap, domain, 6_000_000)
    count(powercap, "intel-rapl:1", 3_500_000)

    found = energy.end(begun)

    assert found.joules == pytest.approx(7.5)
    assert found.source == "RAPL: package-0, RAPL: package-1"


def test_a_counter_that_went_round_rose_all_the_same(powercap):
    count(powercap, "intel-rapl:0", RANGE_UJ - 2_000_000)
    begun = energy.begin(HOST, folder=powercap)
    count(powercap, "intel-rapl:0", 3_000_000)

    assert energy.end(begun).joules == pytest.approx(5.0)


def test_counters_for_root_alone_are_told_with_how_to_read_them(powercap, monkeypatch):
    def denied(path, *_, **__):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path)

    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", denied)

    found = energy.end(energy.begin(HOST, folder=powercap))

    assert found.joules is None
    assert found.source == (
        f"n/a: the energy of package-0 is for root alone: sudo chmod a+r {powercap}/*/energy_uj, until the next boot"
    )


def test_a_counter_that_stands_still_tells_no_energy(powercap):
    found = energy.end(energy.begin(HOST, folder=powercap))

    assert found.joules is None
    assert found.source.endswith("the energy counter stands still")


def test_a_package_that_went_away_tells_no_energy(powercap):
    begun = energy.begin(HOST, folder=powercap)
    (powercap / "intel-rapl:1" / "name").write_text("dram\n")
    count(powercap, "intel-rapl:0", 9_000_000)

    found = energy.end(begun)

    assert found.joules is None
    assert found.source == "the energy counters are not those that there were at the beginning"


def test_a_damaged_counter_is_told(powercap):
    (powercap / "intel-rapl:1" / "energy_uj").write_text("\n")

    found = energy.end(energy.begin(HOST, folder=powercap))

    assert found.joules is None
    assert found.source.startswith("n/a: intel-rapl:1 cannot be read")


@pytest.mark.parametrize(
    ("made", "reason"),
    [(False, "a virtual machine or a container hides it"), (True, "lists no package of a processor")],
    ids=["absent", "empty"],
)
def test_a_machine_without_counters_says_why(tmp_path, made, reason):
    folder = tmp_path / "powercap"
    if made:
        folder.mkdir()

    found = energy.end(energy.begin(HOST, folder=folder))

    assert found.joules is None
    assert reason in found.source


def test_a_card_is_asked_for_its_own_counter(monkeypatch):
    told = iter([100.0, 112.5])
    monkeypatch.setattr(nvml, "joules", lambda asked: next(told) if asked == (1,) else None)
    monkeypatch.setattr(nvml, "cards", lambda asked: tuple(nvml.Card(name="H200") for _ in asked))

    found = energy.end(energy.begin(CARD, gpus=(1,)))

    assert found.joules == pytest.approx(12.5)
    assert found.source == "NVML: H200"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (CARD, "n/a: no driver"),
        (Target(backend="openvino", device=Device.GPU), "n/a: no counter is known for the GPU of openvino-gpu"),
        (Target(backend="openvino", device=Device.NPU), "n/a: no counter is known for the device kind npu"),
    ],
    ids=["card", "integrated", "neural"],
)
def test_a_device_without_a_counter_is_never_given_another_ones(monkeypatch, powercap, target, reason):
    monkeypatch.setattr(nvml, "joules", lambda _: None)
    monkeypatch.setattr(nvml, "missing", lambda: "no driver")

    found = energy.end(energy.begin(target, folder=powercap))

    assert found.joules is None
    assert found.source.startswith(reason)


@given(joules=st.floats(1e-3, 1e6), embeddings=st.integers(1, 10**6))
def test_joules_per_thousand_scale_with_the_embeddings(joules, embeddings):
    assert energy.per_thousand(joules, embeddings) * embeddings == pytest.approx(1000 * joules)


def test_no_embeddings_have_no_energy_each():
    with pytest.raises(UsageError, match="at least 1 embedding"):
        energy.per_thousand(1.0, 0)


def test_a_counter_is_told_in_joules_with_where_it_starts_anew(powercap):
    begun = energy.begin(HOST, folder=powercap)

    assert begun.counters == (
        energy.Counter(name="RAPL: package-0", joules=1.0, range_j=RANGE_UJ / 1e6),
        energy.Counter(name="RAPL: package-1", joules=1.0, range_j=RANGE_UJ / 1e6),
    )
    assert (begun.target, begun.gpus, begun.folder, begun.reason) == (HOST, (0,), powercap, "")


def test_a_reading_that_tells_nothing_says_of_what_and_why(tmp_path):
    begun = energy.begin(HOST, gpus=[2, 1], folder=tmp_path)

    assert begun == energy.Reading(
        target=HOST, gpus=(2, 1), folder=tmp_path, reason=f"n/a: {tmp_path} lists no package of a processor"
    )
    assert energy.begin(HOST, folder=tmp_path / "gone").reason == (
        f"n/a: no {tmp_path}/gone: a virtual machine or a container hides it, or the processor has no RAPL"
    )


def test_what_went_missing_since_the_beginning_is_the_reason(powercap):
    begun = energy.begin(HOST, folder=powercap)
    (powercap / "intel-rapl:1" / "energy_uj").write_text("none\n")

    assert energy.end(begun).source == (
        "n/a: intel-rapl:1 cannot be read (invalid literal for int() with base 10: 'none\\n')"
    )


@pytest.mark.parametrize(
    ("begun", "ended", "joules"),
    [
        ((5.0, 9.0), (7.0, 9.5), 2.5),
        ((5.0, 9.0), (5.0, 9.25), 0.25),
        ((5.0, 9.0), (1.0, 9.0), 6.0),
        ((5.0, None), (4.0, None), None),
    ],
    ids=["risen", "by_little", "went_round", "fallen_without_range"],
)
def test_joules_are_what_all_counters_rose_by(monkeypatch, begun, ended, joules):
    """The first of two counters starts anew after 10 J, where that is known; the second only ever rises."""
    ends = iter([begun, ended])

    def counters(*_):
        first, second = next(ends)
        whole = (energy.Counter(name="a", joules=first, range_j=None if second is None else 10.0),)
        return whole if second is None else (*whole, energy.Counter(name="b", joules=second, range_j=10.0))

    monkeypatch.setattr(energy, "_counters", counters)

    found = energy.end(energy.begin(HOST))

    assert found.joules == joules
    assert found.source == ("a: the energy counter stands still" if joules is None else "a, b")


def test_each_card_that_was_asked_is_named(monkeypatch):
    monkeypatch.setattr(nvml, "joules", lambda asked: 5.0 * len(asked))
    monkeypatch.setattr(nvml, "cards", lambda asked: tuple(nvml.Card(name=f"card {n}") for n in asked))

    begun = energy.begin(CARD, gpus=(1, 3))

    assert begun.counters == (energy.Counter(name="NVML: card 1, card 3", joules=10.0),)
    assert energy.begin(CARD).counters[0].name == "NVML: card 0"


def test_a_card_that_tells_no_energy_says_why_it_may_not(monkeypatch):
    monkeypatch.setattr(nvml, "joules", lambda _: None)
    monkeypatch.setattr(nvml, "missing", lambda: "")

    assert energy.begin(CARD).reason == (
        "n/a: this GPU tells NVML no energy (before Volta, or CUDA numbers it otherwise)"
    )


def test_a_device_without_a_counter_is_told_in_words():
    intel = Target(backend="openvino", device=Device.GPU)

    assert energy.begin(intel).reason == ("n/a: no counter is known for the GPU of openvino-gpu, NVIDIA's have one")


def test_the_energy_of_one_is_a_thousandth_of_that_of_a_thousand():
    assert energy.per_thousand(2.5, 1) == 2500.0
    with pytest.raises(UsageError) as refused:
        energy.per_thousand(1.0, 0)
    assert str(refused.value) == "energy per embedding needs at least 1 embedding, not 0"
