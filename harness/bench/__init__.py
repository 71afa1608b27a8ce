"""Measuring the harness itself; every bench prints one form (:mod:`harness.bench.figure`)."""

from harness.bench.figure import Figure, median_of, show

__all__ = ["Figure", "median_of", "show"]
