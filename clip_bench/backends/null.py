"""No runtime: answers what the reference answered. Its time is the harness's own overhead; tests lean on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Found, Options, Placement
from clip_bench.graphs import replay
from clip_bench.specs import Device, Format, Precision, Target
from clip_bench.store import Artifact

FORMAT = Format.REPLAY
TARGETS = {Target(backend="null", device=Device.CPU): frozenset({Precision.FP32})}


def devices(settings: Mapping[str, Mapping[str, str]]) -> Mapping[Target, Found]:  # noqa: ARG001  it takes none
    """It can run everywhere."""
    return dict.fromkeys(TARGETS, Found(device="no device: answers are read from the reference"))


def load(artifact: Artifact, target: Target, options: Options) -> NullSession:  # noqa: ARG001  the contract's signature
    """Read the answers."""
    with np.load(artifact.file(replay.NAME)) as stored:
        arrays = dict(stored)
    keys = [row.tobytes() for row in arrays.pop("fingerprint")]
    answers = {key: {name: rows[i] for name, rows in arrays.items()} for i, key in enumerate(keys)}
    return NullSession(answers=answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class NullSession:
    """The reference's answers by the fingerprint of what was asked."""

    answers: Mapping[bytes, Mapping[str, NDArray[np.generic]]]

    def run(self, feeds: Arrays) -> Mapping[str, NDArray[np.generic]]:
        """Look the answer up; a question that the reference was never asked is a KeyError."""
        return self.answers[replay.fingerprint(feeds)]

    def placement(self) -> Placement:
        """Nothing executes."""
        return Placement(nodes={}, dtypes={}, asked="", note="harness overhead: answers are read from the reference")

    def close(self) -> None:
        """Nothing to release."""
