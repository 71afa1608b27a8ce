"""``swarm-chaos snapshots``: lists frozen swarms, and removes old ones."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import click

from harness.errors import UsageError
from harness.images import Cache
from harness.vm.snapshot import Snapshot, prune
from harness.vm.snapshot import snapshots as all_snapshots

_MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """A snapshot as people see it. Times are seconds before now; unknown facts are ""."""

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

    @classmethod
    def of(cls, snapshot: Snapshot) -> Row:
        """From what a freeze left in the manifest."""
        note = snapshot.note
        return cls(
            key=snapshot.key,
            engine=note.get("engine", ""),
            version=note.get("version", ""),
            topology=note.get("topology", ""),
            kernel=note.get("kernel", ""),
            clock=snapshot.machine.clock.value,
            cpus=snapshot.machine.cpus,
            bytes=snapshot.disk_bytes,
            age_seconds=round(snapshot.age_seconds, 1),
            used_seconds_ago=round(time.time() - snapshot.used_at, 1),
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; sizes in bytes, times in s.")
@click.option("--prune", "remove", is_flag=True, help="Remove all but the last used ones.")
@click.option("--keep", type=click.IntRange(0), help="With --prune: how many stay.")
def snapshots(as_json: bool, remove: bool, keep: int | None) -> None:
    """List frozen swarms: what is in them, how large, how old, when last used.

    Stale ones cannot be used by mistake; they only take room. A guest that runs from one that is
    removed goes on.
    """
    if remove != (keep is not None):
        raise UsageError(
            "--prune and --keep N go together", hint="`swarm-chaos snapshots --prune --keep 3`"
        )
    cache = Cache()
    if keep is not None:
        for key in prune(cache, keep=keep):
            click.echo(f"removed {key}", err=True)
    rows = [Row.of(snapshot) for snapshot in all_snapshots(cache)]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    elif rows:
        click.echo("\n".join(table(rows)))
    else:
        click.echo("there are no snapshots")


def table(rows: list[Row]) -> list[str]:
    """Rows as aligned lines under their heads."""
    heads = "SNAPSHOT  ENGINE  TOPOLOGY  KERNEL  CLOCK  CPUS  SIZE  AGE  LAST USED"
    cells = [tuple(heads.split("  "))]
    for row in rows:
        engine = f"{row.version} ({row.engine})" if row.engine != row.version else row.version
        cells.append(
            (
                row.key,
                engine if row.version else "-",
                row.topology or "-",
                row.kernel or "-",
                row.clock,
                str(row.cpus),
                f"{row.bytes // _MIB} MiB",
                ago(row.age_seconds),
                f"{ago(row.used_seconds_ago)} ago",
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def ago(seconds: float) -> str:
    """A length of time in its largest whole unit: ``3 d``, ``5 h``, ``12 min``, ``9 s``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
