"""What this machine is, as JSON data: processor, memory, versions, accelerators, power; never who or where it is."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What decides which kernels an inference runtime picks, under the names of Linux's /proc/cpuinfo.
ISA = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
PACKAGES = (
    *("torch", "torchvision", "torchao", "open_clip_torch", "onnx", "onnxscript", "openvino", "nncf"),
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-ep-openvino", "onnxruntime-directml"),
    *("onnxruntime-vitisai", "tensorrt", "tensorrt-rtx"),
    *("rknn-toolkit-lite2", "rknn-toolkit2", "sophon", "vaststreamx"),
    *("numpy", "pillow", "pytest", "pytest-benchmark"),
)
# The variables by which somebody changes which kernels run, on how many threads, and in which order they add up.
VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "CUBLAS_", "CUDNN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_"),
    *("ONEDNN_", "OPENBLAS_", "OV_CPU_", "PYTHONHASHSEED", "TBB_", "TORCH_ALLOW_TF32", "VECLIB_"),
)
PLAIN = re.compile(r"[\w.,:;=+(){}-]{0,80}")  # a word or a list of them: no path, no address
# How py-cpuinfo spells a flag where it decodes CPUID itself (Windows): cpuinfo.py, CPUID.get_flags.
ALIASES = {"avx512vnni": "avx512_vnni"}


def facts(threads: int) -> dict[str, object]:
    """Describe this machine now, for a run that executes with *threads* threads.

    ``name`` is a slug of the processor and its physical cores, a folder name under ``reports``; it holds no host
    name, and nothing else here does. ``isa`` is empty where the system does not tell (macOS and Windows on ARM).
    ``accelerators`` is None where they are not looked for (anything but Linux). ``load_1m`` is the mean number of
    runnable processes over the last minute, None on Windows: more than about 0.5 before a run means company.
    ``environment`` is as :func:`environment` has it.
    """
    import psutil

    brand, isa = _processor()
    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    return {
        "name": slug(brand, physical),
        "cpu": brand,
        "isa": list(isa),
        "cores_physical": physical,
        "cores_logical": logical,
        "ram_bytes": psutil.virtual_memory().total,
        "os": _system(),
        "python": platform.python_version(),
        "runtimes": runtimes(),
        "threads": threads,
        "environment": environment(os.environ),
        "accelerators": accelerators() if platform.system() == "Linux" else None,
        "power": power(),
        "governors": list(governors()),
        "load_1m": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of *variables* that begin as :data:`VARIABLES` do: a result may change with them.

    Of a value that may be a path it is only told that it was set.
    """
    named = {name: variables[name] for name in sorted(variables) if name.startswith(VARIABLES)}
    return {name: value if PLAIN.fullmatch(value) else "set" for name, value in named.items()}


def cores(cpus: Path = Path("/sys/devices/system/cpu")) -> int:
    """Physical cores that this process may use: the default thread count.

    On Linux, the distinct cores of the CPUs in the process's affinity, by *cpus* (``topology/core_cpus_list``: two
    hyper-threads share one); elsewhere the physical cores; where neither is known, the logical ones. A container's
    CPU quota (cgroup ``cpu.max``) is time, not cores, and is not counted.
    """
    import psutil

    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    try:
        siblings = {(cpus / f"cpu{cpu}" / "topology" / "core_cpus_list").read_text() for cpu in allowed}
    except OSError:
        siblings = set()
    if siblings:
        return len(siblings)
    known = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(known, len(allowed)) if allowed else known


def quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of processor time that a container may take: infinite without a limit, None where none is told.

    The least of this process's control group and those above it: ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` by
    ``cpu.cfs_period_us`` of version 1. Source: cgroup-v2.rst and sched-bwc.rst of the kernel's documentation.
    """
    told: list[float] = []
    for folder in _groups(root):
        try:
            if (folder / "cpu.max").exists():
                limit, _, period = (folder / "cpu.max").read_text().partition(" ")
            else:
                limit, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            told.append(float("inf") if limit.strip() in {"max", "-1"} else int(limit) / int(period))
        except (OSError, ValueError):
            continue
    return min(told, default=None)


def _groups(root: Path) -> list[Path]:
    """The control groups that this process is in, for processor time, up to the highest that it sees."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers  # version 2 names no controllers
        inside = Path(path.lstrip("/"))
        found += [mount / part for part in (inside, *inside.parents)]
    return found


def governors(cpus: Path = Path("/sys/devices/system/cpu")) -> tuple[str, ...]:
    """What Linux lets decide the cores' clocks, such as ``performance``; empty where it does not tell."""
    found = (path.read_text(encoding="utf-8").strip() for path in cpus.glob("cpufreq/policy*/scaling_governor"))
    return tuple(sorted(set(found)))


def slug(brand: str, count: int) -> str:
    """A processor's brand and its core count as ``[a-z0-9_]+``: ``intel_xeon_processor_2c``."""
    plain = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|\bw(ith|/) .*", " ", brand.lower())
    return "_".join([*re.findall(r"[a-z0-9]+", plain), f"{count}c"])


def accelerators(root: Path = Path("/")) -> list[str]:
    """What Linux's drivers list under *root*: NVIDIA's GPUs with the driver's version, NPUs, other GPUs.

    A name from a kernel driver, not a promise that a runtime can use it; a device that its driver does not register
    there (or a container hides) is missing.
    """
    found = []
    for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        model = re.search(r"^Model:\s*(.+)$", path.read_text(), re.MULTILINE)
        found.append(f"{model[1].strip() if model else 'NVIDIA GPU'}{_nvidia_driver(root)}")
    for path in [*sorted(root.glob("sys/class/accel/accel*")), *sorted(root.glob("sys/class/drm/renderD*"))]:
        link = path / "device" / "driver"
        driver = link.resolve().name if link.exists() else "unknown driver"
        if driver != "nvidia":
            found.append(f"{path.name} ({driver})")
    return found


def _nvidia_driver(root: Path) -> str:
    path = root / "proc/driver/nvidia/version"
    text = path.read_text() if path.exists() else ""
    release = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return f" (driver {release[1]})" if release else ""


@cache
def _processor() -> tuple[str, tuple[str, ...]]:
    """The brand and the :data:`ISA` of the processor; asked once, as py-cpuinfo starts several processes."""
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    flags = {ALIASES.get(flag, flag) for flag in info.get("flags", ())}
    brand = " ".join(str(info.get("brand_raw", "")).split())
    if not brand or brand.isdecimal():  # ARM's /proc/cpuinfo has no brand, and "processor" is an index there
        brand = platform.machine()
    return brand, tuple(name for name in ISA if name in flags)


def _system() -> str:
    """Name, numeric version and architecture; a kernel's suffix may hold its builder's words and is left out."""
    release = platform.mac_ver()[0] or platform.version() if platform.system() != "Linux" else platform.release()
    numbers = re.match(r"[\d.]*\d", release)
    words = (platform.system(), numbers[0] if numbers else "", platform.machine(), *platform.libc_ver())
    return " ".join(filter(None, words))


def runtimes() -> dict[str, str]:
    """The installed ones of :data:`PACKAGES`, by their metadata: no runtime is imported."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def power() -> str:
    """``mains``, ``battery``, or ``unknown`` where there is no battery or no way to ask."""
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is None or battery.power_plugged is None:
        return "unknown"
    return "mains" if battery.power_plugged else "battery"
