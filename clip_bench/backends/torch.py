"""PyTorch: the exported program run eagerly, compiled by inductor, or as a CUDA graph, on CPU, CUDA or Metal."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.errors import UnavailableError
from clip_bench.specs import Device, Format, Precision, Rewrite, Target, Variant
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

FORMAT = Format.TORCH_EXPORT
CPU = Target(backend="torch", device=Device.CPU)
CUDA = Target(backend="torch", device=Device.GPU, provider="cuda")
MPS = Target(backend="torch", device=Device.GPU, provider="mps")
FLOATS = frozenset({Precision.FP32, Precision.FP16, Precision.BF16})
TARGETS = {
    CPU: frozenset({Precision.FP32, Precision.BF16, Precision.INT8_DYNAMIC}),
    CUDA: FLOATS,
    MPS: frozenset({Precision.FP32, Precision.FP16}),
}
VARIANTS = {
    CPU: {Variant(compiled=True): frozenset({Precision.FP32, Precision.BF16})},
    CUDA: {Variant(compiled=True): FLOATS, Variant(cuda_graphs=True): FLOATS},
}
REWRITES = {
    target: dict.fromkeys((Rewrite.TRIMMED, Rewrite.POOLED, Rewrite.FOLDED), TARGETS[target]) for target in (CPU, CUDA)
}
FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
IMPORTS = "torch"
NUMBERED = frozenset({CUDA})
WARM_UPS = 3  # calls before a capture, as PyTorch's notes have it
PACKAGE = "install PyTorch: pip install 'clip-bench[torch]'"


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:  # noqa: ARG001  it takes none
    """Per target, what this machine has of it."""
    if find_spec("torch") is None:
        return dict.fromkeys(TARGETS, Found(missing=PACKAGE))
    import torch

    return {CPU: Found(device=f"the processor, PyTorch {torch.__version__}"), CUDA: _cuda(), MPS: _mps()}


def _cuda() -> Found:
    import torch

    if not torch.cuda.is_available():
        return Found(missing="no CUDA device: needs an NVIDIA GPU with its driver")
    return Found(device=f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}")


def _mps() -> Found:
    import torch

    if not torch.backends.mps.is_available():
        return Found(missing="no Metal device: needs a Mac with Apple silicon or an AMD GPU")
    if os.environ.get(FALLBACK, "0") != "0":
        return Found(missing=f"unset {FALLBACK}: with it PyTorch runs on the CPU, unasked, what the GPU lacks")
    return Found(device=f"Apple GPU through Metal, PyTorch {torch.__version__}")


def load(artifact: Artifact, target: Target, options: Options) -> TorchSession:
    """Load the program; int8_dynamic quantizes its linear layers now, by torchao.

    Raises:
        UnavailableError: no PyTorch, no torchao for int8_dynamic, no such device, or no compiler to compile with.
    """
    if reason := devices({})[target].missing:
        raise UnavailableError(reason)
    if options.variant.compiled:
        _can_compile(target)
    import torch

    torch.set_num_threads(options.threads)
    device = _place(target, options)
    module = _module(artifact.file(".pt2"), device)
    note = _quantize(module) if options.precision is Precision.INT8_DYNAMIC else ""
    call: Callable[..., Any] = torch.compile(module, dynamic=False) if options.variant.compiled else module
    return TorchSession(
        call=Captured(module, device) if options.variant.cuda_graphs else Moved(call, device),
        inputs=artifact.names("inputs"),
        outputs=artifact.names("outputs"),
        device=device,
        module=module,
        note=note,
        options=_exact() if target == CUDA else {},
    )


def _place(target: Target, options: Options) -> str:
    """Torch's name of the device: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        UnavailableError: there is no device of that number.
    """
    import torch

    if not options.device_id:
        return target.provider or "cpu"
    if options.device_id >= torch.cuda.device_count():
        msg = f"no CUDA device {options.device_id}: there are {torch.cuda.device_count()}, from 0"
        raise UnavailableError(msg)
    return f"{target.provider}:{options.device_id}"


def _can_compile(target: Target) -> None:
    """Raise for what inductor lacks: a C++ compiler, and Triton for a GPU."""
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        msg = "torch.compile needs a C++ compiler: install g++, clang++ or MSVC"
        raise UnavailableError(msg)
    if target == CUDA and find_spec("triton") is None:
        msg = "torch.compile for CUDA needs Triton, which PyTorch for Linux brings; on Windows: pip install triton-windows"
        raise UnavailableError(msg)


def _exact() -> Mapping[str, str]:
    """Switch TF32 off for the process, and tell how float32 products and convolutions are computed from now on."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cuda.matmul.allow_tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32),
    }


def _flags(device: str) -> Mapping[str, str]:
    """What of https://docs.pytorch.org/docs/stable/notes/randomness.html holds now, and what chooses the CPU's kernels."""
    import torch

    told = {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
    }
    if device == "cpu":
        told["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
        told["mkldnn"] = torch.backends.mkldnn.enabled
    if device == CUDA.provider:
        told["cudnn.benchmark"] = torch.backends.cudnn.benchmark
        told["cudnn.deterministic"] = torch.backends.cudnn.deterministic
    return {name: str(value) for name, value in told.items()}


@dataclass(frozen=True, slots=True)
class Moved:
    """A call that takes tensors of the host, each moved to a device first."""

    call: Callable[..., Any]
    device: str

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401  a tensor, or a tuple of them
        """What the call gives, still on the device."""
        return self.call(*(each.to(self.device) for each in inputs))


@dataclass(slots=True)
class Captured:
    """A program captured into a CUDA graph at its first call, with fixed buffers for what goes in and comes out.

    The order is that of https://docs.pytorch.org/docs/stable/notes/cuda.html (CUDA Graphs): warm up on a stream of
    its own, capture, then copy in and replay. Capture counts into the first call.
    """

    call: Callable[..., Any]
    device: str
    graph: Any = None
    inputs: tuple[Tensor, ...] = ()
    outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401  a tensor, or a tuple of them
        """What the graph gives for *inputs*, in the buffers that its next replay overwrites."""
        if self.graph is None:
            self._capture(inputs)
        for buffer, each in zip(self.inputs, inputs, strict=True):
            buffer.copy_(each)
        self.graph.replay()
        return self.outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        import torch

        self.inputs = tuple(each.to(self.device, copy=True) for each in inputs)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch annotates it in part
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.call(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.outputs = self.call(*self.inputs)
        self.graph = graph


def _module(path: Path, device: str) -> GraphModule:
    import torch
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(path)
    return (program if device == "cpu" else move_to_device_pass(program, device)).module()


def _linears(module: GraphModule) -> list[Node]:
    import torch

    return [node for node in module.graph.nodes if node.target is torch.ops.aten.linear.default]


def _quantize(module: GraphModule) -> str:
    """Put int8 weights, per channel, with dynamic int8 activations, into every linear layer; say what stays float.

    An exported graph calls ``aten.linear`` on bare weights, where torchao's ``quantize_`` looks for nn.Linear: each
    weight is lent to one and put back quantized. Its subclass overrides ``torch.nn.functional.linear`` alone.
    """
    if find_spec("torchao") is None:
        msg = "int8_dynamic on torch needs torchao: pip install 'clip-bench[torch]'"
        raise UnavailableError(msg)
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    nodes = _linears(module)
    for name in {node.all_input_nodes[1].target for node in nodes}:
        owner, _, leaf = str(name).rpartition(".")
        weight = module.get_parameter(str(name))
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = torch.nn.Parameter(weight, requires_grad=False)
        quantize_(linear, Int8DynamicActivationInt8WeightConfig())
        setattr(module.get_submodule(owner), leaf, linear.weight)
    for node in nodes:
        node.target = torch.nn.functional.linear
        node.meta["executed"] = "int8"
    module.recompile()
    return (
        f"torchao: {len(nodes)} linear layers in int8 with dynamic activations; patch embedding, token table, "
        "attention products, LayerNorm and the last projection stay float32"
    )


def _dtypes(module: GraphModule) -> Counter[str]:
    """Nodes of the graph that compute, by the floating type of their result (or as quantized)."""
    import torch

    counts: Counter[str] = Counter()
    for node in module.graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, torch.Tensor) and value.is_floating_point():
            counts[node.meta.get("executed", str(value.dtype).removeprefix("torch."))] += 1
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchSession:
    """A program on a device; inputs are copied there, and results back to the host, inside the call.

    ``inputs`` and ``outputs`` are names in the program's order, ``module`` is what ``call`` runs; ``options`` is what torch was
    told, ``note`` what a reader must know.
    """

    call: Moved | Captured
    inputs: Sequence[str]
    outputs: Sequence[str]
    device: str
    module: GraphModule
    note: str
    options: Mapping[str, str] = field(default_factory=dict)

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once under ``torch.inference_mode``."""
        import torch

        with torch.inference_mode():
            result = self.call(*(torch.from_numpy(feeds[name]) for name in self.inputs))
        tensors = (result,) if isinstance(result, torch.Tensor) else result
        return {name: tensor.cpu().numpy() for name, tensor in zip(self.outputs, tensors, strict=True)}

    def placement(self) -> Placement:
        """Nodes that compute, on the device where the weights lie: torch runs an operator where its operands are."""
        dtypes = _dtypes(self.module)
        held = (*self.module.parameters(), *self.module.buffers())
        where = ", ".join(sorted({each.device.type for each in held}))
        asked = self.device.partition(":")[0]
        return Placement(
            nodes={where: dtypes.total()},
            dtypes=dtypes,
            asked=asked,
            note=self.note,
            options=self.options,
            flags=_flags(asked),
        )

    def close(self) -> None:
        """Free the compiled code and, on a GPU, the cached memory."""
        import torch

        torch.compiler.reset()
        if self.device != "cpu":
            getattr(torch, self.device.partition(":")[0]).empty_cache()
