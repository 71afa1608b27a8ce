"""Targets by words: names, roles in the swarm, links between groups, tasks of services.

Who a role is, is asked when a fault is made and not before: "leader" in a schedule is whoever
leads at that moment. What was found is on record with the fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import SwarmError, UsageError
from harness.faults.fault import Fault
from harness.faults.links import Direction, Links
from harness.faults.network.partition_shapes import SHAPES
from harness.faults.network.partition_shapes import groups as apart
from harness.lab import NamespacesLab, Node
from harness.swarm import Swarm

Choice = Callable[[Swarm], list[Node]]

ROLES: Mapping[str, tuple[Choice, str]] = {
    "leader": (lambda swarm: [swarm.leader], "the manager that leads"),
    "follower": (lambda swarm: [swarm.a_follower()], "one manager that does not, by the seed"),
    "followers": (lambda swarm: swarm.followers, "all managers that do not lead"),
    "managers": (lambda swarm: swarm.managers, "all managers"),
    "worker": (lambda swarm: [swarm.a_worker()], "one worker, by the seed"),
    "workers": (lambda swarm: swarm.workers, "all workers"),
    "minority": (lambda swarm: swarm.minority(), "as many managers as can be lost, by the seed"),
    "majority": (lambda swarm: _majority(swarm), "as many managers as cannot be lost"),
    "members": (lambda swarm: swarm.all_but(), "every member of the swarm"),
}
"""Words for members by their role: how they are found, and what they mean."""

_RUNS = "runs:"
_LINK = re.compile(r"(?P<left>[^<>]+?)\s*(?P<arrow><->|->|<-)\s*(?P<right>[^<>]+)")
_SHAPE = re.compile(rf"(?P<shape>{'|'.join(SHAPES)}) of (?P<group>.+)")
_DIRECTIONS: Mapping[str, Direction] = {"<->": "both", "->": "out", "<-": "in"}
_REST = "*"


class Targets:
    """Finds what words name in one lab and its swarm; ``services`` are outside ones, by name."""

    def __init__(
        self, lab: NamespacesLab, swarm: Swarm | None, services: Mapping[str, object] | None = None
    ) -> None:
        self.lab = lab
        self.swarm = swarm
        self.services = dict(services or {})

    def find(self, kind: type[Fault], words: str) -> list[Any]:
        """The targets that ``words`` name for a kind of fault: each gets a fault of its own.

        Raises :class:`UsageError` when nothing is named so.
        """
        match kind.acts_on:
            case "node":
                return self.nodes(words)
            case "links":
                return [self.links(words)]
            case "service":
                return [self.service(words)]
            case "swarm":
                return [self._swarm(words)]
            case "task":
                raise UsageError(f"the fault {kind.name} acts on tasks, which have no words yet")

    def nodes(self, words: str) -> list[Node]:
        """Nodes by names and roles (``w1 w2``, ``leader``, ``runs:app``), each once."""
        found: dict[str, Node] = {}
        for word in words.replace(",", " ").split():
            for node in self._nodes_of(word):
                found[node.name] = node
        if not found:
            raise UsageError(f"{words!r} names no node")
        return list(found.values())

    def links(self, words: str) -> Links:
        """Links as ``w1 <-> m1 m2``, ``leader -> *``; ``w1`` is ``w1 <-> *``; more by commas.

        ``m1 | m2 w1``, ``halves of managers`` (``bridge of``, ``ring of``): the links that such a
        partition cuts.
        """
        parts = [part.strip() for part in words.split(",") if part.strip()]
        if not parts:
            raise UsageError(f"{words!r} names no link")
        first, *rest = [self._links_of(part) for part in parts]
        for more in rest:
            first |= more
        return first

    def service(self, words: str) -> object:
        """An outside service by its name."""
        if words in self.services:
            return self.services[words]
        raise UsageError(
            f"there is no outside service {words!r}",
            hint=f"there are: {', '.join(self.services)}" if self.services else "there are none",
        )

    def _links_of(self, part: str) -> Links:
        if "|" in part:
            groups = [self._places(group) for group in part.split("|")]
            words = " | ".join(" ".join(sorted(group)) for group in groups)
            return Links.single(self.lab, apart(*groups), words=words)
        if shaped := _SHAPE.fullmatch(part):
            names = list(dict.fromkeys(self._places(shaped["group"])))
            words = f"{shaped['shape']} of {' '.join(names)}"
            return Links.single(self.lab, SHAPES[shaped["shape"]](names), words=words)
        match = _LINK.fullmatch(part)
        left, arrow, right = (
            match.group("left", "arrow", "right") if match else (part, "<->", _REST)
        )
        if left.strip() == _REST:
            left, right = right, left
            arrow = {"->": "<-", "<-": "->"}.get(arrow, arrow)
        return Links.among(
            self.lab,
            self._places(left),
            () if right.strip() == _REST else self._places(right),
            direction=_DIRECTIONS[arrow],
        )

    def _places(self, words: str) -> list[str]:
        """Names of nodes and client hosts."""
        found = []
        for word in words.split():
            if word in self.lab.client_hosts:
                found.append(word)
            else:
                found.extend(node.name for node in self._nodes_of(word))
        if not found:
            raise UsageError(f"{words!r} names nobody on the fabric")
        return found

    def _nodes_of(self, word: str) -> list[Node]:
        if word in self.lab.nodes:
            return [self.lab.nodes[word]]
        if word in ROLES:
            choice, _ = ROLES[word]
            if nodes := choice(self._swarm(word)):
                return nodes
            raise SwarmError(f"the swarm has no {word}")
        if word.startswith(_RUNS):
            return self._running(word.removeprefix(_RUNS))
        raise UsageError(
            f"there is no node {word!r}",
            hint=f"nodes: {', '.join(self.lab.nodes)}; roles: {', '.join(ROLES)}, runs:SERVICE",
        )

    def _running(self, service: str) -> list[Node]:
        """One node that runs a task of a service; which one, the seed decides."""
        swarm = self._swarm(f"{_RUNS}{service}")
        names = {member.id: member.name for member in swarm.members()}
        tasks = swarm.ask(lambda api: api.api.tasks(filters={"service": service}))
        running = sorted(
            {
                names[task["NodeID"]]
                for task in tasks
                if task["Status"]["State"] == "running" and task.get("NodeID") in names
            }
        )
        if not running:
            raise SwarmError(f"no node runs a task of {service}")
        return [self.lab.node(swarm.random.choice(running))]

    def _swarm(self, words: str) -> Swarm:
        if self.swarm is None:
            raise UsageError(f"{words!r} is asked of a swarm, and these nodes are in none")
        return self.swarm


def _majority(swarm: Swarm) -> list[Node]:
    lost = {node.name for node in swarm.minority()}
    return [node for node in swarm.managers if node.name not in lost]
