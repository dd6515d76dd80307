"""Every cell of the matrix: that it is right, then how long it takes."""

import pytest

from clip_bench import pipeline


def test_latency(case, benchmark, prepared, settings, backends, ledger):
    """A cell that agrees with the FP32 reference is timed on hardware, unless --benchmark-disable; another is not."""
    record = ledger.note(pipeline.judge(prepared, settings))
    if record.quality.failures:
        pytest.fail(f"{case.id}: {'; '.join(record.quality.failures)}", pytrace=False)

    if benchmark.enabled and case.target.device.hardware:
        record = ledger.note(pipeline.timed(prepared, record, benchmark, settings))

        assert not record.quality.failures, f"{case.id}: {'; '.join(record.quality.failures)}"
        if settings.paired:
            ledger.note(pipeline.interleaved(prepared, record, backends, settings))
