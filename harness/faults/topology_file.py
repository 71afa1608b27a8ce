"""A swarm's topology in a file: engines, labels, limits, links and failure domains.

::

    name = "two-sites"
    nodes = "3m2w"                           # as in --topology 3m2w

    [domain]                                 # nodes that fail together; each gets the label domain
    east = ["m1", "m2", "w1"]
    west = ["m3", "w2"]

    [node.managers]                          # a role, or one node, whose own goes first
    engine = "20.10.24"

    [node.w1]
    labels = { disk = "ssd" }
    memory = "768MiB"
    cpus = 0.5

    [[link]]                                 # both ways
    between = ["east", "west"]               # nodes, roles, domains; "*" is all the others
    delay = "20ms"
    jitter = "2ms"
    loss = "0.1%"

Limits and links are faults of the catalogue that hold from the swarm's beginning on, so each is
proven, and what contradicts one is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from harness.engine import resolve
from harness.errors import UsageError
from harness.faults.toml_file import position, read_tables
from harness.lab import Topology
from harness.lab.topology import ROLES, Place

DOMAIN = "domain"
"""The label that says which failure domain a node is in."""

REST = "*"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME = 32
_SUFFIXES = (".toml", ".json")
_ID = re.compile(rf"@{_NAME.pattern}-[0-9a-f]{{8}}$")


class NodeTable(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True
):
    """``[node.w1]`` or ``[node.workers]``: what one node, or all of a role, have of their own."""

    engine: str | None = None
    labels: dict[str, str] = {}
    memory: str | None = None
    cpus: float | None = None


class LinkTable(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True
):
    """``[[link]]``: what packets between two groups meet, both ways."""

    between: tuple[str, str]
    delay: str | None = None
    jitter: str | None = None
    loss: str | None = None


@dataclass(frozen=True)
class Standing:
    """A fault that holds from the swarm's beginning on, as text."""

    fault: str
    target: str
    parameters: Mapping[str, str]


class TopologyFile(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True
):
    """A whole file; its JSON Schema is ``docs/schema/topology.schema.json``."""

    name: str
    nodes: str
    domain: dict[str, list[str]] = {}
    node: dict[str, NodeTable] = {}
    link: list[LinkTable] = []

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; :class:`UsageError` with line and column for what is wrong."""
        text, raw = read_tables(path)
        return cls._converted(raw, text if path.suffix != ".json" else "", str(path))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what :attr:`text` gave."""
        return cls._converted(json.loads(text), "", "the topology")

    @classmethod
    def _converted(cls, raw: Any, text: str, name: str) -> Self:
        try:
            _convert_tables(raw)  # msgspec does not say which one of a table of tables is wrong
            found = msgspec.convert(raw, cls)
            _check(found)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$")
            raise UsageError(f"{name}{position(text, place.rstrip('`'))}: {what}") from error
        return found

    # -- what it says --------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All of it as one line of JSON, the same for all files that say the same."""
        return msgspec.json.encode(self, order="sorted").decode()

    @property
    def id(self) -> str:
        """Its name, and eight digits of the sha256 over what it says."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    @property
    def engine(self) -> str | None:
        """The first manager's engine, which is that of all nodes without one; None: not said."""
        return self.node_table("m1").engine

    @property
    def engines(self) -> dict[str, str]:
        """Each node's engine, where it is not :attr:`engine` nor left open."""
        found = {place.name: self.node_table(place.name).engine for place in self._places()}
        return {node: engine for node, engine in found.items() if engine not in (None, self.engine)}

    @property
    def topology(self) -> Topology:
        """Its nodes and their engines."""
        return Topology.parse(self.nodes).with_engines(self.engines)

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """Labels by node, that of its failure domain included; spares are in no swarm."""
        domains = {node: {DOMAIN: name} for name, group in self.domain.items() for node in group}
        found = {
            place.name: domains.get(place.name, {}) | self.node_table(place.name).labels
            for place in self._places()
            if place.role != "spare"
        }
        return {node: labels for node, labels in found.items() if labels}

    @property
    def standing(self) -> list[Standing]:
        """The limits of nodes, and what links do."""
        limits = [_limits(each.name, self.node_table(each.name)) for each in self._places()]
        return [*chain(*(each.values() for each in limits)), *map(self._of_link, self.link)]

    @property
    def is_bare(self) -> bool:
        """Whether it says nothing but which nodes there are, and their engines."""
        return not self.labels and not self.standing

    def node_table(self, name: str) -> NodeTable:
        """Return what holds for a node: its own, then its role's."""
        role = next(r for r in ROLES if ROLES[r][0] == name[0])
        own, of_role = (self.node.get(key, NodeTable()) for key in (name, role))
        return NodeTable(
            engine=own.engine or of_role.engine,
            labels={**of_role.labels, **own.labels},
            memory=own.memory or of_role.memory,
            cpus=of_role.cpus if own.cpus is None else own.cpus,
        )

    def with_engines(self, engines: Mapping[str, str]) -> Self:
        """Return it with engines for roles; :class:`UsageError` if it names engines itself."""
        if not engines:
            return self
        if any(table.engine for table in self.node.values()):
            raise UsageError(
                f"--engine gives roles an engine, and so does the topology {self.name}",
                hint="leave one of them away",
            )
        tables = {
            role: replace(self.node.get(role, NodeTable()), engine=engine)
            for role, engine in engines.items()
        }
        return replace(self, node={**self.node, **tables})

    def default_engine(self, asked: Sequence[str]) -> Sequence[str]:
        """Return the engines for nodes without one of their own: those asked for, or the file's.

        Raises :class:`UsageError` where both name one, and not the same.
        """
        if self.engine is None:
            return asked
        if asked and list(asked) != [self.engine]:
            raise UsageError(
                f"--engine {','.join(asked)}: the topology {self.name} says that m1 has "
                f"{self.engine}",
                hint="leave --engine away, or the engine in the file",
            )
        return (self.engine,)

    def end(self, name: str) -> list[str]:
        """Return the nodes at the end of a link; none for all the others."""
        if name == REST:
            return []
        if name in self.domain:
            return self.domain[name]
        return [place.name for place in self._places() if name in (place.name, f"{place.role}s")]

    def _places(self) -> Sequence[Place]:
        return list(Topology.parse(self.nodes).places())

    def _of_link(self, link: LinkTable) -> Standing:
        left, right = (" ".join(self.end(name)) or REST for name in link.between)
        given = {"delay": link.delay, "jitter": link.jitter, "loss": link.loss}
        texts = {name: text for name, text in given.items() if text is not None}
        if link.delay is None and link.loss is not None:  # done by rules: every kernel has these
            return Standing("network-loss", f"{left} <-> {right}", {"share": link.loss})
        return Standing("network-impaired", f"{left} <-> {right}", texts)


def given_topology(written: str, folder: Path = Path()) -> tuple[Topology, TopologyFile | None]:
    """Return the nodes that ``--topology`` asks for, and the file if it names one.

    ``folder`` is what a relative path counts from. A file may also be given as its text
    (:attr:`TopologyFile.text`), for workers and guests that have none.
    """
    if written.startswith("{"):
        file = TopologyFile.parse(written)
    elif written.endswith(_SUFFIXES):
        file = TopologyFile.load(folder / written)
    else:
        topology = Topology.parse(written)
        for name in topology.engines.values():
            resolve(name)
        return topology, None
    return file.topology, file


def given_swarm(written: str, engine: str | None) -> tuple[Topology, str, TopologyFile | None]:
    """Return the nodes, the engine of those without one of their own, and the file if one is named.

    ``engine`` is what was asked for; None: whatever is usual.
    """
    topology, file = given_topology(written)
    asked = [] if engine is None else [engine]
    [first] = (file.default_engine(asked) if file else asked) or ["stable"]
    return topology, first, file


def recorded_nodes(written: str) -> Topology:
    """Return the nodes of a trial's record: ``3m2w``, or ``3m2w@two-sites-1a2b3c4d`` of a file."""
    return Topology.parse(_ID.sub("", written))


def _limits(node: str, table: NodeTable) -> dict[str, Standing]:
    """Return a node's limits by their keys in the file."""
    found = {}
    if table.memory is not None:
        found["memory"] = Standing("memory-limited", node, {"limit": table.memory})
    if table.cpus is not None:
        found["cpus"] = Standing("cpu-limited", node, {"share": f"{table.cpus:g}"})
    return found


# -- whether it can be meant ---------------------------------------------------------------------


def _convert_tables(raw: Any) -> None:
    tables = raw.get("node", {}) if isinstance(raw, dict) else {}
    for key, table in tables.items() if isinstance(tables, dict) else ():
        try:
            msgspec.convert(table, NodeTable)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$")
            raise _wrong(what, f"node.{key}{place.rstrip('`')}") from None


def _check(found: TopologyFile) -> None:
    if not _NAME.fullmatch(found.name) or len(found.name) > _LONGEST_NAME:
        raise _wrong(
            f"{found.name!r} is not a valid name: give lower-case letters, digits and hyphens, "
            f"at most {_LONGEST_NAME}",
            "name",
        )
    with _at("nodes"):
        if Topology.parse(found.nodes).engines:
            raise UsageError("engines are given below, in [node.workers] or [node.w1]")
    names = {place.name: place.role for place in Topology.parse(found.nodes).places()}
    _check_domains(found, names)
    for key, table in found.node.items():
        _check_node(found, names, key, table)
    for number, link in enumerate(found.link):
        _check_link(found, number, link)


def _check_domains(found: TopologyFile, names: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, group in found.domain.items():
        where = f"domain.{name}"
        if not re.fullmatch(r"[\w.-]+", name) or name in (*names, *ROLES, REST):
            raise _wrong(f"{name!r} is not a valid name of a failure domain", where)
        if not group:
            raise _wrong(f"the failure domain {name} has no nodes", where)
        for node in group:
            if node not in names:
                raise _wrong(f"there is no node {node!r}: there are {', '.join(names)}", where)
            if node in seen:
                raise _wrong(f"{node} is in {seen[node]} already: a node has one domain", where)
            seen[node] = name


def _check_node(found: TopologyFile, names: Mapping[str, str], key: str, table: NodeTable) -> None:
    where = f"node.{key}"
    if key not in names and not (key in ROLES and ROLES[key] in names.values()):
        roles = [role for role in ROLES if ROLES[role] in names.values()]
        raise _wrong(f"there is no node {key!r}: there are {', '.join([*names, *roles])}", where)
    if table.engine is not None:
        with _at(f"{where}.engine"):
            resolve(table.engine)
    if table.labels and ROLES.get(key, names.get(key)) == "spare":
        raise _wrong("a spare is in no swarm, and has no labels", f"{where}.labels")
    if "" in table.labels:
        raise _wrong("a label needs a name", f"{where}.labels")
    if DOMAIN in table.labels and found.domain:
        raise _wrong(f"the label {DOMAIN} says what [domain] does", f"{where}.labels")
    for limit, standing in _limits("m1", table).items():
        _check_standing(standing, f"{where}.{limit}")


def _check_link(found: TopologyFile, number: int, link: LinkTable) -> None:
    where = f"link[{number}]"
    ends = []
    for name in link.between:
        if name != REST and not found.end(name):
            raise _wrong(f"there is no node, role or domain {name!r}", f"{where}.between")
        ends.append(set(found.end(name)))
    if link.between == (REST, REST) or (both := ends[0] & ends[1]) or not any(ends):
        which = ", ".join(sorted(both)) if link.between != (REST, REST) else "all"
        raise _wrong(f"there is no link from {which} to itself", f"{where}.between")
    nodes = {place.name for place in found._places()}
    if REST in link.between and len(nodes) > 1 and nodes in ends:
        raise _wrong(
            "all nodes are at one end: nothing is at the other but client hosts",
            f"{where}.between",
        )
    if link.jitter is not None and link.delay is None:
        raise _wrong("jitter is around a delay: give one", f"{where}.jitter")
    if link.delay is None and link.loss is None:
        raise _wrong("it does nothing: give a delay or a loss", f"{where}.between")
    _check_standing(found._of_link(link), where)
    for before, other in enumerate(found.link[:number]):
        if link.delay and other.delay and (pairs := _pairs(found, link) & _pairs(found, other)):
            source, destination = min(pairs)
            raise _wrong(
                f"link {before + 1} is from {source} to {destination}, too: "
                "a packet cannot be delayed twice",
                f"{where}.between",
            )


def _check_standing(standing: Standing, where: str) -> None:
    from harness.faults.catalogue import kind_of, read_parameters  # it brings all faults

    with _at(where):
        read_parameters(kind_of(standing.fault), dict(standing.parameters))


def _pairs(found: TopologyFile, link: LinkTable) -> set[tuple[str, str]]:
    """The link's single links among the nodes and ``*``, which stands for what is no node."""
    everybody = {*(place.name for place in found._places()), REST}
    a, b = (set(found.end(name)) for name in link.between)
    a, b = a or everybody - b, b or everybody - a
    return {(min(x, y), max(x, y)) for x in a for y in b}


class _at:  # noqa: N801 - used like a function
    """Have a :class:`UsageError` of the block say where in the file it is."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, UsageError):
            raise _wrong(error.what + (f" ({error.hint})" if error.hint else ""), self._place)


def _wrong(what: str, place: str) -> msgspec.ValidationError:
    return msgspec.ValidationError(f"{what} - at `$.{place}`")
