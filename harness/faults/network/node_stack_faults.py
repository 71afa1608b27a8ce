"""Faults of what a node itself keeps about its network: connections, tracking, rules, neighbours.

The node's own programs do them, as an administrator or another program on it would by mistake. All
of it dies with the node's network namespace: after a restart of the node, or of its dockerd, there
is nothing left to undo.
"""

from __future__ import annotations

import json
from typing import Any

from harness.errors import FaultError, LabError, UsageError
from harness.faults.network import iptables_save
from harness.faults.network.link_fault import PLANE_HELP
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import PLANE, parameter, state
from harness.faults.planes import Plane, plane_of

#: Does something in each network namespace of a node: its own, and those of its sandboxes.
_EVERYWHERE = (
    "for ns in /proc/1/ns/net /run/docker/netns/*; do"
    ' [ -e "$ns" ] && nsenter --net="$ns" sh -c "$1" || exit 1; done'
)

#: A connection between two addresses that are for documents only (RFC 5737).
_MARKER = "-p udp -s 192.0.2.1 -d 192.0.2.2 --sport 9 --dport 9"


class ConnectionsReset(NodeFault):
    """A node's TCP connections of a plane end at once; both ends get a reset."""

    name = "connections-reset"
    summary = (
        "Ends a node's TCP connections of a plane with a reset, once; new ones are accepted as "
        "before."
    )
    proof = "none of the connections that there were is left; healed: there is nothing to undo"

    plane: str | Plane = parameter(PLANE, PLANE_HELP, default="ip")
    _open: set[str] = state(factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._plane.ports and not self._tcp_ports():
            raise UsageError(f"the plane {self.plane} has no TCP connections that could be reset")

    def describe(self) -> dict[str, Any]:
        """Return the node, the plane, and how many connections."""
        return {**super().describe(), "connections": len(self._open)}

    def precheck(self) -> None:
        """Require a connection to reset."""
        self.require_up()
        self._open = self._connections()
        if not self._open:
            raise FaultError(
                f"{self.node.name} has no TCP connection of the plane {self.plane} to be reset"
            )

    def apply(self) -> None:
        """Have the kernel destroy the sockets."""
        self.node.here.network_tool(["ss", "--kill", *self._query()])

    def evidence(self) -> str:
        """Check that none of those that there were is left."""
        if left := self._open & self._connections():
            raise FaultError(f"{len(left)} connections on {self.node.name} outlived their reset")
        return f"all connections that there were are gone: {len(self._open)}"

    def undo(self) -> None:
        """Do nothing: there is nothing to undo."""

    def evidence_of_healing(self) -> str:
        """Return that new connections come up by themselves."""
        return "there is nothing to undo"

    @property
    def _plane(self) -> Plane:
        return plane_of(self.plane)

    def _tcp_ports(self) -> list[int]:
        return [n for ports in self._plane.ports if ports.protocol == "tcp" for n in ports.numbers]

    def _query(self) -> list[str]:
        ports = self._tcp_ports()
        of_ports = " or ".join(f"dport = :{n} or sport = :{n}" for n in ports)
        chosen = ["(", *of_ports.split(), ")"] if ports else []
        return ["--no-header", "--tcp", "--numeric", "state", "established", *chosen]

    def _connections(self) -> set[str]:
        said = self.node.here.network_tool(["ss", *self._query()]).text
        return {" ".join(line.split()[2:4]) for line in said.splitlines()}


class ConntrackFlushed(NodeFault):
    """A node forgets all tracked connections: what is translated or balanced loses its way."""

    name = "conntrack-flushed"
    summary = (
        "Empties the connection tracking of a node, once, in all its network namespaces: "
        "translated and load-balanced connections break."
    )
    proof = "a marker that was put into each table is gone; healed: there is nothing to undo"

    _count: int = state(0)

    def precheck(self) -> None:
        """Require that the node is on, and has the program."""
        self.require_up()
        self._each("command -v conntrack >/dev/null")

    def apply(self) -> None:
        """Put a marker into each table, then empty it."""
        self._each(f"conntrack -D {_MARKER} >/dev/null 2>&1; conntrack -I {_MARKER} --timeout 600")
        self._count = sum(int(line) for line in self._each("conntrack -C").split())
        self._each("conntrack -F 2>/dev/null")

    def evidence(self) -> str:
        """Check that no marker is left."""
        try:
            self._each(f"! conntrack -L {_MARKER} 2>/dev/null | grep -q .")
        except FaultError:
            raise FaultError(f"tracked connections on {self.node.name} are still there") from None
        return f"the markers are gone, and {self._count} tracked connections in all"

    def undo(self) -> None:
        """Do nothing: there is nothing to undo."""

    def evidence_of_healing(self) -> str:
        """Return that connections are tracked again by themselves."""
        return "there is nothing to undo"

    def _each(self, script: str) -> str:
        try:
            return self.node.run(["sh", "-c", _EVERYWHERE, "sh", script]).text
        except LabError as error:
            raise FaultError(f"conntrack on {self.node.name}: {error.what}") from error


class FirewallRulesLost(NodeFault):
    """All of a node's own iptables rules vanish, those of dockerd with them."""

    name = "firewall-rules-lost"
    summary = (
        "Empties every iptables table (IPv4) of a node and sets its policies to ACCEPT, as a "
        "reload of firewalld does (moby#50443), unknown to dockerd. Healed by putting back "
        "what there was."
    )
    needs = ("iptables",)
    proof = "no rule is listed any more; healed: every rule that there was is listed"
    needed_to_heal = ("saved", "dockerd")

    saved: str = state("")
    """The rules that there were, as iptables-save writes them."""
    dockerd: int = state(0)
    """The pid of the dockerd that had written them."""

    def precheck(self) -> None:
        """Require rules to lose."""
        self.require_dockerd()
        self.saved = self._listed()
        self.dockerd = self.node.dockerd.pid
        if not iptables_save.rules_in(self.saved):
            raise FaultError(f"{self.node.name} has no iptables rule that could be lost")

    def apply(self) -> None:
        """Empty each table in one transaction."""
        self._restore(iptables_save.emptied(self.saved))

    def evidence(self) -> str:
        """Check that none of the rules is left."""
        if left := iptables_save.rules_in(self._listed()) & iptables_save.rules_in(self.saved):
            raise FaultError(f"{len(left)} iptables rules are still on {self.node.name}")
        return f"{len(iptables_save.rules_in(self.saved))} rules are gone"

    def undo(self) -> None:
        """Put back what is missing; what has been added since stays, before it.

        The rules of a dockerd that is gone are left to the next one, but not the policies: a
        dockerd sets FORWARD to DROP only where it finds forwarding off, and its predecessor has
        turned it on.
        """
        if self._same():
            self._restore(iptables_save.merged(self.saved, self._listed()))
        elif self.node.up:
            self._restore(iptables_save.only_policies(self.saved), "--noflush")

    def evidence_of_healing(self) -> str:
        """Check that all rules are back, or that the dockerd that needed them is gone."""
        if not self.node.up:
            return "the node is off, and its rules are gone with it"
        if missing := (
            iptables_save.policies_in(self.saved) - iptables_save.policies_in(self._listed())
        ):
            raise FaultError(f"{len(missing)} iptables policies are not back on {self.node.name}")
        if not self._same():
            return "the dockerd that had written them is gone, and the next one writes its own"
        if missing := iptables_save.rules_in(self.saved) - iptables_save.rules_in(self._listed()):
            raise FaultError(f"{len(missing)} iptables rules are not back on {self.node.name}")
        return f"{len(iptables_save.rules_in(self.saved))} rules are back"

    def _same(self) -> bool:
        return self.node.up and self.node.dockerd.alive and self.node.dockerd.pid == self.dockerd

    def _listed(self) -> str:
        return self.node.run(["iptables-save"]).text

    def _restore(self, script: str, *flags: str) -> None:
        self.node.run(["iptables-restore", "--wait", *flags], stdin=script.encode())


class NeighboursForgotten(NodeFault):
    """A node's overlay networks forget where the tasks of other nodes are."""

    name = "neighbours-forgotten"
    summary = (
        "Deletes the forwarding entries and neighbours that dockerd has put into a node's overlay "
        "networks for tasks on other nodes: these are there by name and cannot be reached. Healed "
        "by putting back what there was, where the network is still the same."
    )
    needs = ("vxlan",)
    proof = "none of the entries is listed any more; healed: they are"
    needed_to_heal = ("entries",)

    entries: list[list[str]] = state(factory=list)
    """Namespace (path and inode), then what iproute2's commands have after add and del."""

    def precheck(self) -> None:
        """Require entries."""
        self.require_up()
        self.entries = self._listed()
        if not self.entries:
            raise FaultError(
                f"the overlay networks of {self.node.name} have no task on another node"
            )

    def describe(self) -> dict[str, Any]:
        """Return the node, and how many entries."""
        return {**super().describe(), "entries": len(self.entries)}

    def apply(self) -> None:
        """Delete each entry."""
        for entry in self.entries:
            self._change("del", entry)

    def evidence(self) -> str:
        """Check that none of them is listed."""
        if left := [entry for entry in self._listed() if entry in self.entries]:
            raise FaultError(f"{len(left)} entries are still on {self.node.name}")
        return f"{len(self.entries)} entries are gone"

    def undo(self) -> None:
        """Put back those that are missing, in the networks that are still the same."""
        if not self.node.up:
            return
        there = self._listed()
        for entry in self.entries:
            if entry not in there and self._same(entry):
                self._change("replace", entry)

    def evidence_of_healing(self) -> str:
        """Check that those that could be put back are back."""
        if not self.node.up:
            return "the node is off, and its entries are gone with it"
        there = self._listed()
        expected = [entry for entry in self.entries if self._same(entry)]
        if missing := [entry for entry in expected if entry not in there]:
            raise FaultError(f"{len(missing)} entries are not back on {self.node.name}")
        return f"{len(expected)} of {len(self.entries)} entries are back" + (
            "" if len(expected) == len(self.entries) else ", the others' networks are gone"
        )

    def _listed(self) -> list[list[str]]:
        listing = (
            'for ns in /run/docker/netns/1-*; do [ -e "$ns" ] || continue;'
            ' echo "$ns $(stat -L -c %i "$ns")";'
            ' nsenter --net="$ns" bridge -j fdb show;'
            ' nsenter --net="$ns" ip -j neigh show nud permanent; done'
        )
        lines = [line for line in self.node.run(["sh", "-c", listing]).text.splitlines() if line]
        found: list[list[str]] = []
        place = ["", ""]
        for line in lines:
            if line.startswith("/"):
                place = line.split()
                continue
            commands = filter(None, map(_command_of, json.loads(line)))
            found.extend([*place, *command] for command in commands)
        return found

    def _same(self, entry: list[str]) -> bool:
        path, inode, *_ = entry
        return self.node.run(["stat", "-L", "-c", "%i", path], check=False).text == inode

    def _change(self, verb: str, entry: list[str]) -> None:
        path, _, program, thing, *arguments = entry
        argv = ["nsenter", f"--net={path}", program, thing, verb, *arguments]
        self.node.run(argv, check=verb != "del")


def _command_of(entry: dict[str, Any]) -> list[str]:
    """What iproute2 needs to make an entry again, if it is one that dockerd makes for a peer."""
    device = str(entry.get("dev") or entry.get("ifname") or "")
    if "mac" in entry and "dst" in entry and device.startswith("vxlan"):
        return ["bridge", "fdb", entry["mac"], "dev", device, "dst", entry["dst"], "self"]
    if "lladdr" in entry and device.startswith("vxlan"):
        arguments = [entry["dst"], "lladdr", entry["lladdr"], "dev", device, "nud", "permanent"]
        return ["ip", "neigh", *arguments]
    return []
