"""In a guest: the points of a trial at which its machine can be kept.

The guest stops there in every run, for the host to keep the machine, to take its digest, or to do
nothing, which is the rule; so all of them have one history. A person can be put there later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from harness.guest.contract import CHECKPOINTS, CLOCK_VARIABLE
from harness.vm.guest_init import checkpoint

HandOver = Callable[[], None]


def pass_checkpoints(hand_over: HandOver) -> Callable[[dict[str, Any]], None]:
    """Return a listener to a trial's journal that stops at what is worth coming back to.

    ``hand_over`` is called in a guest that was thawed there for a person, and does not return.
    """

    def listen(entry: dict[str, Any]) -> None:
        if entry["kind"] in CHECKPOINTS and checkpoint(f"{entry['t']:g} {entry['kind']}"):
            hand_over()

    return listen


def has_checkpoints() -> bool:
    """Return whether this guest is repeatable, so that there is something to come back to."""
    return os.environ.get(CLOCK_VARIABLE) == "virtual"
