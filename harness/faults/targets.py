"""Targets as people write them: names, roles in the swarm, links between groups, services.

A role is resolved when a fault is made and not before: "leader" in a schedule is whoever
leads at that moment. What was found is recorded with the fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import SwarmError, UsageError
from harness.faults.fault import Fault
from harness.faults.links import Direction, Links
from harness.faults.network.partition_shapes import SHAPES
from harness.faults.network.partition_shapes import groups as partition
from harness.lab import Lab, Node
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
"""Members by their role: how they are found, and what the role means."""

_RUNS = "runs:"
_LABEL = "label:"
_LINK = re.compile(r"(?P<left>[^<>]+?)\s*(?P<arrow><->|->|<-)\s*(?P<right>[^<>]+)")
_SHAPE = re.compile(rf"(?P<shape>{'|'.join(SHAPES)}) of (?P<group>.+)")
_DIRECTIONS: Mapping[str, Direction] = {"<->": "both", "->": "out", "<-": "in"}
_REST = "*"


class Targets:
    """Finds targets in one lab and its swarm; ``services`` are the external services, by name."""

    def __init__(
        self, lab: Lab, swarm: Swarm | None, services: Mapping[str, object] | None = None
    ) -> None:
        self.lab = lab
        self.swarm = swarm
        self.services = dict(services or {})

    def find(self, kind: type[Fault], text: str) -> list[Any]:
        """Return the targets that ``text`` names for a kind of fault: each gets its own fault.

        Raises :class:`UsageError` when nothing has that name.
        """
        match kind.acts_on:
            case "node":
                return self.nodes(text)
            case "links":
                return [self.links(text)]
            case "service":
                return [self.service(text)]
            case "swarm":
                return [self._swarm(text)]

    def nodes(self, text: str) -> list[Node]:
        """Return nodes by names and roles (``w1 w2``, ``leader``), each once.

        ``runs:app`` is one that runs a task of it, ``label:disk=ssd`` all that have the label.
        """
        found: dict[str, Node] = {}
        for word in text.replace(",", " ").split():
            for node in self._nodes_of(word):
                found[node.name] = node
        if not found:
            raise UsageError(f"{text!r} names no node")
        return list(found.values())

    def links(self, text: str) -> Links:
        """Return links: ``w1 <-> m1 m2``, ``leader -> *``; ``w1`` means ``w1 <-> *``; commas join.

        ``m1 | m2 w1``, ``halves of managers`` (``bridge of``, ``ring of``): the links that such a
        partition cuts. ``mesh of members``: the links between every two of them.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise UsageError(f"{text!r} names no link")
        first, *rest = [self._links_of(part) for part in parts]
        for more in rest:
            first |= more
        return first

    def service(self, text: str) -> object:
        """Return an external service by its name."""
        if text in self.services:
            return self.services[text]
        raise UsageError(
            f"there is no external service {text!r}",
            hint=f"there are: {', '.join(self.services)}" if self.services else "there are none",
        )

    def _links_of(self, part: str) -> Links:
        if "|" in part:
            groups = [self._places(group) for group in part.split("|")]
            shown = " | ".join(" ".join(sorted(group)) for group in groups)
            return Links.from_pairs(self.lab, partition(*groups), text=shown)
        if shaped := _SHAPE.fullmatch(part):
            names = list(dict.fromkeys(self._places(shaped["group"])))
            shown = f"{shaped['shape']} of {' '.join(names)}"
            return Links.from_pairs(self.lab, SHAPES[shaped["shape"]](names), text=shown)
        match = _LINK.fullmatch(part)
        left, arrow, right = (
            match.group("left", "arrow", "right") if match else (part, "<->", _REST)
        )
        if left.strip() == _REST:
            left, right = right, left
            arrow = {"->": "<-", "<-": "->"}.get(arrow, arrow)
        return Links.by_name(
            self.lab,
            self._places(left),
            () if right.strip() == _REST else self._places(right),
            direction=_DIRECTIONS[arrow],
        )

    def _places(self, text: str) -> list[str]:
        """Return names of nodes and client hosts."""
        found = []
        for word in text.split():
            if word in self.lab.client_hosts:
                found.append(word)
            else:
                found.extend(node.name for node in self._nodes_of(word))
        if not found:
            raise UsageError(f"{text!r} names no place on the fabric")
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
        if word.startswith(_LABEL):
            return self._labelled(word.removeprefix(_LABEL))
        raise UsageError(
            f"there is no node {word!r}",
            hint=f"nodes: {', '.join(self.lab.nodes)}; roles: {', '.join(ROLES)}, runs:SERVICE, "
            "label:NAME=VALUE",
        )

    def _labelled(self, label: str) -> list[Node]:
        """Return all members with a label, written ``name=value``."""
        name, sign, value = label.partition("=")
        if not name or not sign:
            raise UsageError(f"{label!r} is not a label: write {_LABEL}NAME=VALUE")
        members = self._swarm(f"{_LABEL}{label}").ask(lambda api: api.api.nodes())
        nodes = [
            self.lab.node(attrs["Description"]["Hostname"])
            for attrs in members
            if attrs["Spec"].get("Labels", {}).get(name) == value
        ]
        if not nodes:
            raise SwarmError(f"no member of the swarm has the label {label}")
        return sorted(nodes, key=lambda node: node.name)

    def _running(self, service: str) -> list[Node]:
        """Return one node that runs a task of a service, chosen by the seed."""
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

    def _swarm(self, text: str) -> Swarm:
        if self.swarm is None:
            raise UsageError(f"{text!r} needs a swarm, and these nodes are in none")
        return self.swarm


def _majority(swarm: Swarm) -> list[Node]:
    lost = {node.name for node in swarm.minority()}
    return [node for node in swarm.managers if node.name not in lost]
