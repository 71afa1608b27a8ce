"""``swarm-chaos lab``: a namespaces lab kept open by hand, and commands on its nodes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import click

from harness.cli.output import lab_option, say, seed_option
from harness.engine import provide, resolve
from harness.errors import EXIT_INTERRUPTED, EXIT_OK, UsageError
from harness.faults.topology_file import given_swarm
from harness.faults.topology_setup import require_possible, set_labels
from harness.images import Cache
from harness.lab import KernelFeatures, probe_features
from harness.lab.dockerd import NAMESPACES, SOCKET
from harness.lab.nsenter import entering
from harness.lab.own_engine import own_engine
from harness.manual.open_lab import find, keep_open, wait_until_ended
from harness.manual.session import ManualSession
from harness.swarm import Swarm, balanced_web
from harness.swarm.lab_makers import MAKERS


@click.group()
def lab() -> None:
    """Keep a lab open on this machine (needs root), and run commands on its nodes."""


@lab.command()
@click.option(
    "--topology",
    metavar="3m2w1s",
    default="3m2w",
    show_default=True,
    help="The nodes, or a file that describes them.",
)
@click.option("--engine", metavar="NAME", help="Docker Engine (stable).")
@click.option(
    "--lab",
    "kind",
    # No other process can attach to the others: their connections are one process's.
    type=click.Choice(["namespaces", "dind"]),
    default="namespaces",
    show_default=True,
    help="What nodes are: namespaces, or containers of the engine that DOCKER_HOST names.",
)
@click.option("--bare", is_flag=True, help="Start the nodes, but form no swarm.")
@click.option("--web", is_flag=True, help="Deploy a balancer and an app behind it.")
@seed_option
def up(topology: str, engine: str | None, kind: str, bare: bool, web: bool, seed: int) -> None:
    """Start a swarm and keep it until Ctrl-C; inject and heal from other terminals.

    When this command ends, in whatever way, the lab ends, and with it everything injected.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores the first
        signal.signal(number, signal.default_int_handler)
    shape, engine, file = given_swarm(topology, engine)
    if file is not None:
        require_possible(file, kind)
        if bare and not file.is_bare:
            raise UsageError(f"--bare forms no swarm, and {topology} has more than nodes")
    maker = MAKERS[kind](Cache(say=say), say, None)
    maker.require()
    for name in sorted({engine, *shape.engines.values()}):
        maker.engine(name)
    if warning := without_mesh(probe_features()):
        say(warning)
    with closing(maker.make(shape, engine)) as made:
        made.client_host("client")
        swarm = None if bare else Swarm.form(made, seed=seed)
        if swarm is not None and file is not None:
            set_labels(file, swarm)
        if swarm is not None and web:
            served = swarm.deploy(balanced_web())
            say(f"inside the lab it is served at {', '.join(served.entries.values())}")
        with keep_open(made) as opened:
            if file is not None and file.standing:
                with opened.entered() as entered, ManualSession(entered, seed=seed) as session:
                    for each in file.standing:
                        session.inject(each.fault, each.target, each.parameters)
            click.echo(f"lab {opened.name}: {shape}, engine {maker.engine(engine).version}")
            click.echo(
                "In other terminals: swarm-chaos status; swarm-chaos inject FAULT TARGET;\n"
                f"swarm-chaos heal; swarm-chaos lab enter {next(iter(made.nodes))}. "
                "Ctrl-C ends the lab."
            )
            try:
                wait_until_ended(made)
            except KeyboardInterrupt:
                say("ending the lab")


@lab.command(
    name="engine",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--engine", metavar="NAME", default="stable", show_default=True, help="Docker Engine."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def engine_for_dind(engine: str, command: tuple[str, ...]) -> int:
    """Run an engine for --lab dind on a machine without Docker, for COMMAND or until Ctrl-C.

    COMMAND finds it by DOCKER_HOST. It has a root file system, a network and data of its own,
    and when this command ends, in whatever way, all of it ends.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    provided = provide(resolve(engine), Cache(say=say), say=say)
    with own_engine(provided) as socket:
        host = f"unix://{socket}"
        if command:
            try:
                return subprocess.run(
                    command, env={**os.environ, "DOCKER_HOST": host}, check=False
                ).returncode
            except OSError as error:
                raise UsageError(f"cannot run {command[0]}: {error.strerror}") from error
            except KeyboardInterrupt:
                return EXIT_INTERRUPTED
        click.echo(f"engine {provided.version}; in other terminals: export DOCKER_HOST={host}")
        click.echo("Ctrl-C ends it, and every lab that runs on it.")
        with suppress(KeyboardInterrupt):
            signal.pause()
    return EXIT_OK


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@lab_option
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def enter(lab: str | None, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND, or a shell, on NODE of an open lab; `docker` there talks to its dockerd."""
    with find(lab).entered() as entered:
        there = entered.node(node).here
        pid, engine, variables = there.pid, there.engine, dict(there.environment)
    argv = list(command) or shell_on(Path(f"/proc/{pid}/root"), terminal=sys.stdin.isatty())
    variables |= {
        "DOCKER_HOST": f"unix://{SOCKET}",
        "TERM": os.environ.get("TERM", "dumb"),
        "PS1": f"{node}:$PWD# ",
    }
    argv = entering(pid, NAMESPACES, argv)
    os.execvpe(argv[0], argv, {**variables, "PATH": f"{engine.path}:{os.environ['PATH']}"})


def shell_on(rootfs: Path, *, terminal: bool) -> list[str]:
    """Return the command for an interactive shell on a node with this root file system.

    On a terminal it gets one of the node's own: this one belongs to a session outside of the
    node's pid namespace, so the shell could not control its jobs there.
    """
    shell = "bin/bash" if (rootfs / "bin/bash").exists() else "bin/sh"
    argv = [f"/{shell}", *(("--noprofile", "--norc") if shell == "bin/bash" else ()), "-i"]
    if terminal and (rootfs / "usr/bin/script").exists():
        return ["/usr/bin/script", "--quiet", "--command", shlex.join(argv), "/dev/null"]
    return argv


def without_mesh(features: KernelFeatures) -> str:
    """Say why published ports will not answer on every node; "" if they will."""
    if features.mesh:
        return ""
    why, remedy = (
        ("this kernel has no ip_vs", "as root: modprobe ip_vs")
        if not features.has("ip_vs")
        else ("new network namespaces do not forward", "as root: sysctl -w net.ipv4.ip_forward=1")
    )
    return (
        f"published ports will not answer through the routing mesh, and virtual IPs may not work: "
        f"{why}\n  -> {remedy}, or use the microVM lab"
    )
