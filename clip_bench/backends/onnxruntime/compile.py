"""Models compiled by an execution provider before they are loaded: EPContext nodes, and nothing beside them."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path

from clip_bench.backends import Options
from clip_bench.backends.onnxruntime.provider import Provider
from clip_bench.errors import PlacementError
from clip_bench.store import Artifact

NAME = "model.onnx"
COMPILED = "EPContext"  # the operator that holds what a provider compiled, or names the file that does


def compiled(artifact: Artifact, provider: Provider, options: Options, device: str = "") -> Artifact:
    """The model of *artifact* as *provider* compiles it for what *options* tell it, from the store or made now.

    It is a small ONNX file and the provider's binary beside it. *device* says for which device, where the options do
    not: what is compiled for one may not serve another that shares the store.

    Raises:
        PlacementError: the provider left nodes as they were.
    """
    told = dict(provider.options(options))
    recipe = {
        "step": "ep_context",
        "parent": artifact.key,
        "provider": provider.name,
        "options": told,
        "onnxruntime": version("onnxruntime"),
        provider.module: version(provider.module),
        "device": device,
    }
    return options.store.get(
        recipe, lambda folder: _compile(artifact.file(".onnx"), folder / NAME, provider, told), artifact
    )


def kinds(path: Path) -> Counter[str]:
    """How many nodes of each operator a model has."""
    import onnx

    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)


def _compile(source: Path, path: Path, provider: Provider, told: dict[str, str]) -> None:
    """Compile all of it or fail: ONNX Runtime alone writes an uncompiled model for a chip that nobody knows."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_provider_for_devices(provider.devices()[:1], told)
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    onnxruntime.ModelCompiler(
        settings,
        str(source),
        embed_compiled_data_into_model=False,
        flags=onnxruntime.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED,
    ).compile_to_file(str(path))
    _whole(kinds(path), provider)


def _whole(nodes: Counter[str], provider: Provider) -> None:
    """Raise unless every node is a compiled one."""
    left = {name: count for name, count in nodes.items() if name != COMPILED}
    if left or not nodes:
        told = ", ".join(f"{count} {name}" for name, count in left.items()) or "no node at all"
        msg = f"{provider.name} compiled {nodes[COMPILED]} parts of the graph and left {told}"
        raise PlacementError(msg)
