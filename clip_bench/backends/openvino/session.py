"""A compiled model with its inference requests, and what OpenVINO tells of where and how it executes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Placement

if TYPE_CHECKING:
    import openvino

IDLE = {"Const", "Input", "Output"}  # in the runtime model, but nothing to execute
FLAGS = (  # of https://docs.openvino.ai/2025/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html
    *("INFERENCE_NUM_THREADS", "NUM_STREAMS", "INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT", "PERFORMANCE_HINT"),
    *("SCHEDULING_CORE_TYPE", "ENABLE_HYPER_THREADING", "DYNAMIC_QUANTIZATION_GROUP_SIZE"),
)
FLOATS = {"f32", "f16", "bf16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoSession:
    """A compiled model with one inference request, and a queue of ``depth`` more once one is submitted.

    ``choice`` is what the user let OpenVINO choose among, ``planned`` HETERO's own plan: nodes of the graph per
    device. ``served`` collects where the work was whenever :meth:`placement` was asked. ``told`` is what OpenVINO was told,
    ``flags`` what it tells of itself, ``notes`` what a reader must know. The ``free`` ones of the queue's ``slots`` take the
    next request.
    """

    compiled: openvino.CompiledModel
    request: openvino.InferRequest
    asked: str
    notes: tuple[str, ...]
    told: Mapping[str, str]
    flags: Mapping[str, str] = field(default_factory=dict)
    choice: str = ""
    planned: Mapping[str, int] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    depth: int = 1
    slots: list[Slot] = field(default_factory=list)
    free: SimpleQueue[Slot] = field(default_factory=SimpleQueue)

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once; the outputs are copied out of the request, inside the call."""
        results = self.request.infer(dict(feeds), share_inputs=True)
        return {port.get_any_name(): array for port, array in results.items()}

    def submit(self, feeds: Arrays, done: Callable[[Arrays], None]) -> None:
        """Start a request on OpenVINO's own threads; *done* gets its outputs, copied, on one of them.

        It waits while ``depth`` of them are under way. An ``AsyncInferQueue`` would not let *done* start the next one.
        """
        if not self.slots:
            self.slots.extend(Slot(self.compiled.create_infer_request(), self.free) for _ in range(self.depth))
        self.free.get().start(feeds, done)

    def wait(self) -> None:
        """Wait for every request; what one raised is raised here."""
        for slot in self.slots:
            slot.request.wait()

    def placement(self) -> Placement:
        """Nodes that execute, per device and type: from ``EXECUTION_DEVICES`` and the plugin's runtime model.

        HETERO tells devices and nodes apart, so that the nodes per device are those of its plan, if these are its
        devices; the runtime model of the NPU holds no nodes, so that all of it counts as one.
        """
        told = self.compiled.get_property("EXECUTION_DEVICES")
        names = [name.partition(".")[0] for name in ([told] if isinstance(told, str) else told)]
        where = "+".join(names) or "unknown"
        if where not in self.served:
            self.served.append(where)
        types, halved = types_of(self.compiled.get_runtime_model())
        notes = [*self.notes]
        if halved:
            notes.append(f"{halved} nodes take weights in half the bits, and execute in float32")
        if self.choice or len(self.served) > 1:
            notes.insert(0, f"{self.choice or self.asked} was served by {', then by '.join(self.served)}")
        as_planned = set(self.planned) == set(names)
        return Placement(
            nodes=self.planned if as_planned else {where: types.total() or 1},
            dtypes=types,
            asked=self.asked,
            share=1.0 if self.choice else 0.0,
            note="; ".join(notes),
            options=self.told,
            flags=self.flags,
        )

    def close(self) -> None:
        """Let go of the queue; all requests are freed with their last reference."""
        for slot in self.slots:
            slot.request.set_callback(lambda _: None, None)  # a callback and its request hold each other
        self.slots.clear()


def flags_of(compiled: openvino.CompiledModel) -> Mapping[str, str]:
    """Those of :data:`FLAGS` that the device has, as words: ``ExecutionMode.PERFORMANCE`` is ``PERFORMANCE``."""
    known = set(compiled.get_property("SUPPORTED_PROPERTIES"))
    told = {name: compiled.get_property(name) for name in FLAGS if name in known}
    told = {name: value.get_type_name() if hasattr(value, "get_type_name") else value for name, value in told.items()}
    return {name: getattr(value, "name", str(value)) for name, value in told.items()}


class Slot:
    """A request of a queue, which is among the *free* ones unless it is under way."""

    def __init__(self, request: openvino.InferRequest, free: SimpleQueue[Slot]) -> None:
        self.request, self.free = request, free
        self.names = [port.get_any_name() for port in request.model_outputs]
        request.set_callback(self._finish, None)
        free.put(self)

    def start(self, feeds: Arrays, done: Callable[[Arrays], None]) -> None:
        """Start it; the runtime reads *feeds* where they lie."""
        self.done = done
        self.request.start_async(dict(feeds), share_inputs=True)

    def _finish(self, _: None) -> None:
        tensors = zip(self.names, self.request.output_tensors, strict=True)
        outputs, done = {name: np.array(tensor.data) for name, tensor in tensors}, self.done
        self.free.put(self)
        done(outputs)


def types_of(runtime: openvino.Model) -> tuple[Counter[str], int]:
    """How many nodes execute in each type, and how many of them take float16 weights but execute in float32.

    A plugin tells of a product the narrower of its two inputs' types (``getRuntimePrecision`` of the CPU plugin's
    nodes), although its kernel converts float16 weights first: the kernel's name ends in the type it executes in.
    """
    types, halved = Counter[str](), 0
    for info in (node.get_rt_info() for node in runtime.get_ops()):
        if "layerType" not in info or info["layerType"].astype(str) in IDLE:
            continue
        told = info["runtimePrecision"].astype(str)
        kernel = info["primitiveType"].astype(str).rpartition("_")[2] if "primitiveType" in info else ""
        types[kernel if {told, kernel} <= FLOATS else told] += 1
        halved += (told, kernel) == ("f16", "f32")
    return types, halved
