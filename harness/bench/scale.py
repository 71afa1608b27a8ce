"""How a swarm's times and its memory grow with its number of nodes.

For each size, in a lab of its own: three managers form a swarm, all others join it at once, a
global service is created on an overlay network, three more nodes join at once, and the leader's
dockerd is killed. ``growth`` is the exponent of the power of the number of nodes that fits best
(Theil and Sen's slope between logarithms): 0 stays as it is, 1 doubles with the nodes, 2
quadruples.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

from docker.errors import DockerException

from harness.bench.lab import MIB, memory_of
from harness.bench.metric import Metric, median_of
from harness.errors import HarnessError, LabError, SwarmError, UsageError, WaitTimeout
from harness.lab import Lab, Node, Topology
from harness.lab.topology import MOST_NODES
from harness.probes.sampling.dns_wire import SERVER, answer_in, question
from harness.probes.sampling.neighbour_table import NeighbourTable, overflowed
from harness.probes.sampling.netns import NetworkNamespace
from harness.probes.sampling.proc_handle import ProcHandle
from harness.swarm import APP_IMAGE, Deployment, NoAnswer, Service, Swarm, Workload
from harness.swarm.lab_makers import LabMaker
from harness.swarm.task import why_not_running
from harness.theil_sen import theil_sen
from harness.wait import NotYet, wait_for

MANAGERS = 3
MORE = 3
"""Nodes that join a swarm that serves."""

MEASURES = {
    "up": "s",
    "storm": "s",
    "running": "s",
    "names": "s",
    "gossip": "s",
    "memory.manager": "MiB",
    "memory.worker": "MiB",
    "joined": "s",
    "elections": "1",
    "failover": "s",
}
"""What is measured of each size, and its unit; what each is, docs/howto.md says."""

#: Seconds that any of it may take before the bench gives up.
_WITHIN = 300.0

#: Seconds between two looks at what tasks run. A look costs the managers work, as anybody's does.
_LOOK = 0.2

#: Seconds for an answer of the embedded DNS, which answers from memory.
_ANSWER = 1.0

#: What an engine says of a join that takes more than 20 s (moby, errSwarmJoinTimeoutReached).
_STILL_JOINING = "continue in the background"


def sizes_in(text: str) -> list[int]:
    """Read ``5,10,20``; :class:`UsageError` for what is no size of a swarm that can be measured."""
    sizes = set()
    for word in text.split(","):
        if not word.strip().isdecimal() or not MANAGERS < int(word) <= MOST_NODES - MORE:
            raise UsageError(
                f"{word.strip()!r} is not a valid number of nodes",
                hint=f"give numbers from {MANAGERS + 1} to {MOST_NODES - MORE}, "
                "with commas between: 5,10,20",
            )
        sizes.add(int(word))
    return sorted(sizes)


def metrics(
    maker: LabMaker, engine: str, sizes: Sequence[int], *, runs: int, say: Callable[[str], None]
) -> Iterator[Metric]:
    """Measure swarms of each size ``runs`` times; yield the medians, then their growth.

    Where a size does not work, yield what was measured until then, and raise what was wrong.
    """
    medians: dict[str, dict[int, float]] = {name: {} for name in MEASURES}
    failed: HarnessError | None = None
    for size in sizes:
        seen: dict[str, list[float]] = {name: [] for name in MEASURES}
        neighbours = NeighbourTable()
        try:
            for run in range(1, runs + 1):
                say(f"{size} nodes, {run} of {runs}")
                for name, value in _in_a_lab(maker, engine, size):
                    say(f"{size} nodes: {name} {value:.2f} {MEASURES[name]}")
                    seen[name].append(value)
        except WaitTimeout as error:
            failed = SwarmError(
                f"{size} nodes do not get through it: {error.what}",
                hint=f"all nodes share this machine's {os.cpu_count()} CPUs: give fewer nodes",
            )
        except HarnessError as error:
            failed = error
        if times := neighbours.overflows:  # whatever was measured, it was not the swarm
            seen = {}
            failed = LabError(f"{size} nodes cannot be measured: {overflowed(times)}")
        for name, unit in MEASURES.items():
            if seen.get(name):
                metric = median_of(f"scale.{size}n.{name}", seen[name], unit)
                medians[name][size] = metric.value
                yield metric
        if failed is not None:
            break
    for name, by_size in medians.items():
        if (exponent := growth(by_size)) is not None:
            yield Metric(f"scale.growth.{name}", exponent, "1")
    if failed is not None:
        raise failed


def _in_a_lab(maker: LabMaker, engine: str, size: int) -> Iterator[tuple[str, float]]:
    """Yield each measure, on a lab that ends with the last one."""
    began = time.monotonic()
    # All but the managers are spares: they join when it is their turn.
    with closing(maker.make(Topology(MANAGERS, 0, size - MANAGERS + MORE), engine)) as lab:
        yield "up", time.monotonic() - began
        yield from measured(lab)


def growth(by_size: Mapping[int, float]) -> float | None:
    """Return the exponent with which values grow with sizes; None of one size, or of zeros."""
    points = [(math.log(size), math.log(value)) for size, value in by_size.items() if value > 0]
    slope = theil_sen([x for x, _ in points], [y for _, y in points])
    return None if slope is None else round(slope.slope, 2)


def rows(found: Iterable[Metric]) -> Iterator[tuple[str, ...]]:
    """Yield metrics as a table: its head, then a row for each measure."""
    values: dict[str, dict[str, str]] = {}
    for metric in found:
        _, column, name = metric.name.split(".", 2)
        values.setdefault(name, {})[column] = f"{metric.value:g}"
    columns = list(dict.fromkeys(column for row in values.values() for column in row))
    heads = [column.replace("n", " nodes") if column != "growth" else column for column in columns]
    yield ("measure", *heads, "unit")
    for name, row in values.items():
        yield (name, *(row.get(column, "") for column in columns), MEASURES[name])


def measured(lab: Lab) -> Iterator[tuple[str, float]]:
    """Yield each measure but ``up`` on a lab whose nodes are not in a swarm yet."""
    swarm = Swarm.form(lab)
    elected = _elections(swarm.managers)
    *joining, last, another, third = (n for n in lab.nodes.values() if n.planned_role == "spare")
    yield "storm", _storm(swarm, joining)
    members = [*swarm.managers, *swarm.workers]
    began = time.monotonic()
    app = Service("app", APP_IMAGE, ("web",), replicas=None)
    web = swarm.create(Workload("web", ("web",), (app,)))
    yield "running", _time_to_tasks(web, members, began)
    yield from _converged(web, members, began)
    for role, nodes in (("manager", swarm.managers), ("worker", swarm.workers)):
        # Not PSS: what all nodes share, such as dockerd's own text, would be less of each
        # node the more nodes there are.
        yield f"memory.{role}", memory_of(nodes, "Anonymous") / MIB / len(nodes)
    began = time.monotonic()
    _storm(swarm, more := [last, another, third])
    yield "joined", _time_to_tasks(web, more, began)
    # Where all this costs the swarm its leader, the machine is too small: what was measured is it.
    yield "elections", float(_elections(swarm.managers) - elected)
    leader = swarm.leader
    began = time.monotonic()
    leader.dockerd.kill()
    swarm.wait_for_leader(other_than=leader, within=_WITHIN)
    yield "failover", time.monotonic() - began


def _storm(swarm: Swarm, nodes: Sequence[Node]) -> float:
    """Have nodes join as workers, all at once; return the seconds until all are ready."""
    token = swarm.ask(lambda api: api.api.inspect_swarm())["JoinTokens"]["Worker"]
    leader, began = swarm.leader, time.monotonic()

    def join(node: Node) -> None:
        try:
            swarm.join(node, token=token, through=leader)
        except NoAnswer as late:
            if late.kind != "timeout" and _STILL_JOINING not in late.what:
                raise

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(join, nodes))
    swarm.wait_for_ready(nodes, within=_WITHIN)
    return time.monotonic() - began


def _time_to_tasks(web: Deployment, nodes: Iterable[Node], began: float) -> float:
    """Wait until each of these nodes runs a task; return the seconds since ``began``."""
    names = {node.name for node in nodes}

    def run() -> bool | NotYet:
        try:
            tasks = web.tasks("app")
        except NoAnswer as error:
            return NotYet(error.what)
        late = names - {task.node for task in tasks if task.running}
        return not late or NotYet(f"none on {', '.join(sorted(late))}; {why_not_running(tasks)}")

    wait_for(run, state="a task on every node", within=_WITHIN, every=_LOOK)
    return time.monotonic() - began


def _elections(managers: Iterable[Node]) -> int:
    """How often any of them has become the leader, by their logs."""
    return sum(node.log.read_bytes().count(b" became leader at term ") for node in managers)


def _converged(web: Deployment, nodes: Sequence[Node], began: float) -> Iterator[tuple[str, float]]:
    """Names and gossip, each complete on all nodes; seconds since ``began``."""
    with ExitStack() as stack:
        resolvers = {
            node.name: stack.enter_context(_resolver_beside_the_task(web, node)) for node in nodes
        }
        of_node = {node.name: node for node in nodes}
        looks: dict[str, Callable[[str], int]] = {
            "names": lambda name: _addresses(resolvers[name]),
            "gossip": lambda name: _peers(of_node[name], web.networks["web"]),
        }
        with ThreadPoolExecutor(len(looks)) as pool:
            waits = {
                name: pool.submit(_time_to_all, look, of_node, began)
                for name, look in looks.items()
            }
            for name, waited in waits.items():
                yield name, waited.result()


def _time_to_all(look: Callable[[str], int], nodes: Iterable[str], began: float) -> float:
    """Wait until each node has seen as many as there are nodes; seconds since ``began``.

    One that has is not asked again.
    """
    late = set(nodes)
    wanted = len(late)

    def complete() -> bool | NotYet:
        for name in sorted(late):
            if (seen := look(name)) < wanted:
                return NotYet(f"{name} sees {seen} of {wanted}, {len(late)} nodes are late")
            late.discard(name)
        return True

    wait_for(complete, state="each node to see all", within=_WITHIN)
    return time.monotonic() - began


def _resolver_beside_the_task(web: Deployment, node: Node) -> socket.socket:
    """Return a socket at the embedded DNS that a node's task has, in the task's network."""
    label = f"com.docker.swarm.service.id={web.services['app']}"
    pids = [
        int(each.attrs["State"]["Pid"])
        for each in node.docker.containers.list(filters={"label": label})
    ]
    if not pids:
        raise LabError(f"{node.name} lists no container of the task that runs there")
    with closing(ProcHandle(node, pids[0])) as process:
        place = NetworkNamespace(process.network)
    with closing(place):
        resolver = place.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    resolver.settimeout(_ANSWER)
    resolver.connect(SERVER)
    return resolver


def _addresses(resolver: socket.socket) -> int:
    """How many addresses a resolver gives for the service's tasks; 0 when it does not answer."""
    with suppress(OSError, ValueError):
        resolver.send(question("tasks.app", 1))
        return len(answer_in(resolver.recv(65535)).addresses)
    return 0


def _peers(node: Node, network: str) -> int:
    """How many members of a network the gossip of a node's dockerd knows."""
    with suppress(DockerException, OSError):
        return len(node.docker.api.inspect_network(network).get("Peers") or ())
    return 0
