"""``swarm-chaos replay``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.output import json_option, say
from harness.errors import EXIT_EXPECTATION, EXIT_TROUBLE, UsageError
from harness.images import Cache
from harness.snapshots.replay import Replayed
from harness.snapshots.replay import replay as run_again


@click.command()
@click.argument("trial", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--times", type=click.IntRange(1), default=1, help="How often (1).")
@click.option(
    "--at-once", type=click.IntRange(1), default=1, help="How many guests run at the same time (1)."
)
@click.option("--stress", is_flag=True, help="Keep the host's CPUs and disk busy meanwhile.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep replays that differ in this folder.",
)
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    trial: Path,
    times: int,
    at_once: int,
    stress: bool,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Run TRIAL, a trial's folder, again and compare every byte.

    The replay's journal, samples, dockerd logs, record and console are compared with the recorded
    ones. Exit code 0: byte-identical; 1: they differ; 2: a replay did not finish.
    """
    if not (trial / "trial.json").exists():
        raise UsageError(
            f"{trial} is not a trial's folder", hint="give one like reports/latest/trials/ID"
        )
    done: list[Replayed] = []
    runs = run_again(
        trial,
        Cache(),
        times=times,
        at_once=at_once,
        stressed=stress,
        keep=keep,
        say=say,
    )
    for one in runs:
        done.append(one)
        if not as_json:
            outcome = "identical" if one.identical else one.trouble or str(one.difference)
            count = f"{len(done)}/{times} " if times > 1 else ""
            click.echo(f"{count}{outcome} ({one.wall_seconds:.1f} s)")
    same = sum(one.identical for one in done)
    broken = sum(bool(one.trouble) for one in done)
    if as_json:
        counts = {
            "trial": trial.name,
            "replays": len(done),
            "identical": same,
            "different": len(done) - same - broken,
            "unfinished": broken,
            "at_once": at_once,
            "stress": stress,
        }
        click.echo(json.dumps(counts))
    elif times > 1:
        click.echo(f"{same} of {len(done)} replays identical")
    if broken:
        ctx.exit(EXIT_TROUBLE)
    if same < len(done):
        ctx.exit(EXIT_EXPECTATION)
