"""Single requests, timed: from outside the swarm, or from a container in a network of it.

Each request has a connection of its own, or all have one that then falls silent. Apart from that,
what they are sent to (a service's virtual address, a task's own), and how long the kernel's load
balancer remembers a silent connection.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from harness.lab import Node
from harness.probes.ipam import allocation
from harness.probes.ipvs import load_balancer
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.swarm import Deployment
from harness.wait import Elapsed, NotYet, time_until

#: Seconds for an answer on a connection of its own.
_TIMEOUT = 10.0

#: Seconds for an answer after a silence.
_ANSWERED_WITHIN = 5.0

#: Seconds between two requests.
_PAUSE = 0.05


class VantagePoint:
    """A place that requests are sent from::

    with inside(web) as at:
        took = at["w1"].request_times("10.0.1.5", 8080, times=100)
    """

    def __init__(self, run: Callable[[Callable[[], float]], float]) -> None:
        self._run = run

    def request_times(self, host: str, port: int, *, times: int) -> list[float]:
        """Return the seconds that each of several requests took, from connecting to its end.

        Raises what the connection raises when one gets no answer.
        """
        took = []
        for _ in range(times):
            took.append(self._run(partial(_once, host, port)))
            time.sleep(_PAUSE)
        return took


class InsideVantagePoint(VantagePoint):
    """A place in the network namespace of a container."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        super().__init__(lambda ask: from_a_thread(lambda: _entered(namespace, ask)))
        self._namespace = namespace

    def time_to_answer_after(
        self, silence: float, host: str, port: int, *, every: float | None = None
    ) -> Elapsed:
        """Return how long the answer takes on a connection that was silent for so many seconds.

        With ``every`` it is not silent but asks so often.
        """
        return from_a_thread(partial(self._after, silence, host, port, every))

    def _after(self, silence: float, host: str, port: int, every: float | None) -> Elapsed:
        connection = http.client.HTTPConnection(host, port, timeout=_ANSWERED_WITHIN)
        with self._namespace.entered():
            connection.connect()
        try:
            connection.auto_open = 0  # another connection would say nothing of this one
            _request(connection)
            _keep_quiet(connection, silence, every)
            since = time.monotonic()
            return time_until(
                partial(_answered, connection),
                state="an answer",
                within=_ANSWERED_WITHIN,
                every=_ANSWERED_WITHIN,
                since=since,
            )
        finally:
            connection.close()


def outside(web: Deployment) -> VantagePoint:
    """Return the lab's client host as a place to send requests from."""
    return VantagePoint(web.swarm.lab.client_host().network.call)


@contextmanager
def inside(web: Deployment) -> Iterator[dict[str, InsideVantagePoint]]:
    """Yield a container on each node in the workload's network, by the node's name."""
    swarm = web.swarm
    made = VantageContainers([*swarm.managers, *swarm.workers], web.networks)
    try:
        made.start()
        yield {each.node.name: InsideVantagePoint(each.namespace) for each in made.there()}
    finally:
        made.close()


def virtual_address(web: Deployment, service: str, network: str) -> str:
    """Return a service's virtual address in one of the workload's networks."""
    given = allocation(web.swarm).given
    [address] = [g.address for g in given if g.owner == service and g.network == network]
    return address


def task_address(web: Deployment, service: str, network: str, *, away_from: Node) -> str:
    """Return the address in a network of a service's running task that is on another node."""
    task = next(t for t in web.tasks(service) if t.running and t.node != away_from.name)
    given = [g for g in allocation(web.swarm).given if g.owner == f"task {task.id}"]
    return next(g.address for g in given if g.network == network)


def forget_idle_connections(node: Node, network: str, *, after: int) -> None:
    """Have a node's load balancer in a network (id) forget connections silent for so many seconds.

    The kernel's own limit is 900 s. From 18.09 on; before, a network has no balancer of its own.
    """
    balancer = load_balancer(node, network).name
    enter = ("nsenter", f"--net=/run/docker/netns/{balancer}")
    node.run([*enter, "ipvsadm", "--set", str(after), str(after), str(after)])


def _entered(namespace: NetworkNamespace, ask: Callable[[], float]) -> float:
    with namespace.entered():
        return ask()


def _once(host: str, port: int) -> float:
    since = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        connection.getresponse().read()
        return time.monotonic() - since
    finally:
        connection.close()


def _request(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    connection.getresponse().read()


def _keep_quiet(
    connection: http.client.HTTPConnection, seconds: float, every: float | None
) -> None:
    end = time.monotonic() + seconds
    while every is not None and time.monotonic() + every < end:
        time.sleep(every)
        _request(connection)
    time.sleep(max(0.0, end - time.monotonic()))


def _answered(connection: http.client.HTTPConnection) -> bool | NotYet:
    try:
        _request(connection)
    except (OSError, http.client.HTTPException) as error:
        return NotYet(f"{type(error).__name__}: {error}")
    return True
