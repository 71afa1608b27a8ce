"""How soon after ``inject`` has returned a fault takes effect.

Two nodes and a client host in the namespaces lab. Each effect is seen from outside and not by the
fault's own evidence: datagrams that do not arrive, an API that does not answer.
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

from harness.bench.metric import Metric, median_of
from harness.bench.trials import open_trial
from harness.engine import Engine
from harness.errors import LabError
from harness.faults import Fault, Faults
from harness.lab import ClientHost, NamespacesLab, Node, Topology
from harness.wait import NotYet, wait_for

_PORT = 9999

#: Seconds to wait for a datagram: on one machine it arrives before ``send`` returns.
_ARRIVES_WITHIN = 0.005

_EFFECT_WITHIN = 10.0

TakesEffect = Callable[[], bool]


class DatagramProbe:
    """Sends datagrams from one place to another and sees whether they arrive."""

    def __init__(self, source: Node | ClientHost, to: Node | ClientHost) -> None:
        self._receiver = to.here.network.call(_datagrams)
        self._receiver.bind((to.address, _PORT))
        self._receiver.settimeout(_ARRIVES_WITHIN)
        self._sender = source.here.network.call(_datagrams)
        self._sender.connect((to.address, _PORT))
        self._number = 0

    def arrives(self) -> bool:
        """Send one more; return whether it arrived."""
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


def metrics(engine: Engine, *, runs: int) -> Iterator[Metric]:
    """Inject each fault ``runs`` times; yield the median of all, and of each kind."""
    with (
        tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as scratch,
        NamespacesLab.build(Topology(1, 1), lambda _: engine) as lab,
    ):
        trial = open_trial(Path(scratch, "trial"), engine)
        effects: dict[str, list[float]] = {}
        injections: dict[str, list[float]] = {}
        for _ in range(runs):
            for fault, in_effect, close in _kinds(Faults(trial, lab), lab):
                began = time.monotonic()
                with fault:
                    returned = time.monotonic()
                    seen = _time_to(in_effect, fault)
                injections.setdefault(fault.name, []).append(returned - began)
                effects.setdefault(fault.name, []).append(seen - returned)
                close()
        trial.finish(None)
    yield median_of("fault.effect", list(chain(*effects.values())), "s")
    yield median_of("fault.inject", list(chain(*injections.values())), "s")
    for name, seconds in effects.items():
        yield median_of(f"fault.effect.{name}", seconds, "s")
        yield median_of(f"fault.inject.{name}", injections[name], "s")


def _kinds(
    faults: Faults, lab: NamespacesLab
) -> Iterator[tuple[Fault, TakesEffect, Callable[[], None]]]:
    """Yield each kind of fault, how to see its effect, and what to close after it."""
    node, client = lab.node("w1"), lab.client_host("client")
    for cut in (
        faults.network.cut(node, plane=f"{_PORT}/udp"),
        faults.network.blackout(node),
        faults.network.loss(node, 1.0),
    ):
        probe = DatagramProbe(client, node)
        wait_for(partial(_passes, probe), state="a datagram", within=_EFFECT_WITHIN, every=0.01)
        yield cut, partial(_is_blocked, probe), probe.close
    for fault in (
        faults.process.pause_dockerd(node),
        faults.kill_dockerd(node),
        faults.kill_node(node),
    ):
        yield fault, partial(_is_silent, node), _nothing


def _time_to(in_effect: TakesEffect, fault: Fault) -> float:
    """Return when the effect was seen: at the end of the check that found it."""
    give_up = time.monotonic() + _EFFECT_WITHIN
    while time.monotonic() < give_up:
        if in_effect():
            return time.monotonic()
    raise LabError(f"the fault {fault.name} had no effect within {_EFFECT_WITHIN:g} s")


def _passes(probe: DatagramProbe) -> bool | NotYet:
    return probe.arrives() or NotYet("no datagram arrives")


def _is_blocked(probe: DatagramProbe) -> bool:
    return not probe.arrives()


def _is_silent(node: Node) -> bool:
    return not node.up or not node.dockerd.ping(timeout=0.02)


def _nothing() -> None:
    """There is nothing to close."""


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
