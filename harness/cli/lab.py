"""``swarm-chaos lab``: a namespaces lab held open for people, and a way into its nodes."""

from __future__ import annotations

import os
import signal

import click

from harness.engine import Engine, provide, resolve
from harness.images import Cache
from harness.lab import NamespacesLab, Topology
from harness.lab.dockerd import NAMESPACES, SOCKET, environment
from harness.lab.nsenter import entering
from harness.manual.open_lab import find, hold, wait_for_the_end
from harness.swarm import Swarm, balanced_web, seed_for


@click.group()
def lab() -> None:
    """Hold a lab of namespaces open on this machine (root), and look into its nodes."""


@lab.command()
@click.option("--topology", metavar="3m2w1s", default="3m2w", show_default=True, help="Nodes.")
@click.option(
    "--engine", metavar="NAME", default="stable", show_default=True, help="Docker Engine."
)
@click.option("--bare", is_flag=True, help="Only nodes with their dockerd: form no swarm.")
@click.option("--web", is_flag=True, help="Deploy a balancer and an app behind it.")
@click.option("--seed", default=1, show_default=True, help="For what is drawn at random.")
def up(topology: str, engine: str, bare: bool, web: bool, seed: int) -> None:
    """Bring a swarm up and keep it until Ctrl-C; other terminals inject, heal and look.

    When this command ends, in whatever way, all of the lab goes, and with it all that is injected.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores the first
        signal.signal(number, signal.default_int_handler)
    cache = Cache(say=_say)
    shape = Topology.parse(topology)
    engines: dict[str, Engine] = {}

    def engine_for(node: str) -> Engine:
        name = shape.engines.get(node, engine)
        if name not in engines:
            engines[name] = provide(resolve(name), cache, say=_say)
        return engines[name]

    for place in shape.places():
        engine_for(place.name)
    with NamespacesLab.build(shape, engine_for, seed_for=seed_for(cache, say=_say)) as made:
        made.client_host("client")
        swarm = None if bare else Swarm.form(made, seed=seed)
        if swarm is not None and web:
            served = swarm.deploy(balanced_web())
            _say(f"it serves at {', '.join(served.entries.values())}, inside the lab")
        with hold(made) as opened:
            click.echo(f"lab {opened.name}: {shape}, engine {engines[engine].version}")
            click.echo(
                "In other terminals: swarm-chaos status; swarm-chaos inject FAULT TARGET;\n"
                f"swarm-chaos heal; swarm-chaos lab enter {next(iter(made.nodes))}. "
                "Ctrl-C ends the lab."
            )
            try:
                wait_for_the_end(made)
            except KeyboardInterrupt:
                _say("the lab goes down")


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--lab", "which", metavar="LAB", help="Id or folder of a lab (the only open one).")
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def enter(which: str | None, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND, or a shell, on NODE of an open lab; `docker` there asks the node's engine."""
    with find(which).entered() as entered:
        there = entered.node(node)
        pid, engine = there.pid, there.engine
    argv = list(command) or ["/bin/sh", "-i"]
    variables = {
        **environment(engine),
        "DOCKER_HOST": f"unix://{SOCKET}",
        "TERM": os.environ.get("TERM", "dumb"),
        "PS1": f"{node}:\\w# ",
    }
    words = entering(pid, NAMESPACES, argv)
    os.execvpe(words[0], words, {**variables, "PATH": f"{engine.path}:{os.environ['PATH']}"})


def _say(line: str) -> None:
    click.echo(line, err=True)
