"""Models: the catalog, their weights, towers, feeds, and the FP32 reference."""
