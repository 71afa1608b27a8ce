"""``swarm-chaos bench faults``: how soon after ``inject`` has returned a fault is felt.

Two nodes and a client on the namespaces lab. Each effect is seen from outside and not by the
fault's own evidence: datagrams that do not come, an API that does not answer.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import click

from harness.bench.metric import Figure, median_of, show
from harness.engine import Engine, provide, resolve
from harness.errors import LabError
from harness.faults import Fault, Faults
from harness.images import Cache
from harness.lab import ClientHost, NamespacesLab, Node, Topology
from harness.trial import EngineFacts, Trial, TrialInputs
from harness.wait import NotYet, wait_for

_PORT = 9999

#: Seconds that a datagram is waited for: on one machine it is there before ``send`` returns.
_COMES_WITHIN = 0.005

_FELT_WITHIN = 10.0

Felt = Callable[[], bool]


class Line:
    """Datagrams from one place to another: do they come?"""

    def __init__(self, source: Node | ClientHost, to: Node | ClientHost) -> None:
        self._receiver = to.network.call(_datagrams)
        self._receiver.bind((to.address, _PORT))
        self._receiver.settimeout(_COMES_WITHIN)
        self._sender = source.network.call(_datagrams)
        self._sender.connect((to.address, _PORT))
        self._number = 0

    def passes(self) -> bool:
        """Whether one more comes."""
        self._number += 1
        sent = b"%d" % self._number
        with suppress(OSError):
            self._sender.send(sent)
            while self._receiver.recv(64) != sent:
                continue
            return True
        return False

    def close(self) -> None:
        """Close both ends."""
        self._sender.close()
        self._receiver.close()


def figures(engine: Engine, *, runs: int) -> Iterator[Figure]:
    """Inject each fault ``runs`` times; the median of all, and of each kind."""
    with (
        tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as scratch,
        NamespacesLab.build(Topology(1, 1), lambda _: engine) as lab,
    ):
        trial = Trial(Path(scratch, "trial"), _inputs(engine))
        effects: dict[str, list[float]] = {}
        injections: dict[str, list[float]] = {}
        for _ in range(runs):
            for fault, felt, close in _kinds(Faults(trial, lab), lab):
                began = time.monotonic()
                with fault:
                    returned = time.monotonic()
                    seen = _time_to(felt, fault)
                injections.setdefault(fault.name, []).append(returned - began)
                effects.setdefault(fault.name, []).append(seen - returned)
                close()
        trial.finish(None)
    yield median_of("fault.effect", list(chain(*effects.values())), "s")
    yield median_of("fault.inject", list(chain(*injections.values())), "s")
    for name, seconds in effects.items():
        yield median_of(f"fault.effect.{name}", seconds, "s")
        yield median_of(f"fault.inject.{name}", injections[name], "s")


def _kinds(faults: Faults, lab: NamespacesLab) -> Iterator[tuple[Fault, Felt, Callable[[], None]]]:
    """A fault, whether it is felt, and what is to be closed after it; one kind after the other."""
    node, client = lab.node("w1"), lab.client_host("client")
    for cut in (
        faults.network.cut(node, plane=f"{_PORT}/udp"),
        faults.network.blackout(node),
        faults.network.loss(node, 1.0),
    ):
        line = Line(client, node)
        wait_for(partial(_comes, line), state="a datagram", within=_FELT_WITHIN, every=0.01)
        yield cut, partial(_stays_out, line), line.close
    for fault in (
        faults.process.pause_dockerd(node),
        faults.kill_dockerd(node),
        faults.kill_node(node),
    ):
        yield fault, partial(_silent, node), _nothing


def _time_to(felt: Felt, fault: Fault) -> float:
    """When the fault was felt: at the end of the look that found it."""
    give_up = time.monotonic() + _FELT_WITHIN
    while time.monotonic() < give_up:
        if felt():
            return time.monotonic()
    raise LabError(f"the fault {fault.name} was not felt within {_FELT_WITHIN:g} s")


def _comes(line: Line) -> bool | NotYet:
    return line.passes() or NotYet("nothing comes")


def _stays_out(line: Line) -> bool:
    return not line.passes()


def _silent(node: Node) -> bool:
    return not node.up or not node.dockerd.ping(timeout=0.02)


def _nothing() -> None:
    """There is nothing to close."""


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _inputs(engine: Engine) -> TrialInputs:
    facts = EngineFacts(
        name=engine.name, version=engine.version, source=engine.source, digest=engine.digest
    )
    return TrialInputs(
        scenario="bench",
        engine=facts,
        topology="1m1w",
        lab="namespaces",
        kernel="",
        clock="real",
        seed=1,
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--engine", default="stable", show_default=True, help="Engine of all nodes.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Of each.")
def faults(as_json: bool, engine: str, runs: int) -> None:
    """How soon after its injection a fault is felt. Needs root."""

    def say(line: str) -> None:
        click.echo(line, err=True)

    provided = provide(resolve(engine), Cache(say=say), say=say)
    show(figures(provided, runs=runs), as_json=as_json)
