"""``swarm-chaos replay``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.output import json_option, say
from harness.errors import EXIT_EXPECTATION, EXIT_TROUBLE, TrialError, UsageError
from harness.images import Cache
from harness.results.check import check_trial
from harness.snapshots.replay import Replayed, first_parting
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
@click.option(
    "--bisect",
    is_flag=True,
    help="Digest the whole machine at each checkpoint, and say between which two replays part.",
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
    bisect: bool,
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
    if changed := check_trial(trial):
        raise TrialError(
            f"{trial.name} is not as it was recorded: {'; '.join(d.sentence for d in changed)}",
            hint="a replay has nothing to be compared with; `swarm-chaos results check` has it all",
        )
    if bisect and times < 2:
        raise UsageError("--bisect compares replays with each other", hint="add --times 2 or more")
    done: list[Replayed] = []
    runs = run_again(
        trial,
        Cache(),
        times=times,
        at_once=at_once,
        stressed=stress,
        keep=keep,
        digests=bisect,
        say=say,
    )
    for one in runs:
        done.append(one)
        if not as_json:
            outcome = "identical" if one.identical else one.trouble or str(one.difference)
            count = f"{len(done)}/{times} " if times > 1 else ""
            click.echo(f"{count}{outcome} ({one.wall_seconds:.1f} s)")
            if one.out_of_step:
                say(
                    f"QEMU's main loop could not wait for its turn, {one.out_of_step} times: "
                    "this replay may differ for that alone"
                )
    same = sum(one.identical for one in done)
    broken = sum(bool(one.trouble) for one in done)
    if as_json:
        counts = {
            "trial": trial.name,
            "replays": len(done),
            "identical": same,
            "different": len(done) - same - broken,
            "unfinished": broken,
            "out_of_turn": sum(bool(one.out_of_step) for one in done),
            "at_once": at_once,
            "stress": stress,
        }
        click.echo(json.dumps(counts))
    elif times > 1:
        click.echo(f"{same} of {len(done)} replays identical")
    if bisect and not as_json:
        click.echo(_bisected(done))
    if broken:
        ctx.exit(EXIT_TROUBLE)
    if same < len(done):
        ctx.exit(EXIT_EXPECTATION)


def _bisected(done: list[Replayed]) -> str:
    finished = [one for one in done if not one.trouble]
    parting = first_parting(finished)
    if parting is not None:
        return f"replays become different machines between {parting[0]} and {parting[1]}"
    points = len(finished[0].digests) if finished else 0
    return f"all replays are one machine at each of {points} checkpoints"
