"""Every cell of the matrix: that it is right, then how long it takes."""

import pytest

from clip_bench import pipeline
from clip_bench.timing import latency


def test_latency(case, benchmark, prepared, settings, ledger):
    """A cell that agrees with the FP32 reference is timed on hardware, unless --benchmark-disable; another is not."""
    record = ledger.note(pipeline.judge(prepared, settings))
    if record.quality.failures:
        pytest.fail(f"{case.id}: {'; '.join(record.quality.failures)}", pytrace=False)

    if benchmark.enabled and case.target.device.hardware:
        timing = latency.measure(
            benchmark, prepared.session, prepared.rotated, warmups=pipeline.WARM_UPS, rounds=settings.rounds
        )

        ledger.note(pipeline.timed(prepared, record, timing))
