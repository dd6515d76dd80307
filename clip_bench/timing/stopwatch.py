"""A stopwatch where pytest-benchmark's fixture would stand: rounds outside of pytest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Stopwatch:
    """A ``latency.Benchmark`` whose statistics are the seconds of its rounds, and nothing else."""

    extra_info: dict[str, Any] = field(default_factory=dict)
    stats: Any = None

    def pedantic(self, target: Callable[..., Any], *, setup: Callable[[], Any], rounds: int, warmup_rounds: int) -> Any:  # noqa: ANN401  whatever target returned last
        """Call *target* on what *setup* returns, the clock around the call alone."""
        seconds, result = [], None
        for _ in range(warmup_rounds + rounds):
            given, named = setup()
            began = time.perf_counter()
            result = target(*given, **named)
            seconds.append(time.perf_counter() - began)
        self.stats = {"data": seconds[warmup_rounds:]}
        return result
