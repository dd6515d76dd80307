"""Broken pipelines: each the real one with one weight, node, feed or call changed, as it was seen to break in the field.

None edits an embedding. What they are for is ``clip-bench gates``: a gate is worth what it catches.
"""

from __future__ import annotations

from clip_bench.saboteurs import calls, feeds, nodes, weights
from clip_bench.saboteurs.saboteur import Kind, Saboteur

ALL: tuple[Saboteur, ...] = (*weights.ALL, *nodes.ALL, *feeds.ALL, *calls.ALL)

__all__ = ["ALL", "Kind", "Saboteur"]
