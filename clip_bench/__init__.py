"""Reproducible benchmarks of CLIP models on every runtime and device that matters."""
