"""The engine: comparisons, the benchmark, uniformity, selection; their folder and workers."""
