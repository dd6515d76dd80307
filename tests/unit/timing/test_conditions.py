"""What else the machine did is what two snapshots tell apart, and None where the system tells nothing."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from clip_bench.timing import conditions
from clip_bench.timing.conditions import Snapshot
from clip_bench.timing.nvml import Card

CALM = Snapshot(at_s=100.0, own_s=1.0, busy_s=50.0, idle_s=150.0, steal_s=2.0, load_1m=0.2, throttled=3, switches=10)


def later(seconds=2.0, **changes):
    """CALM, *seconds* later on an idle machine of two cores, but for *changes*."""
    return replace(CALM, at_s=CALM.at_s + seconds, idle_s=CALM.idle_s + 2 * seconds, **changes)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_on_an_idle_machine_nobody_else_works():
    found = conditions.between(CALM, later())

    assert (found.window_s, found.others, found.steal, found.throttled, found.switches) == (2.0, 0.0, 0.0, 0, 0)


def test_what_others_took_is_what_was_busy_and_not_ours():
    found = conditions.between(CALM, later(busy_s=53.8, own_s=3.0))

    assert found.others == pytest.approx(0.9)


def test_ticks_that_count_less_than_we_ran_make_no_negative_company():
    assert conditions.between(CALM, later(busy_s=51.9, own_s=3.0)).others == 0


def test_steal_is_the_share_of_all_the_time_there_was():
    found = conditions.between(CALM, replace(later(), idle_s=152.0, busy_s=51.0, steal_s=3.0))

    assert found.steal == pytest.approx(0.25)


def test_a_window_of_a_few_ticks_tells_nothing_of_others():
    found = conditions.between(CALM, later(0.05, busy_s=50.05))

    assert (found.others, found.steal) == (None, None)
    assert found.switches == 0


def test_counters_are_told_as_they_rose_and_clocks_as_their_range():
    before = replace(CALM, mhz=(1200.0, 3400.0))

    found = conditions.between(before, later(throttled=5, switches=17, mhz=(2000.0, 3600.0), load_1m=1.5))

    assert (found.throttled, found.switches, found.mhz, found.load_1m) == (2, 7, (1200.0, 3600.0), 0.2)


def test_what_a_system_does_not_tell_is_none():
    silent = Snapshot(at_s=0, own_s=0, busy_s=0, idle_s=0)

    found = conditions.between(silent, replace(silent, at_s=2.0, busy_s=1.0, idle_s=3.0))

    assert (found.steal, found.load_1m, found.mhz, found.throttled, found.switches) == (None,) * 5
    assert found.others == 0.5
    assert found.device == ""


def test_a_card_is_told_in_words_without_what_it_does_not_tell():
    before = Card(name="H200", mhz=1980, celsius=41, held=(), violations_s=(("power", 2.0), ("heat", 1.0)), others=0)
    after = replace(
        before, mhz=1755, celsius=63, held=("its power limit",), violations_s=(("power", 2.5), ("heat", 1.0))
    )

    found = conditions.between(replace(CALM, cards=(before,)), later(cards=(after,)))

    assert found.device == (
        "H200: 1755 to 1980 MHz, 41 to 63 °C, slowed for power during 0.50 s, held down by its power limit, "
        "0 other processes"
    )
    assert conditions.between(replace(CALM, cards=(Card(name="old"),)), later(cards=(Card(name="old"),))).device == (
        "old: tells nothing"
    )


def test_clocks_are_those_that_the_kernel_measured(tmp_path):
    for number, khz in enumerate((1200000, 3400000)):
        write(tmp_path / f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_cur_freq", f"{khz}\n")

    assert conditions.mhz(tmp_path) == (1200.0, 3400.0)


@pytest.mark.parametrize(
    ("flags", "clocks"), [("fpu aperfmperf", (800.5, 2600.0)), ("fpu hypervisor", None)], ids=["counted", "nominal"]
)
def test_clocks_in_the_list_of_processors_count_where_they_are_no_constant(tmp_path, flags, clocks):
    core = "processor\t: {}\ncpu MHz\t\t: {}\nflags\t\t: {}\n\n"
    write(tmp_path / "proc/cpuinfo", core.format(0, 2600.0, flags) + core.format(1, 800.5, flags))

    assert conditions.mhz(tmp_path) == clocks


def test_the_heat_of_a_core_counts_once_for_its_threads(tmp_path):
    for number, (siblings, count) in enumerate([("0,2", 7), ("1,3", 4), ("0,2", 7), ("1,3", 4)]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}"
        write(folder / "thermal_throttle/core_throttle_count", f"{count}\n")
        write(folder / "topology/core_cpus_list", f"{siblings}\n")

    assert conditions.snapshot(root=tmp_path).throttled == 11


def test_an_empty_system_has_no_clocks_and_no_heat(tmp_path):
    found = conditions.snapshot(root=tmp_path)

    assert (found.mhz, found.throttled, found.cards) == (None, None, ())


def test_a_system_without_steal_or_load_or_counts_of_switches_tells_none(monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=3.0, system=2.0, idle=5.0, interrupt=1.0))
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)

    found = conditions.snapshot(root=tmp_path)

    assert (found.busy_s, found.idle_s) == (5.0, 5.0)
    assert (found.steal_s, found.load_1m, found.switches) == (None, None, None)


def test_our_own_work_and_that_of_our_children_is_ours():
    spin = "import time\nwhile time.process_time() < 0.3: pass"

    before = conditions.snapshot()
    subprocess.run([sys.executable, "-c", spin], check=True)  # noqa: S603  ourselves
    after = conditions.snapshot()

    assert after.own_s - before.own_s >= 0.29
    assert after.busy_s >= before.busy_s


@pytest.mark.simulation
def test_a_snapshot_takes_less_than_2_ms():
    conditions.snapshot()

    took = []
    for _ in range(20):
        began = time.perf_counter()
        conditions.snapshot()
        took.append(time.perf_counter() - began)

    assert min(took) < 2e-3


CARD = Card(name="H200")


def words(before, after):
    return conditions.between(replace(CALM, cards=(before,)), later(cards=(after,))).device


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"mhz": 900}, {"mhz": 900}, "900 MHz"),
        ({"mhz": 900}, {}, "900 MHz"),
        ({}, {"celsius": 40}, "40 °C"),
        ({"memory_mhz": 5000}, {"memory_mhz": 405}, "405 to 5000 MHz memory"),
        ({"others": 1}, {"others": 1}, "1 other process"),
        ({"others": 2}, {"others": 0}, "2 other processes"),
        ({"others": 0}, {}, "0 other processes"),
        ({"held": ("heat",)}, {"held": ("heat", "power")}, "held down by heat, held down by power"),
        ({"violations_s": (("heat", 1.0),)}, {"violations_s": (("heat", 1.25),)}, "slowed for heat during 0.25 s"),
        ({}, {"violations_s": (("heat", 9.0),)}, "tells nothing"),
    ],
    ids=["clock", "one_clock", "warmth", "memory", "one", "two", "nobody", "held", "slowed", "since_the_driver"],
)
def test_each_thing_that_a_card_tells_has_its_words(before, after, told):
    assert words(replace(CARD, **before), replace(CARD, **after)) == f"H200: {told}"


def test_several_cards_are_told_one_after_another():
    cards = (CARD, replace(CARD, name="T4", celsius=50))

    assert conditions.between(replace(CALM, cards=cards), later(cards=cards)).device == (
        "H200: tells nothing; T4: 50 °C"
    )


def test_a_tenth_of_a_second_tells_enough_of_others():
    found = conditions.between(replace(CALM, at_s=0.0), replace(CALM, at_s=0.1, busy_s=50.05, idle_s=150.15))

    assert found.others == pytest.approx(0.5)
    assert found.steal == 0.0


def test_counters_that_start_anew_rose_by_nothing():
    found = conditions.between(CALM, later(throttled=0, switches=2, steal_s=1.0))

    assert (found.throttled, found.switches, found.steal) == (0, 0, 0.0)


@pytest.mark.parametrize("end", ["before", "after"])
def test_what_one_end_alone_tells_has_no_rise(end):
    silent = {"throttled": None, "switches": None, "steal_s": None}
    ends = {"before": CALM, "after": later()}
    ends[end] = replace(ends[end], **silent)

    found = conditions.between(**ends)

    assert (found.throttled, found.switches, found.steal) == (None, None, None)
    assert found.others == 0


def test_clocks_of_one_end_are_told():
    found = conditions.between(CALM, later(mhz=(900.0, 1000.0)))

    assert found.mhz == (900.0, 1000.0)


def test_time_that_stands_still_tells_nothing_of_others():
    found = conditions.between(CALM, replace(CALM, at_s=CALM.at_s + 1))

    assert (found.window_s, found.others, found.steal) == (1.0, None, None)


def test_the_clock_of_a_core_that_went_away_is_left_out(tmp_path):
    for number, khz in enumerate(("1200000", "", "800000")):
        write(tmp_path / f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_cur_freq", khz)

    assert conditions.mhz(tmp_path) == (800.0, 1200.0)
    assert conditions.snapshot(root=tmp_path).mhz == (800.0, 1200.0)


def test_a_counter_of_heat_that_cannot_be_read_is_left_out(tmp_path):
    for number, count in enumerate(("3", "", "2")):
        write(tmp_path / f"sys/devices/system/cpu/cpu{number}/thermal_throttle/core_throttle_count", count)

    assert conditions.snapshot(root=tmp_path).throttled == 5


def test_a_snapshot_is_the_systems_own_figures(monkeypatch):
    told = {"user": 1.0, "nice": 2.0, "system": 4.0, "irq": 8.0, "softirq": 16.0, "idle": 32.0, "iowait": 64.0}
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**told, steal=128.0, guest=9.0))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 7.0, 7.0), raising=False)
    monkeypatch.setattr(time, "perf_counter", lambda: 42.0)
    monkeypatch.setattr(time, "process_time", lambda: 3.0)
    monkeypatch.setattr(os, "times", lambda: SimpleNamespace(user=9, system=9, children_user=0.5, children_system=0.25))

    found = conditions.snapshot()

    assert (found.busy_s, found.idle_s, found.steal_s, found.load_1m) == (31.0, 96.0, 128.0, 0.5)
    assert (found.at_s, found.own_s) == (42.0, 3.75)


def test_the_cards_that_were_asked_are_told_and_no_others(monkeypatch):
    """Without any, NVML is not even asked."""
    calls = []

    def cards(asked):
        calls.append(asked)
        return tuple(Card(name=str(n)) for n in asked)

    monkeypatch.setattr(conditions.nvml, "cards", cards)

    assert [card.name for card in conditions.snapshot(gpus=(2, 0)).cards] == ["2", "0"]
    assert conditions.snapshot().cards == ()
    assert calls == [(2, 0)]


def test_giving_up_a_core_is_counted_over_all_threads():
    resource = pytest.importorskip("resource", reason="needs the counters of a POSIX system")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    found = conditions.snapshot().switches
    after = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw

    assert before <= found <= after
