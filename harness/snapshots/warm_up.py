"""Warm-ups: what trials of one swarm and seed have in common is done once and kept.

Before a scenario begins, its swarm is reseeded and, if the scenario asks for it, a workload is
deployed. That is more than half of what many a trial costs. It depends on the frozen swarm, the
seed and the workload alone, and on no code that a trial brings. So a guest does it once, is kept
there as a checkpoint, and the trials are thawed from that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError
from harness.guest.contract import FREEZE_PROGRESS
from harness.vm.checkpoint import Checkpoint, find, made_once, prune_checkpoints, rest
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import GuestResult, Stopped, thaw

MOST_BYTES = 8 << 30
"""Room for checkpoints; beyond that, those that were not used for the longest time go."""

IN_USE = 4
"""How many stay unpacked while a run lasts, 600 MiB each; another one takes a second to unpack."""

_VIRTUAL_DEADLINE = 600.0
_WALL_DEADLINE = 7200.0


def warmed_up(
    snapshot: Snapshot,
    inputs: Mapping[str, Any],
    seed: int,
    pool: Pool,
    *,
    watch: Callable[[str], None],
) -> Checkpoint:
    """Return the checkpoint behind a warm-up by ``inputs``: kept from before, or made now.

    ``inputs`` as the guest's agent takes them; ``watch`` is told when it is made. Raises
    :class:`MicrovmError` with the console's end for a warm-up that fails.
    """
    facts = {"base": snapshot.key, "warm_up": dict(inputs), "seed": seed}
    with made_once(snapshot.cache, facts):
        return find(snapshot.cache, facts) or _make(snapshot, inputs, seed, pool, facts, watch)


def _make(
    snapshot: Snapshot,
    inputs: Mapping[str, Any],
    seed: int,
    pool: Pool,
    facts: Mapping[str, Any],
    watch: Callable[[str], None],
) -> Checkpoint:
    serving = inputs.get("serving") or {}
    what = f"a swarm that serves {serving['name']}" if serving else "a reseeded swarm"
    watch(f"warming up {what}, seed {seed} (once)")
    kept: list[Checkpoint] = []
    note = {**snapshot.note, "what": what, "seed": str(seed)}

    def keep(stopped: Stopped) -> bool:
        kept.append(stopped.keep(facts, note=note))
        return False

    with (
        pool.slot() as cpu,
        tempfile.TemporaryDirectory(prefix="swarm-chaos-warm-up-") as folder,
        thaw(
            snapshot, None, inputs, seed=seed, virtual_deadline=_VIRTUAL_DEADLINE, cpu=cpu,
            at_checkpoint=keep,
        ) as guest,
    ):  # fmt: skip
        result = guest.wait(Path(folder), wall_deadline=_WALL_DEADLINE)
    if not kept:
        raise MicrovmError(f"the warm-up failed: {_why(result)}")
    rest(snapshot.cache, in_use=IN_USE)
    prune_checkpoints(snapshot.cache, most_bytes=MOST_BYTES)
    return kept[0]


def _why(result: GuestResult) -> str:
    """Return what the guest said of it, else the console's end."""
    for line in result.console_tail.splitlines():
        if line.startswith(FREEZE_PROGRESS):
            return line.removeprefix(FREEZE_PROGRESS)
    return f"{result.detail}; the end of its console:\n{result.console_tail}"
