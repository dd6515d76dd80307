"""A stand-in for VastStreamX: no device, and no figure from it is a device's.

It takes the calls that the vendor's public samples make (github.com/Vastai/VastStreamX-Samples: common/clip_image.py,
clip_text.py, custom_op_base.py, space_to_depth_op.py, model_base.py, model_profiler.py, samples/card_info), in their
order and with their types and shapes, and refuses every other with :class:`MisuseError`. What a card would compute, ONNX
Runtime does, with float16 at the edges. The vendor's compiler is :func:`compiled` here. Its cards are of the type
"stand-in", which every record of a run on it would bear.
"""

import json
import struct
import threading
import weakref
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np

SUITE = (".json", ".params", ".so")  # three files; their endings are this stand-in's own, no sample names them
SPACE_TO_DEPTH = "opf_space_to_depth_out_matrix"
CONFIG = struct.Struct("<I4I4IiiIII4I4Ii")  # space_to_depth_t, field by field
BYTES = 1024
TYPES = {np.dtype(name) for name in ("float16", "float32", "int32", "uint8")}

CARDS = [
    SimpleNamespace(uuid="SERIAL-1", card_type="stand-in", dies=[SimpleNamespace(device_id=i) for i in (0, 1)]),
    SimpleNamespace(uuid="SERIAL-2", card_type="stand-in", dies=[SimpleNamespace(device_id=i) for i in (2, 3)]),
]
LIVE = weakref.WeakSet()  # models and streams that a program still holds
_thread = threading.local()


class MisuseError(RuntimeError):
    """A call that no public sample makes."""


class TypeFlag(Enum):
    FLOAT16 = "float16"
    INT32 = "int32"


class GraphOutputType(Enum):
    GRAPH_OUTPUT_TYPE_NCHW_HOST = "host"
    GRAPH_OUTPUT_TYPE_NCHW_DEVICE = "device"


class StreamBalanceMode(Enum):
    ONCE = "once"
    RUN = "run"


class OpType(Enum):
    BERT_EMBEDDING_OP = "BERT_EMBEDDING_OP"


def must(held, rule):
    """Refuse the call unless its *rule* is held."""
    if not held:
        raise MisuseError(rule)


def set_device(device_id):
    """0 where there is such a die; it counts for the calling thread alone."""
    known = {die.device_id for card in CARDS for die in card.dies}
    if type(device_id) is not int or device_id not in known:
        return -1
    _thread.device = device_id
    return 0


def get_all_cards_count():
    return len(CARDS)


def get_all_cards():
    return list(CARDS)


class Die:
    """A die's state: what is in its memory."""

    def __init__(self, device_id):
        must(device_id in {die.device_id for card in CARDS for die in card.dies}, "no such die")
        held = [model for model in LIVE if isinstance(model, Model) and model.device == device_id]
        self.memory = {"total": 8 * BYTES**3, "used": sum(model.size for model in held)}


def _device():
    """The die of the calling thread."""
    must(hasattr(_thread, "device"), "a thread calls set_device before anything else")
    return _thread.device


class Tensor:
    """An array on a die; ``layout`` is the card's own once an operator has changed it."""

    def __init__(self, array, device, layout="NCHW"):
        must(array.dtype in TYPES, f"there is no tensor of {array.dtype}")
        self.array, self.device, self.layout = array, device, layout

    @property
    def shape(self):
        return list(self.array.shape)


def from_numpy(array, device_id):
    must(_device() == device_id, "a thread sends to the die that it set")
    must(isinstance(array, np.ndarray), "from_numpy takes an array")
    return Tensor(array.copy(), device_id)


def as_numpy(tensor):
    must(isinstance(tensor, Tensor) and tensor.device == _device(), "as_numpy takes a tensor of the thread's die")
    return tensor.array.copy()


class CustomOperator:
    """The one operator of a user's own that is known here: patches to the rows of a matrix."""

    def __init__(self, *, op_name, elf_file_path):
        self.device = _device()
        must(op_name == SPACE_TO_DEPTH, f"the file holds {SPACE_TO_DEPTH}, not {op_name}")
        must(Path(elf_file_path).is_file(), "the operator's file is missing")
        LIVE.add(self)

    def run_sync(self, *, tensors, config, output_info):
        """One picture (3, h, w) or (1, 3, h, w) in float16 to its patches, a row each, padded and laid out."""
        must(self.device == _device(), "an operator runs on the die where it was made")
        (tensor,) = tensors
        must(tensor.device == self.device and tensor.layout == "NCHW", "the operator takes a plain tensor of its die")
        must(tensor.array.dtype == np.float16, "the operator takes float16")
        must(isinstance(config, bytes) and len(config) == CONFIG.size, "the configuration is of another size")
        array = tensor.array.reshape(tensor.array.shape[-3:])
        c, h, w = array.shape
        words = CONFIG.unpack(config)
        kh, kw = words[11:13]
        must(min(kh, kw) > 0 and h % kh == 0 == w % kw, "patches do not cover the picture")
        rows, columns = (h // kh) * (w // kw), c * kh * kw
        high, wide = words[18:20]
        plain = (4, 1, c, h, w, 1, c, h, w, 0, 0, kh, kw, 2, rows, columns, 0, 0, high, wide, 0, 0, 1)
        must(words == plain, "the configuration tells of other shapes, layouts or types")
        must(high % 16 == 0 == wide % 16 and high >= rows and wide >= columns, "a matrix is aligned to 16")
        must(output_info == [([high, wide], TypeFlag.FLOAT16)], "the output is the aligned matrix in float16")
        cut = array.reshape(c, h // kh, kh, w // kw, kw).transpose(1, 3, 0, 2, 4).reshape(rows, columns)
        padded = np.pad(cut, ((0, high - rows), (0, wide - columns)))
        return [Tensor(padded, self.device, layout="MATRIX_A")]


class Operator:
    """A built-in operator."""

    def __init__(self, kind):
        self.kind = kind

    @staticmethod
    def load_ops_from_json_file(path):
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return [Operator(OpType(told["OpType"]))]


class Model:
    """Three files of one prefix, on the die of the thread that loads them."""

    def __init__(self, prefix, batch_size, hw_config=""):
        self.device = _device()
        must(type(prefix) is str and type(hw_config) is str, "a prefix and a file are strings")
        files = [Path(prefix + ending) for ending in SUITE]
        must(all(file.is_file() for file in files), "a model is three files of one prefix")
        must(hw_config == "" or Path(hw_config).is_file(), "no such hw_config")
        self.batch_size, self.about = batch_size, json.loads(files[0].read_text(encoding="utf-8"))
        self.graph, self.size = files[1].read_bytes(), sum(file.stat().st_size for file in files)
        LIVE.add(self)


class ModelOperator:
    """A model as a graph's operator."""

    def __init__(self, model):
        must(isinstance(model, Model) and model.device == _device(), "a model's operator is made on its die")
        self.model = model


class Graph:
    """Operators in the order in which they run."""

    def __init__(self, output_type):
        must(output_type is GraphOutputType.GRAPH_OUTPUT_TYPE_NCHW_DEVICE, "the sample's outputs stay on the device")
        self.operators = []

    def add_operators(self, *operators):
        must(not self.operators, "operators are added once")
        *before, last = operators
        must(isinstance(last, ModelOperator), "the model comes last")
        kinds = [operator.kind for operator in before]
        tokens = last.model.about["kind"] == "tokens"
        must(
            kinds == [OpType.BERT_EMBEDDING_OP] * tokens, "token vectors, and they alone, are embedded before the model"
        )
        self.operators = list(operators)


class Stream:
    """A graph, ready to run once its output is registered and it is built."""

    def __init__(self, graph, mode):
        must(bool(graph.operators), "a stream is made of a graph with operators")
        must(mode is StreamBalanceMode.RUN, "the sample's streams balance as RUN")
        self.model, self.registered, self.session = graph.operators[-1], False, None
        self.device = _device()
        LIVE.add(self)

    def register_operator_output(self, operator):
        must(operator is self.model and self.session is None, "the model's output is registered before the build")
        self.registered = True

    def build(self):
        import onnxruntime

        must(self.registered and self.session is None, "a stream is built once, after its output is registered")
        must(self.device == _device(), "a stream is built on its die")
        self.session = onnxruntime.InferenceSession(self.model.model.graph, providers=["CPUExecutionProvider"])
        return 0

    def run_sync(self, samples):
        """Per sample, a list of tensors, a list of output tensors: here the embedding in float16."""
        must(self.session is not None, "a stream is built before it runs")
        must(self.device == _device(), "a thread runs a stream of the die that it set")
        must(bool(samples) and all(type(sample) is list for sample in samples), "a run takes lists of tensors")
        return [[Tensor(self._answer(sample), self.device)] for sample in samples]

    def _answer(self, tensors):
        must(all(tensor.device == self.device for tensor in tensors), "tensors are on the stream's die")
        about = self.model.model.about
        read = {"tokens": _tokens, "matrix": _picture}[about["kind"]]
        (outputs,) = self.session.run(None, {self.session.get_inputs()[0].name: read(tensors, about)})
        return outputs.astype(np.float16)


def _tokens(tensors, about):
    """The ids (1, context) in six int32 vectors: ids, 0, 0, the mask up to the end token, 0, 0."""
    context, length = about["context"], -(-about["context"] // 16) * 16
    must([tensor.shape for tensor in tensors] == [[length]] * 6, f"six vectors of {length}")
    must(all(tensor.array.dtype == np.int32 for tensor in tensors), "the vectors are int32")
    ids, one, two, mask, four, five = (tensor.array for tensor in tensors)
    must(not any(rest.any() for rest in (one, two, four, five, ids[context:])), "the other vectors are zeros")
    must(np.array_equal(mask, np.arange(length) <= ids.argmax()), "the mask is 1 up to the end token, then 0")
    return ids[np.newaxis, :context].astype(np.int64)


def _picture(tensors, about):
    """The picture (1, 3, h, w) in the aligned matrix that the operator laid out."""
    size, k = about["size"], about["patch"]
    (tensor,) = tensors
    side, high = size // k, -(-((size // k) ** 2) // 16) * 16
    must(tensor.layout == "MATRIX_A", "the model takes the matrix that the operator laid out")
    must(tensor.shape == [high, 4 * k * k], f"a matrix of {high} × {4 * k * k}: four channels' worth of columns")
    rows = tensor.array[: side * side, : 3 * k * k].astype(np.float32)
    return rows.reshape(side, side, 3, k, k).transpose(2, 0, 3, 1, 4).reshape(1, 3, size, size)


def compiled(graph, prefix, **about):
    """Three files at *prefix* from the ONNX file *graph*: ``kind`` matrix with size and patch, or tokens with context."""
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    contents = json.dumps(about).encode(), Path(graph).read_bytes(), b"no device"
    for ending, content in zip(SUITE, contents, strict=True):
        Path(prefix + ending).write_bytes(content)
