"""Which oracles are not held against a trial, each with the reason that goes on record."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from harness.errors import UsageError
from harness.trial import Inconclusive
from harness.trial.oracles import EVENTUALLY, ORACLES

_FEWEST_WORDS = 4


def oracles_off(
    item: pytest.Item, must_break: Collection[str], error: BaseException | None
) -> dict[str, str]:
    """Return oracle -> reason for the trial of an item, whose body raised ``error``."""
    off = dict(read_mark(mark, item.nodeid) for mark in item.iter_markers("without_oracle"))
    if isinstance(error, Inconclusive):
        reason = f"the trial was cut short: {error.reasons[0]}"
    elif item.get_closest_marker("control"):
        reason = "a control: its swarm is broken on purpose"
    else:
        return off
    return {o.name: reason for o in EVENTUALLY if o.name not in must_break} | off


def read_mark(mark: pytest.Mark, where: str) -> tuple[str, str]:
    """Return the oracle's name and the reason; :class:`UsageError` for a mark without either."""
    reason: Any = mark.kwargs.get("reason", "")
    if len(mark.args) != 1 or mark.args[0] not in ORACLES or set(mark.kwargs) - {"reason"}:
        raise UsageError(
            f"{where}: the mark without_oracle takes one oracle and a reason",
            hint='write without_oracle(oracles.LEADERS, reason="..."); harness.trial has oracles',
        )
    if not isinstance(reason, str) or len(reason.split()) < _FEWEST_WORDS:
        raise UsageError(
            f"{where}: an oracle is switched off without a reason",
            hint="say in a sentence why it cannot hold in this scenario",
        )
    return mark.args[0].name, reason
