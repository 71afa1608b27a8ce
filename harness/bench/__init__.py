"""Measuring the harness itself; every bench yields :class:`Metric`."""

from harness.bench.metric import Metric, median_of

__all__ = ["Metric", "median_of"]
