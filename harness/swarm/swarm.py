"""A swarm on a lab: form it, change its members, deploy workloads on it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

from docker import DockerClient

from harness.errors import SwarmError, WaitTimeout
from harness.lab import Lab, Node
from harness.swarm import deployment, stacks
from harness.swarm.client import NoAnswer, SwarmClient, ask
from harness.swarm.deployment import Deployment
from harness.swarm.releases import refuse_too_old
from harness.swarm.settings import SwarmPools, SwarmSettings
from harness.swarm.stacks import Stack
from harness.swarm.workload import Workload
from harness.trial import Journal
from harness.wait import Deadline

_CLUSTER_PORT = 2377

RESEEDED = 3
"""Managers from which on there is an election whose dice are reseeded."""

#: Seconds for all joins; one gives up after 20 (moby daemon/cluster, swarmConnectTimeout).
_FORMED_WITHIN = 60.0

#: Joins that are under way at once: each is a TLS handshake and a certificate from the leader.
_JOINS_AT_ONCE = 8


class Swarm(SwarmClient):
    """The swarm on a lab's nodes; what it can be asked is inherited.

    ::

        swarm = Swarm.form(lab)
        web = swarm.deploy(balanced_web(replicas=4))
        swarm.set_availability(swarm.a_worker(), "drain")
    """

    #: What the scenario's mark has it serve from the beginning.
    _serving: Deployment | None = None

    # -- forming it ----------------------------------------------------------------------------

    @classmethod
    def form(
        cls,
        lab: Lab,
        *,
        journal: Journal | None = None,
        seed: int = 0,
        pools: SwarmPools | None = None,
    ) -> Self:
        """Initialize on the first manager and join the rest; spares do not join.

        Managers join one after the other, each a change of raft's membership; workers join
        together. Return when every member is listed as ready, and every manager has caught up.
        """
        swarm = cls(lab, journal=journal, seed=seed)
        first, *managers = swarm._planned("manager")
        workers = swarm._planned("worker")
        engines = {node.name: node.engine.version for node in (first, *managers, *workers)}
        chosen = pools or SwarmPools()
        refuse_too_old("the swarm", chosen.needs(), engines)
        try:
            ask(
                first,
                lambda api: api.swarm.init(advertise_addr=first.address, **chosen.arguments()),
            )
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
            swarm.wait_for_raft([first, *managers], within=_FORMED_WITHIN)
        except (NoAnswer, WaitTimeout) as error:
            raise SwarmError(f"the swarm could not be formed: {error.what}") from error
        return swarm

    def reseed(self) -> None:
        """Reseed a thawed swarm: its random state is older than the freeze; takes some 30 idle s.

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
        if len(managers) < RESEEDED:
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
            self.wait_for_raft(managers, within=_FORMED_WITHIN)

    def set_role(self, node: Node, role: str) -> None:
        """Promote or demote a member: "manager" or "worker"."""
        self._respecify(node, {"Role": role}, what=f"the change of {node.name} to a {role}")

    def set_availability(self, node: Node, availability: str) -> None:
        """Make a member "active", "pause" (no new tasks) or "drain" (its tasks move away)."""
        what = f"the availability {availability} of {node.name}"
        self._respecify(node, {"Availability": availability}, what=what)

    def set_labels(self, node: Node, labels: Mapping[str, str]) -> None:
        """Give a member these labels and no others: constraints ask for ``node.labels.KEY``."""
        self._respecify(node, {"Labels": dict(labels)}, what=f"the labels of {node.name}")

    def configure(self, settings: SwarmSettings) -> None:
        """Change what the whole swarm is set to; :class:`SwarmError` if it is refused."""

        def write() -> None:
            found = self.ask(lambda api: api.api.inspect_swarm())
            spec, version = settings.edited(found["Spec"]), found["Version"]["Index"]
            self.ask(lambda api: api.api.update_swarm(version, spec))

        self.submit(write, what=f"the swarm's {settings}", within=_FORMED_WITHIN)

    def unlock_key(self) -> str:
        """Return the key by which a locked manager starts; "" when autolock is off."""
        return str(self.ask(lambda api: api.api.get_unlock_key()).get("UnlockKey", ""))

    def unlock(self, node: Node, key: str) -> None:
        """Unlock a manager that was restarted; :class:`NoAnswer` when its engine refuses."""
        ask(node, lambda api: api.swarm.unlock(key))

    def _respecify(self, node: Node, change: Mapping[str, Any], *, what: str) -> None:
        def write() -> None:
            member = self.member(node)
            attrs = self.ask(lambda api: api.api.inspect_node(member.id))
            spec = {**attrs["Spec"], **change}
            self.ask(lambda api: api.api.update_node(member.id, attrs["Version"]["Index"], spec))

        self.submit(write, what=what, within=_FORMED_WITHIN)

    def join(self, node: Node, *, token: str, through: Node) -> None:
        """Have a node join; raise :class:`NoAnswer` when its engine refuses."""
        address = f"{through.address}:{_CLUSTER_PORT}"
        ask(
            node,
            lambda api: api.swarm.join(
                remote_addrs=[address], join_token=token, advertise_addr=node.address
            ),
        )

    # -- when its majority is lost for good ----------------------------------------------------

    def force_new_cluster(self, node: Node, *, within: float = _FORMED_WITHIN) -> None:
        """Have a manager go on alone (``swarm init --force-new-cluster``) from its own state.

        Services, tasks and workers stay; the other managers are managers no longer, whatever
        they think. Raise :class:`NoAnswer` when the engine refuses or does not answer in time.
        """
        with _patient(node, within) as patient:
            # Of the low-level client: the other one first asks for the swarm, which has no answer.
            ask(
                node,
                lambda api: api.api.init_swarm(node.address, force_new_cluster=True),
                patient,
            )

    def leave(self, node: Node, *, within: float = _FORMED_WITHIN) -> None:
        """Have a node leave by force: the last resort for one that the swarm has given up."""
        with _patient(node, within) as patient:
            ask(node, lambda api: api.api.leave_swarm(force=True), patient)

    def forget(self, node: Node, *, by: Node | None = None) -> None:
        """Remove a node from the list of members.

        After :meth:`force_new_cluster`, remove the lost managers before they are started
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

    # -- using it ------------------------------------------------------------------------------

    def create(self, workload: Workload | Stack) -> Deployment:
        """Create a workload's networks and services, and return at once.

        Raise :class:`NoAnswer` if one is refused; of a stack, which Docker's command line deploys,
        :class:`SwarmError` with its words.
        """
        if isinstance(workload, Stack):
            return stacks.create(self, workload)
        return deployment.create(self, workload)

    def deploy(self, workload: Workload | Stack, *, within: float = 120.0) -> Deployment:
        """Create a workload's networks and services and wait ``within`` seconds until it serves.

        Raise :class:`SwarmError` with what was missing when it does not.
        """
        deadline = Deadline(within)
        try:
            made = self.create(workload)
        except NoAnswer as error:
            described = workload.workload if isinstance(workload, Stack) else workload
            raise deployment.did_not_serve(described, error) from error
        deployment.serve(made, within=deadline.remaining)
        return made

    def serve(self, workload: Workload, *, deployed: bool) -> None:
        """Have the swarm serve a workload from the beginning: deploy it, or find it deployed."""
        self._serving = deployment.find(self, workload) if deployed else self.deploy(workload)

    @property
    def serving(self) -> Deployment:
        """The workload that the scenario's mark names: ``swarm(..., serving=balanced_web())``."""
        if self._serving is None:
            raise SwarmError(
                "this swarm serves nothing yet",
                hint="name a workload in the scenario's mark, swarm(serving=...), or deploy one",
            )
        return self._serving


@contextmanager
def _patient(node: Node, within: float) -> Iterator[DockerClient]:
    """A client for requests that may take longer than a node's own client waits."""
    client = node.client(timeout=math.ceil(within))
    try:
        yield client
    finally:
        client.close()
