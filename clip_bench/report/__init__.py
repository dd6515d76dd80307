"""Run files into rows, tables and pages; imports no backend and no runtime, so it works on any laptop."""

from __future__ import annotations

from clip_bench.report.pages import write
from clip_bench.report.profiles import profiles
from clip_bench.report.rows import collect, frame
from clip_bench.report.tables import full, hardware, holes, terminal

__all__ = ["collect", "frame", "full", "hardware", "holes", "profiles", "terminal", "write"]
