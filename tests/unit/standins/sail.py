"""A strict stand-in for ``sophon.sail``: what its documentation lets a caller do, computed by ONNX Runtime.

No device is here: the file named ``.bmodel`` holds the ONNX model that a real one is compiled from, and what agrees
with it says that the caller is right, and nothing of a card. Where the documentation is silent (SAIL's Python
reference: sail.Engine, sail.Handle, the basic functions), the stand-in allows the least: one input buffer per name,
contiguous float32 of the bmodel's own shape, and answers that live in a buffer which the next call overwrites.
"""

import enum
import types
import weakref
from pathlib import Path

import numpy as np
import onnxruntime

CARDS = 1
CHIP = "BM1684X"
engines = weakref.WeakSet()  # those that nobody has let go of


class IOMode(enum.Enum):
    SYSI = 0
    SYSO = 1
    SYSIO = 2
    DEVIO = 3


class Dtype(enum.Enum):
    BM_FLOAT32 = 0
    BM_INT32 = 6


DTYPES = {"tensor(float)": Dtype.BM_FLOAT32, "tensor(int64)": Dtype.BM_INT32}


def get_available_tpu_num():
    return CARDS


def installed(monkeypatch, cards=CARDS):
    """Put this module where ``import sophon.sail`` finds it, with so many cards."""
    import sys

    sail = sys.modules[__name__]
    package = types.ModuleType("sophon")
    package.sail = sail
    monkeypatch.setattr(sail, "CARDS", cards)
    monkeypatch.setitem(sys.modules, "sophon", package)
    monkeypatch.setitem(sys.modules, "sophon.sail", sail)
    return sail


def _card(number):
    if type(number) is not int:
        msg = f"incompatible function arguments: {number!r} is no device id"
        raise TypeError(msg)
    if not 0 <= number < CARDS:
        msg = f"bm_dev_request failed: no device {number}, of {CARDS}"
        raise RuntimeError(msg)
    return number


class Handle:
    """A device, asked what it is."""

    def __init__(self, device, /):
        self._device = _card(device)

    def get_device_id(self):
        return self._device

    def get_target(self):
        return CHIP


class Engine:
    """One bmodel on one device; every method takes its arguments by position, as their names differ by release."""

    def __init__(self, bmodel, device, mode, /):
        if type(bmodel) is not str or not isinstance(mode, IOMode):
            msg = f"incompatible function arguments: {bmodel!r}, {device!r}, {mode!r}"
            raise TypeError(msg)
        self._device, self._mode = _card(device), mode
        if not Path(bmodel).is_file() or not bmodel.endswith(".bmodel"):
            msg = f"cannot load the bmodel {bmodel}"
            raise RuntimeError(msg)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            Path(bmodel).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._graph = Path(bmodel).stem
        self._inputs = {port.name: port for port in self._session.get_inputs()}
        self._outputs = {port.name: port for port in self._session.get_outputs()}
        self._buffers = {name: np.zeros(port.shape, np.float32) for name, port in self._outputs.items()}
        engines.add(self)

    def get_device_id(self):
        return self._device

    def get_handle(self):
        return Handle(self._device)

    def get_graph_names(self):
        return [self._graph]

    def get_input_names(self, graph, /):
        self._known(graph)
        return list(self._inputs)

    def get_output_names(self, graph, /):
        self._known(graph)
        return list(self._outputs)

    def get_input_shape(self, graph, name, /):
        return list(self._port(self._inputs, graph, name).shape)

    def get_output_shape(self, graph, name, /):
        return list(self._port(self._outputs, graph, name).shape)

    def get_input_dtype(self, graph, name, /):
        return DTYPES[self._port(self._inputs, graph, name).type]

    def get_output_dtype(self, graph, name, /):
        return DTYPES[self._port(self._outputs, graph, name).type]

    def process(self, graph, feeds, /):
        """``{name: float32 array}`` of the bmodel's own shapes in, ``{name: float32 array}`` out."""
        self._known(graph)
        if self._mode is not IOMode.SYSIO:
            msg = f"arrays need inputs and outputs in system memory, not {self._mode}"
            raise RuntimeError(msg)
        if type(feeds) is not dict or set(feeds) != set(self._inputs):
            msg = f"inputs {feeds if type(feeds) is not dict else sorted(feeds)} where {sorted(self._inputs)} are due"
            raise RuntimeError(msg)
        fed = {name: self._taken(name, array) for name, array in feeds.items()}
        for name, rows in zip(self._outputs, self._session.run(None, fed), strict=True):
            self._buffers[name][...] = rows
        return {name: buffer[...] for name, buffer in self._buffers.items()}

    def _taken(self, name, array):
        port = self._inputs[name]
        if type(array) is not np.ndarray or array.dtype != np.float32 or not array.flags.c_contiguous:
            msg = f"{name}: contiguous float32 is due, not {getattr(array, 'dtype', type(array))}"
            raise TypeError(msg)
        if list(array.shape) != list(port.shape):
            msg = f"{name}: shape {list(array.shape)} where the bmodel has {list(port.shape)}"
            raise RuntimeError(msg)
        if port.type == "tensor(float)":
            return array
        if (array != np.rint(array)).any():
            msg = f"{name}: token ids are due"
            raise RuntimeError(msg)
        return array.astype(np.int64)

    def _known(self, graph):
        if graph != self._graph:
            msg = f"no graph {graph!r}, only {self._graph!r}"
            raise RuntimeError(msg)

    def _port(self, ports, graph, name):
        self._known(graph)
        if name not in ports:
            msg = f"no tensor {name!r}, only {sorted(ports)}"
            raise RuntimeError(msg)
        return ports[name]
