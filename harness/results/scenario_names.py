"""Scenario ids as people read them."""

from __future__ import annotations


def short_name(scenario: str) -> str:
    """Return the name of the scenario's test function, parameters included."""
    return scenario.rpartition("::")[2]
