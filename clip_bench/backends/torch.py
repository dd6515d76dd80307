"""PyTorch: the exported program run eagerly, or compiled by inductor, on CPU or CUDA."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.errors import UnavailableError
from clip_bench.specs import Device, Format, Precision, Target, Variant
from clip_bench.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

FORMAT = Format.TORCH_EXPORT
CPU = Target(backend="torch", device=Device.CPU)
CUDA = Target(backend="torch", device=Device.GPU, provider="cuda")
TARGETS = {
    CPU: frozenset({Precision.FP32, Precision.BF16, Precision.INT8_DYNAMIC}),
    CUDA: frozenset({Precision.FP32, Precision.FP16, Precision.BF16}),
}
VARIANTS = {CPU: {Variant(compiled=True): frozenset({Precision.FP32, Precision.BF16})}}
PACKAGE = "install PyTorch: pip install 'clip-bench[torch]'"


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:  # noqa: ARG001  it takes none
    """Per target, what this machine has of it."""
    if find_spec("torch") is None:
        return dict.fromkeys(TARGETS, Found(missing=PACKAGE))
    import torch

    return {CPU: Found(device=f"the processor, PyTorch {torch.__version__}"), CUDA: _cuda()}


def _cuda() -> Found:
    import torch

    if not torch.cuda.is_available():
        return Found(missing="no CUDA device: needs an NVIDIA GPU with its driver")
    return Found(device=f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}")


def load(artifact: Artifact, target: Target, options: Options) -> TorchSession:
    """Load the program; int8_dynamic quantizes its linear layers now, by torchao.

    Raises:
        UnavailableError: no PyTorch, no torchao for int8_dynamic, no CUDA device, or no C++ compiler to compile with.
    """
    if reason := devices({})[target].missing:
        raise UnavailableError(reason)
    if options.variant.compiled and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        msg = "torch.compile on the CPU needs a C++ compiler: install g++, clang++ or MSVC"
        raise UnavailableError(msg)
    import torch

    torch.set_num_threads(options.threads)
    device = "cuda" if target.device is Device.GPU else "cpu"
    module = _module(artifact.file(".pt2"), device)
    note = _quantize(module) if options.precision is Precision.INT8_DYNAMIC else ""
    return TorchSession(
        call=torch.compile(module, dynamic=False) if options.variant.compiled else module,
        inputs=artifact.names("inputs"),
        outputs=artifact.names("outputs"),
        device=device,
        module=module,
        note=note,
    )


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
    """A program on a device; inputs are moved there, and results back to the host, inside the call."""

    call: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Sequence[str]
    outputs: Sequence[str]
    device: str
    module: GraphModule
    note: str

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Run once under ``torch.inference_mode``."""
        import torch

        with torch.inference_mode():
            result = self.call(*(torch.from_numpy(feeds[name]).to(self.device) for name in self.inputs))
        tensors = (result,) if isinstance(result, torch.Tensor) else result
        return {name: tensor.cpu().numpy() for name, tensor in zip(self.outputs, tensors, strict=True)}

    def placement(self) -> Placement:
        """Nodes that compute, on the device where the weights lie: torch runs an operator where its operands are."""
        dtypes = _dtypes(self.module)
        where = ", ".join(sorted({weight.device.type for weight in self.module.parameters()}))
        return Placement(nodes={where: dtypes.total()}, dtypes=dtypes, asked=self.device, note=self.note)

    def close(self) -> None:
        """Free the compiled code and, on CUDA, the cached memory."""
        import torch

        torch.compiler.reset()
        if self.device == "cuda":
            torch.cuda.empty_cache()
