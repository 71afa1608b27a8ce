"""Warm-ups: what trials of one swarm and seed have in common is done once and kept.

Before a scenario begins, its swarm is reseeded and, if the scenario asks for it, a workload is
deployed. That is more than half of what many a trial costs. It depends on the frozen swarm, the
seed and the workload alone, and on no code that a trial brings. So a guest does it once, is kept
there as a checkpoint, and the trials are thawed from that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError
from harness.guest.contract import FREEZE_PROGRESS
from harness.vm.checkpoint import Checkpoint, discard, find, made_once, prune_checkpoints, rest
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
    step = _Step(snapshot, seed, pool, watch)
    if inputs.get("reseed") and inputs["serving"] is not None:
        # Two steps, for the first is that of all workloads.
        return step.taken(inputs, lambda: step.taken({**inputs, "serving": None}))
    return step.taken(inputs)


@dataclass(frozen=True)
class _Step:
    snapshot: Snapshot
    seed: int
    pool: Pool
    watch: Callable[[str], None]

    def taken(
        self, inputs: Mapping[str, Any], after: Callable[[], Checkpoint] | None = None
    ) -> Checkpoint:
        """Return the checkpoint behind a warm-up, of which ``after`` was done before."""
        cache = self.snapshot.cache
        facts = _facts(self.snapshot, inputs, self.seed)
        with made_once(cache, facts):
            if (found := find(cache, facts)) is not None:
                return found
            if after is None:
                return self._make(self.snapshot, inputs, facts)
            return self._make(after(), {**inputs, "reseed": False}, facts)

    def _make(
        self, source: Snapshot | Checkpoint, inputs: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> Checkpoint:
        serving = inputs.get("serving") or {}
        what = f"a swarm that serves {serving['name']}" if serving else "a reseeded swarm"
        self.watch(f"warming up {what}, seed {self.seed} (once)")
        kept: list[Checkpoint] = []
        note = {**self.snapshot.note, "what": what, "seed": str(self.seed)}

        def keep(stopped: Stopped) -> bool:
            kept.append(stopped.keep(facts, note=note))
            return False

        with (
            self.pool.slot() as cpu,
            tempfile.TemporaryDirectory(prefix="swarm-chaos-warm-up-") as folder,
            thaw(
                source, None, inputs, seed=self.seed, virtual_deadline=_VIRTUAL_DEADLINE, cpu=cpu,
                at_checkpoint=keep,
            ) as guest,
        ):  # fmt: skip
            result = guest.wait(Path(folder), wall_deadline=_WALL_DEADLINE)
        if not kept:
            raise MicrovmError(f"the warm-up failed: {_why(result)}")
        rest(self.snapshot.cache, in_use=IN_USE)
        prune_checkpoints(self.snapshot.cache, most_bytes=MOST_BYTES)
        return kept[0]


def forget(snapshot: Snapshot, inputs: Mapping[str, Any], seed: int) -> None:
    """Remove what is kept of a warm-up, its first step included; the next call makes it again."""
    for each in (inputs, {**inputs, "serving": None}):
        if (found := find(snapshot.cache, _facts(snapshot, each, seed))) is not None:
            discard(found)


def _facts(snapshot: Snapshot, inputs: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {"base": snapshot.key, "warm_up": dict(inputs), "seed": seed}


def _why(result: GuestResult) -> str:
    """Return what the guest said of it, else the console's end."""
    for line in result.console_tail.splitlines():
        if line.startswith(FREEZE_PROGRESS):
            return line.removeprefix(FREEZE_PROGRESS)
    return f"{result.detail}; the end of its console:\n{result.console_tail}"
