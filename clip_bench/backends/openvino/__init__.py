"""OpenVINO: IR on the CPU, on an Intel GPU or NPU, with the execution precision pinned; AUTO and HETERO where named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.backends import Found, Options
from clip_bench.backends.openvino.session import OpenVinoSession, flags_of
from clip_bench.errors import UnavailableError, UnsupportedError, UsageError
from clip_bench.specs import Device, Format, Precision, Rewrite, Target
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import openvino

FORMAT = Format.OPENVINO_IR
CPU = Target(backend="openvino", device=Device.CPU)
GPU = Target(backend="openvino", device=Device.GPU)
NPU = Target(backend="openvino", device=Device.NPU)
TARGETS = {
    CPU: frozenset({Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8_NNCF}),
    GPU: frozenset({Precision.FP32, Precision.FP16, Precision.INT8_NNCF}),
    NPU: frozenset({Precision.FP16, Precision.INT8_NNCF}),
}
REWRITES = {CPU: dict.fromkeys((Rewrite.TRIMMED, Rewrite.POOLED, Rewrite.FOLDED), TARGETS[CPU])}
IMPORTS = "openvino"
QUEUED = frozenset(TARGETS)
NUMBERED = frozenset({GPU})
OPTIONS = {
    "openvino": {
        "device": "AUTO:NPU,CPU or HETERO:GPU,CPU adds cells that OpenVINO places among these devices, in your order"
    }
}
CHOICE = re.compile(r"(?P<mode>AUTO|HETERO):(?P<names>(CPU|GPU|NPU)(,(CPU|GPU|NPU))*)")
PACKAGE = "install OpenVINO: pip install 'clip-bench[openvino]'"
DRIVERS = {
    Device.GPU: "no GPU for OpenVINO: needs an Intel GPU with its compute runtime",
    Device.NPU: "no NPU for OpenVINO: needs an Intel Core Ultra with the NPU driver",
}

# What float nodes execute in. Unset, OpenVINO takes bf16 on machines with AMX and calls it fp32.
EXECUTED = {
    (Device.CPU, Precision.FP32): "f32",
    (Device.CPU, Precision.FP16): "f32",
    (Device.CPU, Precision.BF16): "bf16",
    (Device.CPU, Precision.INT8_NNCF): "f32",
    (Device.GPU, Precision.FP32): "f32",
    (Device.GPU, Precision.FP16): "f16",
    (Device.GPU, Precision.INT8_NNCF): "f16",
    (Device.NPU, Precision.FP16): "f16",
    (Device.NPU, Precision.INT8_NNCF): "f16",
}
KEPT = {Device.GPU, Device.NPU}  # to compile takes these long, so that the store keeps what was compiled
EDGES = {"Constant", "Parameter", "Result"}  # in a graph, but nothing to execute


def targets(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, frozenset[Precision]]:
    """The targets, and the one that ``--option openvino.device`` names: its device is the first of those named.

    Raises:
        UsageError: the option names no choice that can be timed.
    """
    asked = settings.get("openvino", {}).get("device", "")
    if not asked:
        return TARGETS
    match = CHOICE.fullmatch(asked)
    if match is None:
        msg = f"--option openvino.device={asked}: AUTO: or HETERO: and devices among CPU, GPU, NPU, as in AUTO:NPU,CPU"
        if asked.startswith("MULTI"):
            msg += "; MULTI spreads calls over several devices, so that no time would be that of one"
        raise UsageError(msg)
    named = [Target(backend="openvino", device=device) for device in _members(asked)]
    chosen = Target(backend="openvino", provider=match["mode"].lower(), device=named[0].device)
    return {**TARGETS, chosen: frozenset.intersection(*(TARGETS[target] for target in named))}


def _members(asked: str) -> list[Device]:
    """The devices in OpenVINO's name of one device, or of a choice among several: ``NPU``, ``AUTO:NPU,CPU``."""
    return [Device(name.lower()) for name in asked.rpartition(":")[2].split(",")]


def _name(target: Target, settings: Mapping[str, str]) -> str:
    return settings["device"] if target.provider else target.device.upper()


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:
    """Per target, what this machine has of it; a choice needs every device that it names."""
    offered = targets(settings)
    if find_spec("openvino") is None:
        return dict.fromkeys(offered, Found(missing=PACKAGE))
    import openvino

    core = openvino.Core()
    return {target: _found(core, _name(target, settings.get("openvino", {}))) for target in offered}


def _found(core: openvino.Core, asked: str) -> Found:
    import openvino

    here = {name.partition(".")[0] for name in core.available_devices}
    for device in _members(asked):
        if device.upper() not in here:
            return Found(missing=DRIVERS[device])
    told = [_told(core, device.upper()) for device in _members(asked)]
    choice = f"{asked}: " if ":" in asked else ""
    return Found(device=f"{choice}{', '.join([*told, f'OpenVINO {openvino.__version__}'])}")


def _told(core: openvino.Core, name: str) -> str:
    """The full name of a device, and the version of its driver where its plugin tells (the NPU's does)."""
    drivers = [key for key in core.get_property(name, "SUPPORTED_PROPERTIES") if key.endswith("DRIVER_VERSION")]
    return " driver ".join(str(core.get_property(name, key)) for key in ("FULL_DEVICE_NAME", *drivers))


def load(artifact: Artifact, target: Target, options: Options) -> OpenVinoSession:
    """Compile the IR for least latency on one stream, or for so many instances, with the execution precision pinned.

    Raises:
        UnavailableError: no OpenVINO, no such device, a CPU without bfloat16 for bf16, or fewer streams than instances.
        UnsupportedError: the plugin refuses the graph.
    """
    state = devices({"openvino": options.settings})[target]
    if state.missing:
        raise UnavailableError(state.missing)
    import openvino

    core = openvino.Core()
    if options.precision is Precision.BF16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        msg = "no bfloat16 for OpenVINO on this CPU, which would execute float32: needs AVX-512 BF16 or AMX"
        raise UnavailableError(msg)
    try:
        if target.provider:
            return _chosen(core, artifact, options)
        return _plain(core, artifact, target.device, state.device, options)
    except RuntimeError as exc:
        lines = (line.strip() for line in str(exc).splitlines() if not line.startswith("Exception from "))
        msg = f"OpenVINO {openvino.__version__} refuses the graph on {target}: {' '.join(filter(None, lines))}"
        raise UnsupportedError(msg) from exc


def _pinned(device: Device, options: Options) -> dict[str, object]:
    """What a device is told: the type that float nodes execute in, streams, and on a CPU the threads of all of them."""
    pinned: dict[str, object] = {"INFERENCE_PRECISION_HINT": EXECUTED[device, options.precision]}
    if device is Device.CPU:
        pinned |= {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": options.instances}
    if device is Device.GPU and options.instances > 1:
        pinned |= {"NUM_STREAMS": options.instances}
    return pinned


def _hint(options: Options) -> str:
    return "THROUGHPUT" if options.instances > 1 else "LATENCY"


def _notes(members: Sequence[Device], precision: Precision) -> list[str]:
    if precision is not Precision.INT8_NNCF:
        return []
    types = dict.fromkeys(EXECUTED[device, precision] for device in members)
    return [f"nodes that stay float execute in {' or '.join(types)}"]


def _plain(core: openvino.Core, artifact: Artifact, device: Device, found: str, options: Options) -> OpenVinoSession:
    """A session on one device; what takes long to compile is kept in the store, for this device and its driver."""
    asked, source = device.upper(), artifact.file(".xml")
    place = f"{asked}.{options.device_id}" if options.device_id else asked
    settings = {"PERFORMANCE_HINT": _hint(options), **_pinned(device, options)}
    told = {name: str(value) for name, value in settings.items()}
    notes = _notes([device], options.precision)
    if device in KEPT and "EXPORT_IMPORT" in core.get_property(asked, "OPTIMIZATION_CAPABILITIES"):

        def build(folder: Path) -> None:
            compiled = core.compile_model(source, place, settings)
            (folder / "compiled.blob").write_bytes(compiled.export_model().getvalue())

        recipe = {"step": "openvino_blob", "parent": artifact.key, "found": found, "told": told}
        kept = options.store.get(recipe, build, artifact)
        compiled = core.import_model(kept.file(".blob").read_bytes(), place, settings)
        notes.append(f"compiled in {kept.built_s - artifact.built_s:.1f} s, kept, and loaded from the store")
    else:
        compiled = core.compile_model(source, place, settings)
    if device is Device.CPU and (given := compiled.get_property("NUM_STREAMS")) != options.instances:
        msg = f"OpenVINO gives {given} streams on this machine, where {options.instances} instances were asked for"
        raise UnavailableError(msg)
    return OpenVinoSession(
        compiled=compiled,
        request=compiled.create_infer_request(),
        asked=asked,
        notes=tuple(notes),
        told=told,
        flags=flags_of(compiled),
        depth=options.depth,
    )


def _chosen(core: openvino.Core, artifact: Artifact, options: Options) -> OpenVinoSession:
    """A session on what AUTO or HETERO chooses of the devices that the user named.

    AUTO's CPU does not answer the first calls while another device compiles: they would be timed as that device's.
    """
    choice = options.settings["device"]
    members = _members(choice)
    pins = {device.upper(): _pinned(device, options) for device in members}
    settings: dict[str, object] = {"PERFORMANCE_HINT": _hint(options), "DEVICE_PROPERTIES": pins}
    told = {"device": choice, "PERFORMANCE_HINT": _hint(options)}
    told |= {f"{name}.{key}": str(value) for name, pinned in pins.items() for key, value in pinned.items()}
    model, planned = core.read_model(artifact.file(".xml")), Counter[str]()
    if choice.startswith("AUTO"):
        settings["ENABLE_STARTUP_FALLBACK"] = False
        told["ENABLE_STARTUP_FALLBACK"] = "False"
    else:
        places = core.query_model(model, choice, settings)
        executed = (op for op in model.get_ops() if op.get_type_name() not in EDGES)
        planned.update(places.get(op.get_friendly_name(), "unknown").partition(".")[0] for op in executed)
    compiled = core.compile_model(model, choice, settings)
    return OpenVinoSession(
        compiled=compiled,
        request=compiled.create_infer_request(),
        asked=members[0].upper(),
        choice=choice,
        planned=planned,
        notes=tuple(_notes(members, options.precision)),
        told=told,
        flags=flags_of(compiled),
        depth=options.depth,
    )
