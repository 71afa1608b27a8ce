"""A swarm: forming it, asking it, waiting for its states, choosing members by role."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from docker import DockerClient

from harness.errors import SwarmError, WaitTimeout
from harness.lab import NamespacesLab, Node
from harness.swarm.client import NoAnswer, ask
from harness.trial import Journal
from harness.wait import (
    Elapsed,
    Moment,
    NotYet,
    expect_state,
    monotonic_moment,
    time_until,
    wait_for,
)

if TYPE_CHECKING:
    from harness.swarm.deployment import Deployment
    from harness.swarm.workload import Workload

_CLUSTER_PORT = 2377

#: Seconds for all joins; one gives up after 20 (moby daemon/cluster, swarmConnectTimeout).
_FORMED_WITHIN = 60.0

#: Seconds between two looks at the list of members. To look is work for the managers: ten looks a
#: second double what an emulated guest has to do.
_LOOK = 0.4

#: Joins that are under way at once: each is a TLS handshake and a certificate from the leader.
_JOINS_AT_ONCE = 8


@dataclass(frozen=True)
class Member:
    """A node as a manager's API lists it. ``reachability`` is "" for workers.

    ``engine`` is the version that the node's agent last told of.
    """

    id: str
    name: str
    role: str
    state: str
    availability: str
    leader: bool
    reachability: str
    engine: str

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Self:
        """From an element of ``GET /nodes``."""
        manager = attrs.get("ManagerStatus") or {}
        return cls(
            id=attrs["ID"],
            name=attrs.get("Description", {}).get("Hostname", ""),
            role=attrs["Spec"]["Role"],
            state=attrs["Status"]["State"],
            availability=attrs["Spec"].get("Availability", "active"),
            leader=bool(manager.get("Leader")),
            reachability=manager.get("Reachability", ""),
            engine=attrs.get("Description", {}).get("Engine", {}).get("EngineVersion", ""),
        )


class Swarm:
    """The swarm on a lab's nodes. Members are chosen as :class:`~harness.lab.Node`."""

    def __init__(
        self, lab: NamespacesLab, *, journal: Journal | None = None, seed: int = 0
    ) -> None:
        self.lab = lab
        self.journal = journal
        self.random = random.Random(seed)
        self._ids: dict[str, str] = {}

    # -- forming it ----------------------------------------------------------------------------

    @classmethod
    def form(cls, lab: NamespacesLab, *, journal: Journal | None = None, seed: int = 0) -> Self:
        """Init on the first manager and join the rest; spares stay outside.

        Managers join one after the other, each a change of raft's membership; workers join
        together. Returns when every member is listed as ready.
        """
        swarm = cls(lab, journal=journal, seed=seed)
        first, *managers = swarm._planned("manager")
        workers = swarm._planned("worker")
        try:
            ask(first, lambda api: api.swarm.init(advertise_addr=first.address))
            tokens = ask(first, lambda api: api.api.inspect_swarm())["JoinTokens"]
            for node in managers:
                swarm.join(node, token=tokens["Manager"], through=first)
            with ThreadPoolExecutor(_JOINS_AT_ONCE) as pool:
                for done in [
                    pool.submit(swarm.join, node, token=tokens["Worker"], through=first)
                    for node in workers
                ]:
                    done.result()
            swarm.wait_for_ready([first, *managers, *workers], within=_FORMED_WITHIN)
        except (NoAnswer, WaitTimeout) as error:
            raise SwarmError(f"the swarm could not be formed: {error.what}") from error
        return swarm

    def reseed(self) -> None:
        """Have a frozen swarm draw anew what it had drawn before the freeze; some 30 idle s.

        What decides raft's elections is as old as dockerd's process: the generator that election
        timeouts are drawn from (etcd's raft seeds it with the time at which the process starts),
        and the moment within the second at which its ticks come. Frozen, both are the same for
        every seed. So the managers' dockerds are restarted in good order, one after the other and
        the leader last, as an operator would do it, at moments that the seed decides. A lone
        manager has nobody to elect against.

        Not by SIGKILL and all at once: gossip would go on suspecting a node's old incarnation
        when the next one is a member already, and the scenario would begin in the midst of it.
        """
        managers, everybody = self.managers, self.all_but()
        time.sleep(self.random.uniform(0.0, 1.0))
        if len(managers) < 3:
            return
        leader = self.leader
        followers = [node for node in managers if node is not leader]
        self.random.shuffle(followers)
        for node in [*followers, leader]:
            node.dockerd.stop()
            time.sleep(self.random.uniform(0.0, 1.0))
            node.dockerd.start()
            node.dockerd.wait_ready()
            self.wait_for_leader(within=_FORMED_WITHIN)
            self.wait_for_ready(everybody, within=_FORMED_WITHIN)

    def set_role(self, node: Node, role: str) -> None:
        """Promote or demote a member: "manager" or "worker"."""
        self._respecify(node, {"Role": role}, state=f"{node.name} to be made a {role}")

    def set_availability(self, node: Node, availability: str) -> None:
        """Make a member "active", "pause" (no new tasks) or "drain" (its tasks move away)."""
        self._respecify(
            node, {"Availability": availability}, state=f"{node.name} to be set to {availability}"
        )

    def _respecify(self, node: Node, change: Mapping[str, Any], *, state: str) -> None:
        def updated() -> bool | NotYet:
            try:
                member = self.member(node)
                attrs = self.ask(lambda api: api.api.inspect_node(member.id))
                spec = {**attrs["Spec"], **change}
                self.ask(
                    lambda api: api.api.update_node(member.id, attrs["Version"]["Index"], spec)
                )
            except NoAnswer as error:  # "update out of sequence": somebody wrote in between
                return NotYet(error.what)
            return True

        wait_for(updated, state=state, within=_FORMED_WITHIN, every=0.5)

    def join(self, node: Node, *, token: str, through: Node) -> None:
        """Have a node join; :class:`NoAnswer` when its engine says no."""
        address = f"{through.address}:{_CLUSTER_PORT}"
        ask(
            node,
            lambda api: api.swarm.join(
                remote_addrs=[address], join_token=token, advertise_addr=node.address
            ),
        )

    # -- when its majority is lost for good ----------------------------------------------------

    def force_new_cluster(self, node: Node, *, within: float = _FORMED_WITHIN) -> None:
        """Have a manager go on alone (``swarm init --force-new-cluster``), with all it knows.

        Services, tasks and workers stay; the other managers are managers no longer, whatever
        they think. :class:`NoAnswer` when the engine says no or nothing in time.
        """
        with _patient(node, within) as patient:
            # Of the low-level client: the other one first asks for the swarm, which has no answer.
            ask(
                node,
                lambda api: api.api.init_swarm(node.address, force_new_cluster=True),
                patient,
            )

    def leave(self, node: Node, *, within: float = _FORMED_WITHIN) -> None:
        """Have a node leave by force, as the last resort for one that was given up."""
        with _patient(node, within) as patient:
            ask(node, lambda api: api.api.leave_swarm(force=True), patient)

    def forget(self, node: Node, *, by: Node | None = None) -> None:
        """Strike a node off the swarm's list.

        After :meth:`force_new_cluster`, strike off the lost managers before they are started
        again: one that is still listed joins raft by itself, and two that do not agree are no
        majority (swarmkit#2670).
        """
        for member in self.members(by):
            if member.name == node.name:
                self.ask(lambda api, id_=member.id: api.api.remove_node(id_, force=True), by=by)

    def rejoin(self, node: Node, *, through: Node) -> None:
        """Have a node that the swarm has given up leave, and join again in its planned role."""
        self.leave(node)
        self.forget(node, by=through)
        tokens = ask(through, lambda api: api.api.inspect_swarm())["JoinTokens"]
        self.join(node, token=tokens[node.planned_role.capitalize()], through=through)

    # -- asking it -----------------------------------------------------------------------------

    def members(self, by: Node | None = None) -> list[Member]:
        """Who is in the swarm, as a manager lists it: ``by``, or the first that answers.

        Raises :class:`NoAnswer` when none does (there is no leader, say).
        """
        return [Member.of(attrs) for attrs in self.ask(lambda api: api.api.nodes(), by=by)]

    def ask(self, question: Any, by: Node | None = None) -> Any:
        """Put a question to a manager's client: to ``by``, or to each in turn till one answers."""
        asked = [by] if by else [n for n in self._planned("manager") if n.up and n.dockerd.alive]
        refusals = []
        for node in asked:
            try:
                return ask(node, question)
            except NoAnswer as error:
                refusals.append(error)
        if not refusals:
            raise NoAnswer("the swarm", "refused", "no manager is running")
        raise (
            refusals[0]
            if len(refusals) == 1
            else NoAnswer("the swarm", refusals[0].kind, "; ".join(r.what for r in refusals))
        )

    def member(self, node: Node, by: Node | None = None) -> Member:
        """A node's entry in the swarm's list; :class:`SwarmError` if it is in none."""
        for member in self.members(by):
            if member.name == node.name:
                return member
        raise SwarmError(f"{node.name} is not in the swarm")

    @property
    def leader(self) -> Node:
        """The manager that leads now; :class:`SwarmError` when none does."""
        for member in self.members():
            if member.leader:
                return self.lab.node(member.name)
        raise SwarmError("the swarm has no leader")

    @property
    def managers(self) -> list[Node]:
        """All managers, as the swarm lists them."""
        return [self.lab.node(m.name) for m in self.members() if m.role == "manager"]

    @property
    def followers(self) -> list[Node]:
        """The managers that do not lead."""
        return [
            self.lab.node(m.name) for m in self.members() if m.role == "manager" and not m.leader
        ]

    @property
    def workers(self) -> list[Node]:
        """All workers, as the swarm lists them."""
        return [self.lab.node(m.name) for m in self.members() if m.role == "worker"]

    def a_follower(self) -> Node:
        """One manager that does not lead; which one, the seed decides."""
        return self._one_of(self.followers, "follower")

    def a_worker(self) -> Node:
        """One worker; which one, the seed decides."""
        return self._one_of(self.workers, "worker")

    def minority(self, *, of: Sequence[Node] | None = None) -> list[Node]:
        """As many managers as the swarm can lose: (n - 1) // 2, chosen by the seed."""
        nodes = list(of) if of is not None else self.managers
        return self.random.sample(nodes, (len(nodes) - 1) // 2)

    def all_but(self, *out: Node) -> list[Node]:
        """Every member but these."""
        names = {node.name for node in out}
        return [self.lab.node(m.name) for m in self.members() if m.name not in names]

    @property
    def quorum(self) -> int:
        """How many managers must be there for a decision: n // 2 + 1."""
        return len(self.managers) // 2 + 1

    # -- waiting for it ------------------------------------------------------------------------

    def has_leader(self, *, other_than: Node | None = None) -> str | NotYet:
        """The leader's name by the first manager that answers, or why there is none yet."""
        try:
            members = self.members()
        except NoAnswer as error:
            return NotYet(error.what)
        for member in members:
            if member.leader:
                if other_than is not None and member.name == other_than.name:
                    return NotYet(f"{member.name} still leads")
                return member.name
        return NotYet("no manager leads")

    def wait_for_leader(self, *, other_than: Node | None = None, within: float = 30.0) -> Node:
        """Wait until a manager (other than one) leads; deadline in seconds."""
        name = expect_state(
            lambda: self.has_leader(other_than=other_than),
            state="a leader" + (f" other than {other_than.name}" if other_than else ""),
            within=within,
            every=_LOOK,
        )
        return self.lab.node(name)

    def wait_for_ready(self, nodes: Iterable[Node], *, within: float = 60.0) -> None:
        """Wait until all of these are members in state ready (managers: reachable)."""
        names = sorted({node.name for node in nodes})
        expect_state(
            lambda: self._ready(names),
            state=f"{', '.join(names)} to be ready",
            within=within,
            every=_LOOK,
        )

    def time_to_ready(
        self, nodes: Iterable[Node], *, within: float, since: Moment | None = None
    ) -> Elapsed:
        """How long until all of these are members in state ready (managers: reachable).

        ``since`` is a reading of the monotonic clock (default: now).
        """
        names = sorted({node.name for node in nodes})
        return time_until(
            lambda: self._ready(names),
            state=f"{', '.join(names)} to be ready",
            within=within,
            every=_LOOK,
            since=since,
        )

    def _ready(self, names: Iterable[str]) -> bool | NotYet:
        try:
            members = {m.name: m for m in self.members()}
        except NoAnswer as error:
            return NotYet(error.what)
        late = []
        for name in names:
            member = members.get(name)
            if member is None:
                late.append(f"{name} not listed")
            elif member.state != "ready":
                late.append(f"{name} {member.state}")
            elif member.role == "manager" and member.reachability != "reachable":
                late.append(f"{name} {member.reachability or 'no manager yet'}")
        return NotYet(", ".join(late)) if late else True

    def time_to_write(self, *, within: float, since: Moment | None = None) -> Elapsed:
        """How long until some manager takes a write: a secret, created and removed.

        ``since`` is a reading of the monotonic clock (default: now).
        """
        attempts = 0

        def written() -> bool | NotYet:
            nonlocal attempts
            attempts += 1
            try:
                made = self.ask(
                    lambda api: api.api.create_secret(f"write-probe-{attempts}", b"x"),
                )
                self.ask(lambda api: api.api.remove_secret(made["ID"]))
            except NoAnswer as error:
                return NotYet(error.what)
            return True

        return time_until(written, state="a write", within=within, every=0.25, since=since)

    def observe(self, seconds: float, why: str, *, since: Moment | None = None) -> None:
        """Let the swarm go on for ``seconds`` after ``since`` (default: now) while it is watched.

        For windows of a fixed length, over which shares and counts are taken; ``why`` is what is
        looked for, for the journal. :meth:`harness.faults.Fault.hold` is the same for a fault. To
        reach a state, wait for it instead.
        """
        self.note("note", text=f"observing for {seconds:g} s: {why}")
        end = seconds + (time.monotonic() if since is None else monotonic_moment(since))
        time.sleep(max(0.0, end - time.monotonic()))

    # -- using it ------------------------------------------------------------------------------

    def create(self, workload: Workload) -> Deployment:
        """Create a workload's networks and services and wait for nothing."""
        from harness.swarm.deployment import create

        return create(self, workload)

    def deploy(self, workload: Workload, *, within: float = 120.0) -> Deployment:
        """Create a workload's networks and services and wait until it serves."""
        from harness.swarm.deployment import deploy

        return deploy(self, workload, within=within)

    def note(self, kind: str, **facts: Any) -> None:
        """Write to the trial's journal, if the swarm is part of one."""
        if self.journal is not None:
            self.journal.write(kind, **facts)

    # -- within --------------------------------------------------------------------------------

    def _planned(self, role: str) -> list[Node]:
        return [node for node in self.lab.nodes.values() if node.planned_role == role]

    def _one_of(self, nodes: Sequence[Node], what: str) -> Node:
        if not nodes:
            raise SwarmError(f"the swarm has no {what}")
        return self.random.choice(nodes)


@contextmanager
def _patient(node: Node, within: float) -> Iterator[DockerClient]:
    """A client for requests that may take longer than a node's own client waits."""
    client = node.client(timeout=math.ceil(within))
    try:
        yield client
    finally:
        client.close()
