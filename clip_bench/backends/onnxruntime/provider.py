"""What an execution provider is: a row of data, and the devices on which ONNX Runtime finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.backends import Found, Options
from clip_bench.errors import UnavailableError
from clip_bench.specs import Format, Precision, Variant
from clip_bench.store import Artifact

if TYPE_CHECKING:
    import onnxruntime

PACKAGE = "install ONNX Runtime: pip install 'clip-bench[onnxruntime]'"


def _no_options(options: Options) -> Mapping[str, str]:  # noqa: ARG001  the signature of a row's function
    return {}


def _as_built(artifact: Artifact, options: Options) -> Path:  # noqa: ARG001  the signature of a row's function
    return artifact.file(".onnx")


def _nowhere_else(told: Mapping[str, str]) -> Mapping[str, int]:  # noqa: ARG001  the signature of a row's function
    return {}


def _nothing(settings: Mapping[str, str]) -> str:  # noqa: ARG001  the signature of a row's function
    return ""


def _unnamed() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One target of ONNX Runtime.

    ``name`` is the provider's, ``hardware`` the kind of device (CPU, GPU or NPU) on which ONNX Runtime must find it.
    ``module`` is the Python module of the package that brings it, ``library`` gives the path of a plugin's library
    (empty for a provider inside the onnxruntime package). ``install`` and ``needs`` say what to install, and which
    device to plug in. ``lacks`` may find another reason, from the user's options, why it cannot run here.

    ``precisions`` are those of a plain cell, ``variants`` what else it can do and in which. ``help`` has a line for each option
    that a user may give, ``note`` what a reader of its figures must know.

    ``options`` gives what the provider is told, ``config`` the entries of the session's configuration, ``model`` the
    file that is loaded. The ``keyed`` ones of its options name what belongs to one graph, such as a cache's entry;
    ``environ`` are variables that it reads. ``in_session`` says that the provider has no devices to be discovered by,
    only a name; then ``named`` tells the device. ``bound`` is the device, in ONNX Runtime's words, on which inputs and
    outputs have buffers bound once.

    ``elsewhere`` counts, from what the provider was told, nodes that it took and runs in another place, by that
    place's name; ``share`` is the part of all nodes that may, for a provider without a switch against it.
    """

    name: str
    hardware: str
    precisions: frozenset[Precision]
    install: str
    needs: str
    module: str = "onnxruntime"
    library: Callable[[], str] | None = None
    in_session: bool = False
    named: Callable[[], str] = _unnamed
    bound: str = ""
    format: Format = Format.ONNX
    variants: Mapping[Variant, frozenset[Precision]] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    lacks: Callable[[Mapping[str, str]], str] = _nothing
    options: Callable[[Options], Mapping[str, str]] = _no_options
    keyed: frozenset[str] = frozenset()
    config: Callable[[Options], Mapping[str, str]] = _no_options
    model: Callable[[Artifact, Options], Path] = _as_built
    environ: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[Mapping[str, str]], Mapping[str, int]] = _nowhere_else
    share: float = 0.0
    note: str = ""

    def told(self, artifact: Artifact, options: Options) -> Mapping[str, str]:
        """What the provider is told; the key of *artifact* ends what names a thing of its own."""
        given = self.options(options)
        return {key: f"{value}_{artifact.key}" if key in self.keyed else value for key, value in given.items()}

    def found(self, settings: Mapping[str, str]) -> Found:
        """What this machine has of the provider."""
        if find_spec("onnxruntime") is None:
            return Found(missing=PACKAGE)
        if find_spec(self.module) is None:
            return Found(missing=self.install)
        if reason := self.lacks(settings):
            return Found(missing=reason)
        if self.in_session:
            import onnxruntime

            here = self.name in onnxruntime.get_available_providers()
            told = ", ".join(filter(None, (self.named(), self.name, f"ONNX Runtime {onnxruntime.__version__}")))
            return Found(device=told) if here else self._absent()
        try:
            devices = self.devices()
        except UnavailableError as exc:
            return Found(missing=str(exc))
        return Found(device=_told(devices[0])) if devices else self._absent()

    def devices(self) -> list[onnxruntime.OrtEpDevice]:
        """The devices on which ONNX Runtime finds this provider; a plugin's library is registered first.

        Raises:
            UnavailableError: the plugin's library cannot be loaded.
        """
        import onnxruntime

        if self.library is not None:
            _register(self.name, self.library())
        return [
            device
            for device in onnxruntime.get_ep_devices()
            if device.ep_name == self.name and device.device.type.name == self.hardware
        ]

    def _absent(self) -> Found:
        import onnxruntime

        known = self.name in onnxruntime.get_available_providers()
        return Found(missing=self.needs if known or self.library else self.install)


@cache
def _register(name: str, library: str) -> None:
    """Make a plugin known to ONNX Runtime, once per process."""
    import onnxruntime

    try:
        onnxruntime.register_execution_provider_library(name, library)
    except Exception as exc:  # the runtime raises a class of its own for each status code
        told = _first_line(exc).replace(library, Path(library).name)  # a path names the machine's owner
        msg = f"ONNX Runtime {onnxruntime.__version__} cannot load {Path(library).name} of {name}: {told}"
        raise UnavailableError(msg) from exc


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]


def _told(device: onnxruntime.OrtEpDevice) -> str:
    """Name of a device, provider, and the versions that they tell."""
    import onnxruntime

    hardware, versions = device.device.metadata, device.ep_metadata
    plain = f"{device.device.vendor or device.ep_vendor} {device.device.type.name}"
    what = hardware.get("Description") or versions.get("FULL_DEVICE_NAME") or plain
    drivers = [f"driver {value}" for key, value in versions.items() if key.endswith("DRIVER_VERSION")]
    told = [what, *drivers, f"{device.ep_name} {versions.get('version', '')}".rstrip()]
    return ", ".join([*told, f"ONNX Runtime {onnxruntime.__version__}"])
