"""``swarm-chaos shell``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.output import say
from harness.errors import UsageError
from harness.faults.topology_file import given_swarm
from harness.images import Cache
from harness.pytest_plugin.options import DEFAULT_KERNEL
from harness.snapshots.swarm_snapshot import FrozenSwarm
from harness.snapshots.terminal import Terminal
from harness.snapshots.visit import ShellRequest, visit
from harness.snapshots.visit_target import after as after_trial
from harness.snapshots.visit_target import fresh
from harness.vm.kernels import KERNELS
from harness.vm.machine import Machine
from harness.vm.pool import Pool

#: Options that say which swarm to thaw; with --after the trial determines it.
_OF_A_FRESH_ONE = ("engine", "topology", "kernel", "seed", "real_time")


@click.command()
@click.option("--engine", metavar="NAME", help="Docker Engine (stable).")
@click.option("--topology", metavar="3m2w1s", default="3m2w", help="Its nodes (3m2w).")
@click.option(
    "--kernel",
    type=click.Choice(list(KERNELS)),
    default=DEFAULT_KERNEL,
    help=f"The guest's kernel ({DEFAULT_KERNEL}).",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, help="Seed of everything that is random (1)."
)
@click.option("--node", metavar="m1", help="Open the shell on this node.")
@click.option(
    "--after",
    metavar="TRIAL",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A trial's folder: run it again, and stop where its test ended.",
)
@click.option(
    "--at",
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="With --after: stop at the last checkpoint before this time of the trial's clock.",
)
@click.option(
    "--real-time",
    is_flag=True,
    help="Let idle time pass in real time. Without it idle time is skipped.",
)
@click.pass_context
def shell(
    ctx: click.Context,
    engine: str | None,
    topology: str,
    kernel: str,
    seed: int,
    node: str | None,
    after: Path | None,
    at: float | None,
    real_time: bool,
) -> None:
    """Open a shell in a frozen swarm, as root of the guest.

    In the guest each node's name is a command: `m1` is a shell on that node, `m1 docker node ls`
    one command there. `exit` ends the guest, Ctrl-] kills it. Nothing of it is kept.

    Without a terminal (a pipe, a file) bash runs the commands on standard input; the output and
    the last one's exit code are this command's:

        echo 'm1 docker node ls' | swarm-chaos shell

    Such a script is in the guest from its first moment, so it runs as reproducibly as a trial.
    """
    if at is not None and after is None:
        raise UsageError("--at goes with --after", hint="name the trial: --after TRIAL --at 38.9")
    request = _request(node)
    cache = Cache()
    if after is not None:
        _refuse_beside_after(ctx)
        wanted = after_trial(after, request, cache, say, at=at)
    else:
        nodes, engine, file = given_swarm(topology, engine)
        if file is not None and not file.is_bare:
            raise UsageError(
                f"{topology} has labels, limits or links, and a shell's swarm gets none",
                hint="run a scenario with it, then open a shell on its trial: --after TRIAL",
            )
        swarm = FrozenSwarm(engine, nodes, kernel, Machine())
        wanted = fresh(swarm, request, seed, cache, say, real_time=real_time)
    code = visit(wanted, request, Pool(), say)
    if code is None:
        say("the guest was ended")
        return
    ctx.exit(code)


def _request(node: str | None) -> ShellRequest:
    if sys.stdin.isatty():
        return ShellRequest(node, terminal=Terminal.here())
    try:
        return ShellRequest(node, script=sys.stdin.buffer.read().decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not a valid script: {error}") from error


def _refuse_beside_after(ctx: click.Context) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name in _OF_A_FRESH_ONE
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be combined with --after: the trial determines the swarm",
            hint="leave it out: another swarm would not be in the state in which the trial ended",
        )
