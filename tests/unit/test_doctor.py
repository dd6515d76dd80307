"""Each sign appears where it should, with what to do about it, and not otherwise."""

import math
from dataclasses import replace

import pytest

from clip_bench import doctor
from clip_bench.__main__ import main
from clip_bench.doctor import Level, Seen
from clip_bench.record import Conditions
from clip_bench.timing.nvml import Card

CALM = Conditions(
    window_s=2.0, load_1m=0.1, steal=0.0, others=0.02, mhz=(3300.0, 3500.0), throttled=0, switches=3, device=""
)
QUIET = Seen(
    conditions=CALM,
    cores=8,
    logical=8,
    rounds_s=tuple(1e-3 + 1e-6 * (i % 7) for i in range(200)),
    step_s=40e-9,
    power="mains",
    governors=("performance",),
    top_mhz=3600.0,
    boost=False,
    quota=math.inf,
    cards=(Card(name="H200", mhz=1980, celsius=40, held=(), others=0),),
)


def levels(seen):
    return {sign.about: sign.level for sign in doctor.signs(seen)}


def told(seen):
    """The one sign of *seen* that is none of QUIET's."""
    usual = {sign.about: sign.level for sign in doctor.signs(QUIET)}
    (changed,) = (sign for sign in doctor.signs(seen) if usual.get(sign.about) != sign.level)
    return changed


def with_conditions(**changes):
    return replace(QUIET, conditions=replace(CALM, **changes))


def with_card(**changes):
    return replace(QUIET, cards=(replace(QUIET.cards[0], **changes),))


def test_a_quiet_machine_is_warned_of_nothing():
    assert set(levels(QUIET).values()) == {Level.OK}
    assert len(levels(QUIET)) == 14


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (
            with_conditions(others=0.9),
            "warn     other processes: others take 0.9 of 8 cores: stop them, or trust paired ratios alone",
        ),
        (with_conditions(load_1m=1.5), "1.50 processes wanted a core"),
        (with_conditions(steal=0.08), "the host of this machine took 8.0% of its processor time: take a host"),
        (with_conditions(throttled=4), "cores were slowed 4 times: let it cool"),
        (with_conditions(mhz=(800.0, 1200.0)), "800 to 1200 MHz of at most 3600: no core gets up to its clock"),
        (replace(QUIET, quota=1.5), "1.5 of 8 cores' time: calls will stall; lift it, or --threads 1"),
        (replace(QUIET, rounds_s=(1e-3, 1.5e-3) * 100), "200 runs: median 1.25 ms, P90 50% above P10"),
        (replace(QUIET, governors=("performance", "powersave")), "performance, powersave: clocks follow the load"),
        (replace(QUIET, boost=True), "on: clocks fall as cores get warm"),
        (replace(QUIET, power="battery"), "battery: plug it in"),
        (replace(QUIET, step_s=15.6e-3), "time.perf_counter advances by 15600000 ns"),
        (with_card(others=2), "H200, processes: 2 beside this one: stop them"),
        (with_card(held=("its power limit",)), "held down by its power limit, 40 °C: let it cool, raise its limit"),
    ],
    ids=[
        *("company", "load", "steal", "heat", "clock", "quota", "spread", "governor", "boost", "battery", "timer"),
        *("shared_card", "held_card"),
    ],
)
def test_what_disturbs_is_warned_of_with_what_to_do(seen, line):
    sign = told(seen)

    assert sign.level is Level.WARN
    assert line in str(sign)


@pytest.mark.parametrize(
    "seen",
    [
        with_conditions(others=None),
        with_conditions(load_1m=None),
        with_conditions(steal=None),
        with_conditions(throttled=None),
        with_conditions(mhz=None),
        replace(QUIET, quota=None),
        replace(QUIET, governors=()),
        replace(QUIET, boost=None),
        replace(QUIET, power="unknown"),
        replace(QUIET, virtual=True),
        with_card(others=None),
        with_card(held=None),
    ],
    ids=[
        *("company", "load", "steal", "heat", "clock", "quota", "governor", "boost", "power", "virtual"),
        *("shared_card", "held_card"),
    ],
)
def test_what_nobody_tells_is_unknown_and_says_why(seen):
    sign = told(seen)

    assert sign.level is Level.UNKNOWN
    assert sign.seen


def test_threads_that_share_a_core_are_in_the_way_only_where_others_work():
    shared = replace(QUIET, cores=4)

    assert levels(shared)["hyper-threads"] is Level.OK
    assert levels(replace(shared, conditions=replace(CALM, others=0.9)))["hyper-threads"] is Level.WARN


def test_a_clock_without_a_known_top_is_only_told():
    seen = replace(with_conditions(mhz=(800.0, 1200.0)), top_mhz=None)

    assert levels(seen)["clock"] is Level.OK


def test_a_card_that_nothing_asks_is_unknown_with_what_to_install():
    (sign,) = (each for each in doctor.signs(replace(QUIET, cards=(), untold="install it")) if "NV" in each.about)

    assert str(sign) == "unknown  NVIDIA GPU: install it"


def write(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{words}\n")


def test_the_settings_of_a_machine_are_read_where_linux_keeps_them(tmp_path):
    cpus = tmp_path / "sys/devices/system/cpu"
    for number, governor in enumerate(("powersave", "performance")):
        write(cpus / f"cpufreq/policy{number}/scaling_governor", governor)
        write(cpus / f"cpufreq/policy{number}/cpuinfo_max_freq", 3600000 + 100000 * number)
        write(cpus / f"cpufreq/policy{number}/scaling_cur_freq", 3000000)
    write(cpus / "intel_pstate/no_turbo", 0)
    write(tmp_path / "proc/cpuinfo", "flags : fpu hypervisor")
    write(tmp_path / "proc/self/cgroup", "0::/")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "150000 100000")
    write(tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: H200")

    seen = doctor.look(0.0, tmp_path)

    assert (seen.governors, seen.top_mhz, seen.boost) == (("performance", "powersave"), 3700.0, True)
    assert (seen.virtual, seen.quota, seen.conditions.mhz) == (True, 1.5, (3000.0, 3000.0))
    assert len(seen.rounds_s) >= doctor.RUNS
    assert seen.untold or seen.cards


@pytest.mark.parametrize(("state", "boosted"), [("1", True), ("0", False)], ids=["on", "off"])
def test_the_boost_of_other_drivers_has_a_switch_of_its_own(tmp_path, state, boosted):
    write(tmp_path / "cpufreq/boost", state)

    assert doctor._boosts(tmp_path) is boosted


def test_a_system_without_settings_tells_none(tmp_path):
    seen = doctor.look(0.0, tmp_path)

    assert (seen.governors, seen.top_mhz, seen.boost, seen.quota, seen.virtual) == ((), None, None, None, False)


@pytest.mark.parametrize(
    ("seen", "arguments", "status"),
    [(QUIET, ["--strict"], 0), (with_conditions(others=0.9), ["--strict"], 1), (with_conditions(others=0.9), [], 0)],
    ids=["quiet", "strict", "lenient"],
)
def test_the_command_prints_a_line_for_each_and_fails_only_where_it_is_strict(
    monkeypatch, capsys, seen, arguments, status
):
    monkeypatch.setattr(doctor, "look", lambda seconds: seen if seconds == 0.5 else None)

    assert main(["doctor", "--seconds", "0.5", *arguments]) == status
    assert capsys.readouterr().out.splitlines() == [str(sign) for sign in doctor.signs(seen)]
