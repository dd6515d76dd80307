"""A machine is described by what it is, never by whose it is."""

import json
import multiprocessing
import os
import re
import runpy
from importlib.metadata import version
from types import SimpleNamespace

import cpuinfo
import psutil
import pytest

from clip_bench import machine

RUNTIMES = ("torch", "open_clip", "onnx", "onnxruntime", "openvino", "nncf", "pytest_benchmark")
CORES = "cores_physical", "cores_logical", "ram_bytes", "threads"


def test_facts_are_strict_json():
    facts = machine.facts(3)

    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_facts_count_in_positive_numbers():
    facts = machine.facts(3)

    assert facts["threads"] == 3
    assert all(facts[name] > 0 for name in CORES), facts
    assert facts["cores_physical"] <= facts["cores_logical"]


def test_facts_name_the_processor_and_the_installed_versions():
    facts = machine.facts(1)

    assert re.fullmatch(r"[a-z0-9_]+_\d+c", facts["name"])
    assert facts["cpu"]
    assert set(facts["isa"]) <= set(machine.ISA)
    assert facts["runtimes"]["numpy"] == version("numpy")
    assert all(facts["runtimes"].values())


def test_facts_hold_no_host_name_and_no_words_of_a_kernels_builder(monkeypatch):
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.platform, "node", lambda: "secret-host")
    monkeypatch.setattr(machine.platform, "release", lambda: "6.8.0-45-secret")

    facts = machine.facts(1)

    assert "secret" not in json.dumps(facts)
    assert facts["os"].startswith("Linux 6.8.0 ")


def test_facts_hold_the_variables_that_change_results_and_no_path_of_anybody(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("KMP_AFFINITY", "granularity=fine,compact,1,0")
    monkeypatch.setenv("MKL_ROOT_OF_MINE", "/home/somebody/mkl")
    monkeypatch.setenv("UNRELATED", "3")

    told = machine.facts(1)["environment"]

    assert (told["OMP_NUM_THREADS"], told["KMP_AFFINITY"]) == ("3", "granularity=fine,compact,1,0")
    assert told["MKL_ROOT_OF_MINE"] == "set"
    assert "UNRELATED" not in told


def test_facts_load_no_runtime(tmp_path):
    script = tmp_path / "script.py"
    check = f"assert not set({RUNTIMES}) & set(sys.modules), sorted(set({RUNTIMES}) & set(sys.modules))"
    script.write_text(f"import sys\nfrom clip_bench import machine\nmachine.facts(1)\n{check}\n")
    process = multiprocessing.get_context("spawn").Process(target=runpy.run_path, args=(str(script),))

    process.start()
    process.join(60)

    assert process.exitcode == 0


def test_a_package_that_is_absent_is_left_out(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "clip-bench-no-such-package"))

    assert list(machine.facts(1)["runtimes"]) == ["numpy"]


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "intel_xeon_processor_4c"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel_xeon_4c"),
        ("12th Gen Intel(R) Core(TM) i7-1260P", "12th_gen_intel_core_i7_1260p_4c"),
        ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "amd_ryzen_ai_9_hx_370_4c"),
        ("AMD Ryzen 7 4800U with Radeon Graphics", "amd_ryzen_7_4800u_4c"),
        ("Apple M3 Pro", "apple_m3_pro_4c"),
    ],
    ids=["xeon", "clocked", "core", "ryzen_ai", "ryzen", "apple"],
)
def test_a_name_is_the_brand_and_the_cores(brand, name):
    assert machine.slug(brand, 4) == name


def test_instruction_sets_have_one_spelling_and_one_order(monkeypatch):
    flags = ["fpu", "avx512vnni", "avx2"]
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"brand_raw": "An  old CPU ", "flags": flags})

    assert machine._processor.__wrapped__() == ("An old CPU", ("avx2", "avx512_vnni"))


@pytest.mark.parametrize("info", [{}, {"brand_raw": "0"}], ids=["nothing", "index"])
def test_a_processor_without_a_brand_is_named_by_its_architecture(monkeypatch, info):
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: info)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")

    assert machine._processor.__wrapped__() == ("aarch64", ())


@pytest.fixture
def cpus(tmp_path):
    """Four CPUs of two cores, two hyper-threads each, as Linux lists them."""
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "core_cpus_list").write_text(f"{siblings}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("allowed", "cores"), [({0, 1, 2, 3}, 2), ({0, 2}, 1), ({0, 1}, 2), ({3}, 1)], ids=["all", "twins", "two", "one"]
)
def test_two_threads_of_one_core_are_one_core(monkeypatch, cpus, allowed, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)

    assert machine.cores(cpus) == cores


@pytest.mark.parametrize(
    ("allowed", "counts", "cores"),
    [
        ({0, 1, 2}, {False: 8, True: 16}, 3),
        ({0, 1, 2}, {False: 2, True: 4}, 2),
        (None, {False: 8, True: 16}, 8),
        (None, {False: None, True: 6}, 6),
        (None, {False: None, True: None}, 1),
    ],
    ids=["affinity", "few_cores", "physical", "logical", "unknown"],
)
def test_without_a_topology_the_cores_are_those_psutil_counts(monkeypatch, tmp_path, allowed, counts, cores):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: counts[logical])
    if allowed is None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)

    assert machine.cores(tmp_path) == cores


def test_this_machine_has_cores():
    assert 1 <= machine.cores() <= psutil.cpu_count()


@pytest.mark.parametrize(
    ("battery", "power"),
    [
        (None, "unknown"),
        (SimpleNamespace(power_plugged=None), "unknown"),
        (SimpleNamespace(power_plugged=True), "mains"),
        (SimpleNamespace(power_plugged=False), "battery"),
    ],
    ids=["no_battery", "silent", "plugged", "unplugged"],
)
def test_power_is_what_the_battery_tells(monkeypatch, battery, power):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)

    assert machine.facts(1)["power"] == power


def test_a_system_without_a_load_average_or_a_look_at_drivers_says_so(monkeypatch):
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    monkeypatch.setattr(machine.platform, "version", lambda: "10.0.22631")
    monkeypatch.delattr(os, "getloadavg", raising=False)

    facts = machine.facts(1)

    assert (facts["load_1m"], facts["accelerators"]) == (None, None)
    assert facts["os"].startswith("Windows 10.0.22631 ")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_graphics_card_is_named_with_its_driver(tmp_path):
    nvidia = tmp_path / "proc/driver/nvidia"
    write(nvidia / "gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H200\nIRQ:   \t\t 100\n")
    write(nvidia / "version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n")

    assert machine.accelerators(tmp_path) == ["NVIDIA H200 (driver 570.86.15)"]


def test_other_devices_are_named_by_their_kernel_driver_and_nvidia_once(tmp_path):
    for device, driver in {"accel/accel0": "intel_vpu", "drm/renderD128": "xe", "drm/renderD129": "nvidia"}.items():
        target = tmp_path / "drivers" / driver
        target.mkdir(parents=True)
        folder = tmp_path / "sys/class" / device / "device"
        folder.mkdir(parents=True)
        (folder / "driver").symlink_to(target)
    (tmp_path / "sys/class/drm/renderD130").mkdir()

    assert machine.accelerators(tmp_path) == ["accel0 (intel_vpu)", "renderD128 (xe)", "renderD130 (unknown driver)"]


def test_a_machine_without_drivers_lists_none(tmp_path):
    assert machine.accelerators(tmp_path) == []


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/", {"cpu.max": "max 100000\n"}, float("inf")),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, 0.5),
        ("4:cpu,cpuacct:/x", {"cpu,cpuacct/cpu.cfs_quota_us": "400000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ("4:memory:/", {"memory/cpu.cfs_quota_us": "1", "memory/cpu.cfs_period_us": "1"}, None),
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "nonsense"}, None),
    ],
    ids=["limited", "free", "above", "first", "first_free", "other", "silent", "damaged"],
)
def test_a_quota_is_the_least_of_the_groups_that_hold_this_process(tmp_path, group, files, cores):
    write(tmp_path / "proc/self/cgroup", f"{group}\n")
    for name, held in files.items():
        write(tmp_path / "sys/fs/cgroup" / name, held)

    assert machine.quota(tmp_path) == cores


def test_a_system_without_control_groups_tells_no_quota(tmp_path):
    assert machine.quota(tmp_path) is None
