"""What a bench prints: a list of ``{"name", "value", "unit"}``, each value a median."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from harness.errors import UsageError


@dataclass(frozen=True)
class Figure:
    """One figure; ``unit`` as in a measure (``s``, ``MiB``, ``1``)."""

    name: str
    value: float
    unit: str


def median_of(name: str, values: Sequence[float], unit: str) -> Figure:
    """The median of repeated measurements, to four significant digits."""
    if not values:
        raise UsageError(f"{name}: nothing was measured", hint="measure at least once")
    return Figure(name, float(f"{statistics.median(values):.4g}"), unit)


def show(figures: Iterable[Figure], *, as_json: bool) -> None:
    """Print the figures: as JSON for machines, else a line each."""
    figures = list(figures)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(figure) for figure in figures], indent=2))
        return
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        click.echo(f"{figure.name:<{width}}  {figure.value:g} {figure.unit}")
