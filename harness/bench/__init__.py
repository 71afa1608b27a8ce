"""Measuring the harness itself; every bench prints one form (:mod:`harness.bench.metric`)."""

from harness.bench.metric import Figure, median_of, show

__all__ = ["Figure", "median_of", "show"]
