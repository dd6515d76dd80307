"""ONNX Runtime: its CPU provider, and every vendor's provider on a device that it discovers, with no way back.

Sessions off the CPU have ``session.disable_cpu_ep_fallback``, and are made from discovered devices (``get_ep_devices``,
``add_provider_for_devices``) where the provider has any. The list of names that ``InferenceSession(providers=...)`` takes
falls back to the CPU in silence, for a plugin as well as for a provider whose creation failed; providers that are known
by their name alone (``in_session``) are named in it with that switch on and the Python class's second try off.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement, setting_of
from clip_bench.backends.onnxruntime import binding, coreml, directml, nvidia, ovep, qnn, vitisai
from clip_bench.backends.onnxruntime.provider import PACKAGE, Provider
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError
from clip_bench.graphs import gpu
from clip_bench.specs import Device, Precision, Rewrite, Target
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import onnxruntime

CPU = Target(backend="onnxruntime", device=Device.CPU)
HOST = "CPUExecutionProvider"
PROVIDERS: Mapping[Target, Provider] = {
    CPU: Provider(
        name=HOST,
        hardware="CPU",
        precisions=frozenset({Precision.FP32, Precision.INT8_DYNAMIC, Precision.INT8_QDQ, Precision.A16W8}),
        install=PACKAGE,
        needs=PACKAGE,
        in_session=True,
    ),
    **ovep.PROVIDERS,
    **qnn.PROVIDERS,
    **vitisai.PROVIDERS,
    **nvidia.PROVIDERS,
    **directml.PROVIDERS,
    **coreml.PROVIDERS,
}
TARGETS = {target: provider.precisions for target, provider in PROVIDERS.items()}
VARIANTS = {target: provider.variants for target, provider in PROVIDERS.items()}
FORMAT = {target: provider.format for target, provider in PROVIDERS.items()}
REWRITES = {
    CPU: {
        **dict.fromkeys((Rewrite.TRIMMED, Rewrite.POOLED, Rewrite.FOLDED), TARGETS[CPU]),
        Rewrite.OPTIMISED: frozenset({Precision.FP32}),
    }
}
IMPORTS = "onnxruntime"
NUMBERED = frozenset(target for target, provider in PROVIDERS.items() if provider.hardware == "GPU")
OPTIONS = {target.provider: provider.help for target, provider in PROVIDERS.items() if provider.help}


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """Per target, what this machine has of it."""
    return {target: provider.found(setting_of(target, settings)) for target, provider in PROVIDERS.items()}


def load(artifact: Artifact, target: Target, options: Options) -> OnnxRuntimeSession:
    """Load the model on the target's provider, all graph optimizations on.

    Raises:
        UnavailableError: no ONNX Runtime, no such provider, or none of its devices.
        UnsupportedError: ONNX Runtime refuses the graph.
        PlacementError: it would place a part of the graph, or all of it, on the CPU.
    """
    provider = PROVIDERS[target]
    if reason := provider.found(options.settings).missing:
        raise UnavailableError(reason)
    import onnxruntime

    told = provider.told(artifact, options)
    folder = Path(mkdtemp(prefix="clip-bench-"))
    try:
        settings = _settings(provider, options, folder)
        session = _open(provider.model(artifact, options), provider, settings, told, options.device_id or 0)
        call = binding.caller(session, provider.bound, options.device_id or 0)
    except Exception as exc:
        shutil.rmtree(folder, ignore_errors=True)
        if type(exc).__module__ != _RAISED_BY:
            raise
        reason = (str(exc).splitlines() or [type(exc).__name__])[0].rpartition(" failed:")[2]  # before it: a path
        msg = f"ONNX Runtime {onnxruntime.__version__} refuses the graph on {target}: {reason.strip()}"
        raise (PlacementError if DISABLED in msg else UnsupportedError)(msg) from exc
    fused = session.get_modelmeta().custom_metadata_map.get(gpu.NOTE, "")
    return OnnxRuntimeSession(
        session=session,
        call=call,
        asked=provider.name,
        told=told,
        note="; ".join(filter(None, (provider.note, fused))),
        elsewhere=provider.elsewhere,
        share=provider.share,
        profile=folder,
    )


DISABLED = "fallback to CPU EP has been explicitly disabled"  # what the runtime says where it would fall back
_RAISED_BY = "onnxruntime.capi.onnxruntime_pybind11_state"  # a class for each status code, with no common base


def _settings(provider: Provider, options: Options, folder: Path) -> onnxruntime.SessionOptions:
    """One stream of *options*' threads, the runtime's evidence on, and no way back to the CPU."""
    import onnxruntime

    os.environ.update(provider.environ)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.enable_profiling = True  # until the first call is over: see placement()
    settings.profile_file_prefix = str(folder / "profile")
    for key, value in {"session.record_ep_graph_assignment_info": "1", **provider.config(options)}.items():
        settings.add_session_config_entry(key, value)
    if provider.name != HOST:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return settings


def _flags(settings: onnxruntime.SessionOptions) -> Mapping[str, str]:
    told = {
        "use_deterministic_compute": settings.use_deterministic_compute,
        "graph_optimization_level": settings.graph_optimization_level.name,
        "execution_mode": settings.execution_mode.name,
        "intra_op_num_threads": settings.intra_op_num_threads,
        "inter_op_num_threads": settings.inter_op_num_threads,
    }
    return {name: str(value) for name, value in told.items()}


def _open(
    path: Path, provider: Provider, settings: onnxruntime.SessionOptions, told: Mapping[str, str], number: int
) -> onnxruntime.InferenceSession:
    """A session on device *number* of *provider* alone; the Python class's own second try on the CPU is switched off.

    Raises:
        UnavailableError: there is no device of that number.
    """
    import onnxruntime

    if provider.in_session:
        wanted = [(provider.name, dict(told))]
        return onnxruntime.InferenceSession(path, settings, providers=wanted, enable_fallback=0)
    devices = provider.devices()
    if number >= len(devices):
        msg = f"{provider.name} has no device {number}: ONNX Runtime finds {len(devices)}, from 0"
        raise UnavailableError(msg)
    settings.add_provider_for_devices([devices[number]], dict(told))
    return onnxruntime.InferenceSession(path, settings, enable_fallback=0)


@dataclass(slots=True, kw_only=True)
class OnnxRuntimeSession:
    """An ONNX graph on one provider. ``profile`` is the folder of the first call's profile, None once it is read.

    ``told`` is what the provider was told; ``asked``, ``share`` and ``note`` are those of the placement, and ``dtypes`` and
    ``first_call_s`` too, once it ``ran``. ``elsewhere`` is that of the :class:`.provider.Provider`.
    """

    session: onnxruntime.InferenceSession
    call: binding.Call
    asked: str
    told: Mapping[str, str]
    note: str
    elsewhere: Callable[[Mapping[str, str]], Mapping[str, int]]
    share: float
    profile: Path | None
    ran: bool = False
    dtypes: Counter[str] = field(default_factory=Counter)
    first_call_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once; ONNX Runtime returns when the results are on the host."""
        self.ran = True
        return self.call(feeds)

    def placement(self) -> Placement:
        """Nodes of the graph by the provider they are assigned to; once run, the kernels of the first call by type.

        A kernel counts by its first input. A provider that compiles a part of the graph tells nothing of its inside
        to ONNX Runtime; its row may know more.
        """
        nodes = Counter({self.asked: 0})
        for part in self.session.get_provider_graph_assignment_info():
            nodes[part.ep_name] += len(part.get_nodes())
        for place, count in self.elsewhere(self.told).items():
            nodes[self.asked] -= count
            nodes[place] += count
        if self.ran and self.profile is not None:
            kernels = _kernels(Path(self.session.end_profiling()))
            self.dtypes, self.first_call_s = _counted(kernels), _timed(kernels)
            self._forget()
        return Placement(
            nodes=nodes,
            dtypes=self.dtypes,
            asked=self.asked,
            share=self.share,
            note=self.note,
            options=self.told,
            first_call_s=self.first_call_s,
            flags=_flags(self.session.get_session_options()),
        )

    def close(self) -> None:
        """Remove the profile; the session is freed with its last reference."""
        if self.profile is not None:
            self.session.end_profiling()
            self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self.profile or "", ignore_errors=True)
        self.profile = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One that ran: its provider, the type of its first input (empty where there is none, or it is not told), its time."""

    provider: str
    dtype: str
    seconds: float


def _kernels(profile: Path) -> list[Kernel]:
    """The kernels that ran, in a profile of ONNX Runtime.

    What a provider compiled is one kernel that bears the provider's name; its inputs are those of the graph, and say
    nothing of the types inside.
    """
    found = []
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event["name"].endswith("_kernel_time"):
            args = event["args"]
            compiled = args["op_name"].startswith(args["provider"])
            inputs = args.get("input_type_shape")
            dtype = "" if compiled or not inputs else next(iter(inputs[0]), "")
            found.append(Kernel(provider=args["provider"], dtype=dtype, seconds=1e-6 * event["dur"]))
    return found


def _counted(kernels: Iterable[Kernel]) -> Counter[str]:
    """How many there are of each type that is told."""
    return Counter(kernel.dtype for kernel in kernels if kernel.dtype)


def _timed(kernels: Iterable[Kernel]) -> dict[str, dict[str, float]]:
    """Their seconds, by provider and type."""
    seconds: dict[str, dict[str, float]] = {}
    for kernel in kernels:
        own = seconds.setdefault(kernel.provider, {})
        own[kernel.dtype] = own.get(kernel.dtype, 0.0) + kernel.seconds
    return seconds
