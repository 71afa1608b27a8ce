"""``swarm-chaos snapshots``: list frozen swarms, and remove old ones."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from harness.cli.output import json_option, say, show, table_of
from harness.errors import MicrovmError, UsageError
from harness.files import human_age, human_size
from harness.images import Cache
from harness.snapshots.warm_up import MOST_BYTES
from harness.vm.checkpoint import Checkpoint, checkpoints, prune_checkpoints
from harness.vm.snapshot import Snapshot, prune
from harness.vm.snapshot import snapshots as all_snapshots

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """A snapshot as it is listed. Times are in seconds, sizes in bytes; unknown facts are ""."""

    key: str
    engine: str
    version: str
    topology: str
    kernel: str
    clock: str
    cpus: int
    bytes: int
    age_seconds: float
    used_seconds_ago: float
    damage: str = ""
    """What is wrong with it, empty if nothing is (contents are not looked at)."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Row:
        """Return the row of a snapshot, from the manifest that the freeze wrote."""
        used = round(time.time() - snapshot.used_at, 1)
        try:
            note, machine, age = snapshot.note, snapshot.machine, snapshot.age_seconds
        except MicrovmError as error:
            size = snapshot.disk_bytes
            return cls(snapshot.key, "", "", "", "", "", 0, size, used, used, error.what)
        return cls(
            key=snapshot.key,
            engine=note.get("engine", ""),
            version=note.get("version", ""),
            topology=note.get("topology", ""),
            kernel=note.get("kernel", ""),
            clock=machine.clock.value,
            cpus=machine.cpus,
            bytes=snapshot.disk_bytes,
            age_seconds=round(age, 1),
            used_seconds_ago=used,
            damage=snapshot.damage(contents=False),
        )


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint as it is listed. ``snapshot`` is the key of what it is the difference to."""

    key: str
    snapshot: str
    what: str
    seed: str
    bytes: int
    in_use: bool
    """Whether its pages lie there unpacked."""
    cpu_seconds: float
    """What whoever is thawed from it saves."""
    used_seconds_ago: float

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> CheckpointRow:
        """Return the row of a checkpoint, from what was written with it."""
        note = checkpoint.note
        return cls(
            key=checkpoint.key,
            snapshot=checkpoint.base.key,
            what=note.get("what", ""),
            seed=note.get("seed", ""),
            bytes=checkpoint.disk_bytes,
            in_use=checkpoint.in_use,
            cpu_seconds=checkpoint.cpu_seconds,
            used_seconds_ago=round(time.time() - checkpoint.used_at, 1),
        )


@click.command()
@json_option
@click.option("--prune", "remove", is_flag=True, help="Remove all but the most recently used.")
@click.option("--keep", type=click.IntRange(0), help="With --prune: how many to keep.")
def snapshots(as_json: bool, remove: bool, keep: int | None) -> None:
    """List frozen swarms: what they hold, their size and age, and when they were last used.

    And their checkpoints: machines that were kept in mid-run, each the difference to its snapshot.
    They go with it, and the longest unused go by themselves when they take more than 8 GiB. Those
    in use lie there as guests map them; at rest, when the run is over, they are compressed.

    An outdated one is never used by mistake; it only takes up space. A guest that runs from a
    snapshot goes on when the snapshot is removed. A damaged one is frozen again when it is needed;
    `swarm-chaos clean` removes it.
    """
    if remove != (keep is not None):
        raise UsageError(
            "--prune and --keep N go together", hint="`swarm-chaos snapshots --prune --keep 3`"
        )
    cache = Cache()
    if keep is not None:
        removed = prune(cache, keep=keep)
        # A checkpoint is of no use without its snapshot.
        removed += prune_checkpoints(cache, most_bytes=MOST_BYTES)
        for key in removed:
            say(f"removed {key}")
    rows = [Row.of(snapshot) for snapshot in all_snapshots(cache)]
    kept = [CheckpointRow.of(checkpoint) for checkpoint in checkpoints(cache)]
    if as_json:
        listed = [*(asdict(row) for row in rows), *(asdict(row) for row in kept)]
        click.echo(json.dumps(listed, indent=2))
    elif rows:
        show(table(rows))
    else:
        click.echo("there are no snapshots")
    if kept and not as_json:
        show(checkpoint_table(kept))


def table(rows: list[Row]) -> Table:
    """Return the rows as a table."""
    heads = ("snapshot", "engine", "topology", "kernel", "clock", "CPUs", "size", "age")
    made = table_of(*heads, "last used", right=("CPUs", "size"))
    for row in rows:
        engine = f"{row.version} ({row.engine})" if row.engine != row.version else row.version
        made.add_row(
            row.key,
            "damaged" if row.damage else engine if row.version else "-",
            row.topology or "-",
            row.kernel or "-",
            row.clock or "-",
            str(row.cpus or "-"),
            human_size(row.bytes),
            human_age(row.age_seconds),
            f"{human_age(row.used_seconds_ago)} ago",
        )
    return made


def checkpoint_table(rows: list[CheckpointRow]) -> Table:
    """Return the rows as a table."""
    made = table_of(
        *("checkpoint", "of snapshot", "what", "seed", "state", "size", "saves", "last used"),
        right=("size", "saves"),
    )
    for row in rows:
        made.add_row(
            row.key,
            row.snapshot,
            row.what,
            row.seed,
            "in use" if row.in_use else "at rest",
            human_size(row.bytes),
            f"{row.cpu_seconds:.0f} s of CPU",
            f"{human_age(row.used_seconds_ago)} ago",
        )
    return made
