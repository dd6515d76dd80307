"""What another way of preprocessing changed, from the values of each picture."""

from __future__ import annotations

from collections.abc import Mapping

from clip_bench.quality import metrics, values


def summed(told: Mapping[str, str]) -> dict[str, float | None]:
    """The figures of ``finding.Transformed`` by name, from its values per picture.

    Raises:
        UsageError: what should be numbers is not.
        KeyError: a kind of values is not there.
    """
    same = values.read(told["identified"])
    return {
        "processed_diff": values.mean(told["processed_diff"]),
        "encode_diff": values.mean(told["encode_diff"]),
        "cosine": 1.0 - values.mean(told["drift"]),
        "same": float(same.mean()) if same.size > 1 else None,
        "recall": metrics.share(values.read(told["places"]), 1) if "places" in told else None,
    }
