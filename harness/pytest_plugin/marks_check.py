"""Marks that cannot be meant: refused before anything runs, naming what could be meant."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pytest

from harness.errors import UsageError
from harness.lab import FEATURES, Topology
from harness.pytest_plugin.markers import SERVING, SETTABLE_CLOCK, is_scenario, topology_in
from harness.pytest_plugin.oracles_off import read_mark
from harness.swarm import Workload

_NODES = ("managers", "workers", "spares")


def check_marks(items: Iterable[pytest.Item]) -> None:
    """Read the marks that say how a scenario is to be run, of all scenarios.

    Raises :class:`UsageError` that names the scenario.
    """
    checks = {
        "swarm": _check_swarm,
        "deadline": _check_deadline,
        "needs": _check_needs,
        "without_oracle": read_mark,
    }
    for item in items:
        if is_scenario(item):
            for mark in item.iter_markers():
                if check := checks.get(mark.name):
                    check(mark, item.nodeid)


def _check_swarm(mark: pytest.Mark, where: str) -> None:
    accepted = [*(each.name for each in fields(Topology)), SERVING]
    if mark.args or (set(mark.kwargs) - set(accepted)):
        unknown = [*map(repr, mark.args), *sorted(set(mark.kwargs) - set(accepted))]
        raise UsageError(
            f"{where}: the mark swarm does not take {', '.join(unknown)}",
            hint=f"it takes the keywords {', '.join(accepted)}",
        )
    if not isinstance(serving := mark.kwargs.get(SERVING), Workload | None):
        raise UsageError(
            f"{where}: {serving!r} is not a valid value of the mark swarm's {SERVING}",
            hint="give a workload, like balanced_web(replicas=4)",
        )
    for name in _NODES:
        _check_count(name, mark.kwargs.get(name, 1), where)
    engines: Any = mark.kwargs.get("engines", {})
    if not isinstance(engines, dict) or not all(
        isinstance(text, str) for pair in engines.items() for text in pair
    ):
        raise UsageError(
            f"{where}: {engines!r} is not a valid value of the mark swarm's engines",
            hint='give names of engines by node: {"w1": "20.10.24"}',
        )
    try:
        topology_in(mark)
    except UsageError as error:
        raise UsageError(f"{where}: {error.what}", hint=error.hint) from None


def _check_count(name: str, count: Any, where: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool):
        raise UsageError(
            f"{where}: {count!r} is not a valid value of the mark swarm's {name}",
            hint="give a whole number",
        )


def _check_deadline(mark: pytest.Mark, where: str) -> None:
    seconds: Any = mark.args[0] if len(mark.args) == 1 and not mark.kwargs else None
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or seconds <= 0:
        written = ", ".join(
            [*map(repr, mark.args), *(f"{k}={v!r}" for k, v in mark.kwargs.items())]
        )
        raise UsageError(
            f"{where}: deadline({written}) is not a valid deadline",
            hint="give one number of seconds above 0: deadline(900)",
        )


def _check_needs(mark: pytest.Mark, where: str) -> None:
    known = (*FEATURES, SETTABLE_CLOCK)
    unknown = [name for name in mark.args if name not in known]
    if not unknown and not mark.kwargs:
        return
    from difflib import get_close_matches  # seldom: a guest takes time to import it

    named = ", ".join([*map(str, unknown), *mark.kwargs])
    near = get_close_matches(named, known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"{where}: the mark needs does not know {named}",
        hint=f"{meant}known are: {', '.join(known)}",
    )
