"""NVIDIA's management library, as far as it is asked: cards are rows in ``CARDS``, and a missing key is not supported."""

from types import SimpleNamespace

NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
NVML_TEMPERATURE_GPU = 0
CARDS = []
STATE = {"driver": True}


class NVMLError(Exception):
    pass


def nvmlInit():  # noqa: N802
    if not STATE["driver"]:
        msg = "Driver Not Loaded"
        raise NVMLError(msg)


def nvmlDeviceGetCount():  # noqa: N802
    return len(CARDS)


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    return CARDS[index]


def _told(handle, key):
    if key not in handle:
        msg = "Not Supported"
        raise NVMLError(msg)
    return handle[key]


def nvmlDeviceGetName(handle):  # noqa: N802
    return _told(handle, "name")


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return _told(handle, "uuid")


def nvmlDeviceGetClockInfo(handle, kind):  # noqa: N802
    return _told(handle, "clocks")[kind]


def nvmlDeviceGetTemperature(handle, sensor):  # noqa: ARG001, N802
    return _told(handle, "celsius")


def nvmlDeviceGetCurrentClocksThrottleReasons(handle):  # noqa: N802
    return _told(handle, "reasons")


def nvmlDeviceGetViolationStatus(handle, policy):  # noqa: N802
    return SimpleNamespace(violationTime=_told(handle, "violations")[policy])


def nvmlDeviceGetComputeRunningProcesses(handle):  # noqa: N802
    return [SimpleNamespace(pid=pid) for pid in _told(handle, "pids")]


def nvmlDeviceGetTotalEnergyConsumption(handle):  # noqa: N802
    return _told(handle, "millijoules")
