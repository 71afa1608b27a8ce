"""The fabric's network namespace: programs that run in it, and what they report.

All traffic between nodes and client hosts passes the bridge there, so a rule or a qdisc in this one
namespace reaches gossip, VXLAN and raft alike, whichever engine runs. It belongs to the lab alone
and goes with it: nothing of a link fault is ever made on the host or inside a node.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.errors import FaultError, LabError, MissingError
from harness.lab import Completed, Lab
from harness.lab.network import NetworkDoor
from harness.lab.nsenter import complete, entering

#: Real seconds for one of nft's or tc's transactions, which take some hundredths.
_PATIENCE = 30.0


class Fabric:
    """The fabric of one lab. Errors of the programs come as :class:`FaultError`."""

    def __init__(self, lab: Lab) -> None:
        self._keeper = lab.here.keeper.keeper

    def nft(self, script: str) -> None:
        """Apply a script of nft as one transaction: all of it or nothing."""
        self._run(["nft", "-f", "-"], script).check("the fabric")

    def refusal(self, script: str) -> str:
        """Return why nft would refuse a script; "" if it would not. Nothing is touched."""
        tried = self._run(["nft", "--check", "-f", "-"], script)
        return "" if tried.code == 0 else _first_line(tried)

    def accepts(self, script: str) -> bool:
        """Apply a script; return False if the kernel refused it (its name is taken, say)."""
        return self._run(["nft", "-f", "-"], script).code == 0

    def tables(self) -> frozenset[str]:
        """Return the names of the bridge tables that there are."""
        listed = self._json(["nft", "-j", "list", "tables", "bridge"])["nftables"]
        return frozenset(entry["table"]["name"] for entry in listed if "table" in entry)

    def counters(self, table: str) -> dict[str, int]:
        """Return packets by named counter of a bridge table; empty if there is no such table."""
        listed = self._run(["nft", "-j", "list", "counters", "table", "bridge", table])
        if listed.code != 0:
            return {}
        entries = json.loads(listed.stdout)["nftables"]
        return {
            entry["counter"]["name"]: entry["counter"]["packets"]
            for entry in entries
            if "counter" in entry
        }

    def tc(self, commands: Sequence[str]) -> None:
        """Run commands of tc, one after the other, up to the first that fails."""
        self._run(["tc", "-batch", "-"], "\n".join(commands) + "\n").check("the fabric")

    def qdiscs(self) -> list[dict[str, Any]]:
        """Return all qdiscs on the fabric with their statistics, as tc reports them."""
        listed: list[dict[str, Any]] = self._json(["tc", "-s", "-j", "qdisc", "show"])
        return listed

    def door(self) -> NetworkDoor:
        """Return a door into the namespace, for sockets of this process; close it."""
        return NetworkDoor(self._keeper, "fabric")

    def _json(self, argv: Sequence[str]) -> Any:
        return json.loads(self._run(argv).check("the fabric").stdout or b"{}")

    def _run(self, argv: Sequence[str], script: str | None = None) -> _Completed:
        try:
            done = complete(
                entering(self._keeper, ("net",), argv),
                shown=argv,
                where="the fabric",
                stdin=script.encode() if script is not None else None,
                timeout=_PATIENCE,
            )
        except LabError as error:
            raise FaultError(error.what) from error
        if done.code == 127:
            package = {"nft": "nftables", "tc": "iproute2"}[argv[0]]
            raise MissingError(
                f"network faults need {argv[0]}, which is not on this machine",
                hint=f"apt-get install {package}",
            )
        return _Completed(done)


class _Completed:
    """How one of the programs ended; its failure is a :class:`FaultError`."""

    def __init__(self, done: Completed) -> None:
        self._done = done
        self.code = done.code
        self.stdout = done.stdout

    def check(self, where: str) -> _Completed:
        if self._done.code != 0:
            raise FaultError(f"on {where}, {self._done.argv[0]} refused: {_first_line(self)}")
        return self

    @property
    def message(self) -> str:
        return self._done.stderr.decode(errors="replace").strip() or self._done.text


def _first_line(done: _Completed) -> str:
    return (done.message.splitlines() or ["no message"])[0]
