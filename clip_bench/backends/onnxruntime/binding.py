"""How a session is called: with arrays, or through buffers on the device that are bound once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clip_bench.backends import Arrays

if TYPE_CHECKING:
    import onnxruntime

Call = Callable[[Arrays], dict[str, NDArray[np.generic]]]
NUMPY: Mapping[str, DTypeLike] = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


def caller(session: onnxruntime.InferenceSession, device: str, number: int = 0) -> Call:
    """What calls *session* with named arrays and returns when the results are on the host.

    With a *device* (``cuda``, or ``cpu`` to try it) and its *number*, inputs and outputs live in buffers there, bound
    once: a call copies in, runs, and copies out. That is what a captured CUDA graph needs, whose addresses are fixed.
    Where the graph's edge is float16, the call casts there and back.
    """
    outputs = tuple(output.name for output in session.get_outputs())
    call = _bound(session, outputs, device, number) if device else _plain(session, outputs)
    narrow = {each.name for each in (*session.get_inputs(), *session.get_outputs()) if each.type == "tensor(float16)"}
    return _cast(call, narrow) if narrow else call


def _plain(session: onnxruntime.InferenceSession, outputs: tuple[str, ...]) -> Call:
    def call(feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        return dict(zip(outputs, session.run(outputs, feeds), strict=True))

    return call


def _cast(call: Call, narrow: Collection[str]) -> Call:
    """*call* with float16 in the *narrow* places of the graph's edge, and float32 at its own."""

    def cast(feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        given = {name: rows.astype(np.float16) if name in narrow else rows for name, rows in feeds.items()}
        taken = call(given)
        return {name: rows.astype(np.float32) if name in narrow else rows for name, rows in taken.items()}

    return cast


@dataclass(frozen=True, slots=True)
class Bound:
    """A session with its buffers on a device: inputs and outputs by name."""

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding
    inputs: Mapping[str, onnxruntime.OrtValue]
    outputs: Mapping[str, onnxruntime.OrtValue]

    def __call__(self, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        """Copy in, run, wait, copy out; ONNX Runtime's own copies wait for the device."""
        for name, value in self.inputs.items():
            value.update_inplace(feeds[name])
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return {name: np.array(value.numpy()) for name, value in self.outputs.items()}  # on a CPU it shares the buffer


def _bound(session: onnxruntime.InferenceSession, outputs: tuple[str, ...], device: str, number: int) -> Bound:
    import onnxruntime

    def buffer(edge: onnxruntime.NodeArg) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(edge.shape, NUMPY[edge.type], device, number)

    binding = session.io_binding()
    given = {edge.name: buffer(edge) for edge in session.get_inputs()}
    taken = {edge.name: buffer(edge) for edge in session.get_outputs()}
    for name, value in given.items():
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_ortvalue_output(name, taken[name])
    return Bound(session, binding, given, taken)
