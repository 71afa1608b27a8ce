"""Topology: how many managers, workers and spares, and which engine runs on which node.

A topology is written ``3m2w1s``: three managers, two workers, one spare. A spare runs its
dockerd but has not joined the swarm. Nodes are named ``m1 m2 m3 w1 w2 s1``, in that order.
Engines other than the trial's own follow, by role or by node: ``3m2w,workers=28.5.2,m3=20.10.24``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.errors import UsageError

PlannedRole = Literal["manager", "worker", "spare"]

#: The fabric is one /24 and keeps the low addresses for clients and external services.
MOST_NODES = 100

ROLES: dict[str, PlannedRole] = {"managers": "manager", "workers": "worker", "spares": "spare"}
"""The nodes of a role, as they are called in the plural."""

_WRITTEN = re.compile(r"(?:(\d+)m)(?:(\d+)w)?(?:(\d+)s)?")


@dataclass(frozen=True)
class Place:
    """One node's place in a topology: its name, what it is planned to be, its number from 0."""

    name: str
    role: PlannedRole
    index: int


@dataclass(frozen=True)
class Topology:
    """``engines`` names another engine for single nodes: ``{"w1": "20.10.24"}``."""

    managers: int = 1
    workers: int = 0
    spares: int = 0
    engines: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.managers < 1:
            raise UsageError(
                f"a swarm cannot have {self.managers} managers", hint="give at least 1"
            )
        if self.workers < 0 or self.spares < 0:
            raise UsageError(f"a negative number of nodes: {self.workers}w{self.spares}s")
        if (total := self.managers + self.workers + self.spares) > MOST_NODES:
            raise UsageError(f"a lab cannot have {total} nodes", hint=f"give at most {MOST_NODES}")
        names = {place.name for place in self.places()}
        if strangers := sorted(self.engines.keys() - names):
            raise UsageError(
                f"engines are given for nodes that do not exist: {', '.join(strangers)}",
                hint=f"the nodes of {self} are {', '.join(sorted(names))}",
            )

    @classmethod
    def parse(cls, written: str) -> Topology:
        """Read ``3m2w1s`` or ``3m2w,workers=28.5.2``; :class:`UsageError` for anything else."""
        counts, *engines = (part.strip() for part in written.split(","))
        match = _WRITTEN.fullmatch(counts.lower())
        pairs = [part.partition("=")[::2] for part in engines]
        if not match or not all(name and engine for name, engine in pairs):
            raise UsageError(
                f"{written!r} is not a valid topology",
                hint="give one like 3m2w or 3m2w1s (managers, workers, spares), "
                "or with engines 3m2w,workers=28.5.2",
            )
        managers, workers, spares = (int(part or 0) for part in match.groups())
        return cls(managers, workers, spares).with_engines(dict(pairs))

    def with_engines(self, engines: Mapping[str, str]) -> Topology:
        """Return the same nodes with other engines, named by role (``workers``) or by node.

        A node's own goes before its role's.
        """
        by_node = {name: engine for name, engine in engines.items() if name not in ROLES}
        by_role = {ROLES[name]: engine for name, engine in engines.items() if name in ROLES}
        for place in self.places():
            if place.role in by_role:
                by_node.setdefault(place.name, by_role[place.role])
        return replace(self, engines={**self.engines, **by_node})

    def places(self) -> Iterator[Place]:
        """Every node's place, managers first, then workers, then spares."""
        index = 0
        counts: tuple[tuple[PlannedRole, int], ...] = (
            ("manager", self.managers),
            ("worker", self.workers),
            ("spare", self.spares),
        )
        for role, count in counts:
            for number in range(1, count + 1):
                yield Place(f"{role[0]}{number}", role, index)
                index += 1

    def warnings(self) -> tuple[str, ...]:
        """Return advice on this topology, as an operator of swarms would give it."""
        if self.managers % 2 == 0:
            tolerated = (self.managers - 1) // 2
            return (
                f"{self.managers} managers tolerate the loss of {tolerated}, no more than "
                f"{self.managers - 1} would: an even number of managers gains nothing",
            )
        return ()

    def __str__(self) -> str:
        text = f"{self.managers}m"
        text += f"{self.workers}w" if self.workers else ""
        text += f"{self.spares}s" if self.spares else ""
        return ",".join([text, *self._written_engines()])

    def _written_engines(self) -> Iterator[str]:
        for plural, role in ROLES.items():
            names = [place.name for place in self.places() if place.role == role]
            engines = [self.engines.get(name) for name in names]
            if engines and engines[0] is not None and len(set(engines)) == 1:
                yield f"{plural}={engines[0]}"
            else:
                yield from (f"{n}={e}" for n, e in zip(names, engines, strict=True) if e)
