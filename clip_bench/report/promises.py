"""What the documentation of each runtime promises of the same call made again: as data, with the page that says so."""

from __future__ import annotations

from collections.abc import Mapping

from clip_bench.report import platforms
from clip_bench.report.figures import ABSENT

# By the backend: what holds as the cells are run, and where it is written.
PROMISES: Mapping[str, tuple[str, str]] = {
    "torch": (
        "nothing as it is run; with use_deterministic_algorithms the same bits on the same software and hardware",
        "https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html",
    ),
    "onnxruntime": (
        "nothing: its maintainers plan no such guarantee",
        "https://github.com/microsoft/onnxruntime/issues/9704",
    ),
    "openvino": (
        "nothing of its own; oneDNN, whose kernels it runs on CPUs, the same bits in the same environment for most of them",
        "https://oneapi-src.github.io/oneDNN/dev_guide_attributes_deterministic.html",
    ),
}


def promised(target: str) -> str:
    """What is promised of *target*, as markdown with its source; a dash where nothing is known."""
    told = PROMISES.get(platforms.backend(target))
    return f"{told[0]} ([source]({told[1]}))" if told else ABSENT
