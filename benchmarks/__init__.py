"""Benchmarks in which no ratio is reported where outputs disagree: `python -m benchmarks`."""
