"""The fabric's network namespace: programs that run in it, and what they report.

All traffic between nodes and client hosts passes the bridge there, so a rule or a qdisc in this one
namespace reaches gossip, VXLAN and raft alike, whichever engine runs. It belongs to the lab alone
and goes with it: nothing of a link fault is ever made on the host or inside a node.

Where the fabric spans machines it has a bridge on each. Rules are then made on all, and each
frame is decided on by one of them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import FaultError, LabError, MissingError
from harness.lab import Completed, Lab
from harness.lab.network import NetworkDoor

if TYPE_CHECKING:
    from harness.lab.protocols import FabricPart

T = TypeVar("T")

#: Real seconds for one of nft's or tc's transactions, which take some hundredths.
_PATIENCE = 30.0


class Fabric:
    """The fabric of one lab. Errors of the programs come as :class:`FaultError`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._parts = tuple(lab.fabric)

    def nft(self, script: str) -> None:
        """Apply a script of nft as one transaction a bridge: all of it or nothing."""
        for done in self._each(lambda part: _run(part, ["nft", "-f", "-"], _for(part, script))):
            done.check("the fabric")

    def refusal(self, script: str) -> str:
        """Return why nft would refuse a script; "" if it would not. Nothing is touched."""
        for tried in self._each(
            lambda part: _run(part, ["nft", "--check", "-f", "-"], _for(part, script))
        ):
            if tried.code != 0:
                return _first_line(tried)
        return ""

    def accepts(self, script: str) -> bool:
        """Apply a script; return False if a kernel refused it (its name is taken, say).

        Where one of several bridges refused it, it is left on none.
        """
        done = self._each(lambda part: _run(part, ["nft", "-f", "-"], _for(part, script)))
        refused = [each.code != 0 for each in done]
        if any(refused) and (made := _MADE.search(script)):
            for part, no in zip(self._parts, refused, strict=True):
                if not no:
                    _run(part, ["nft", "delete", "table", "bridge", made[1]])
        return not any(refused)

    def tables(self) -> frozenset[str]:
        """Return the names of the bridge tables that there are."""
        listed = self._each(
            lambda part: _json(part, ["nft", "-j", "list", "tables", "bridge"])["nftables"]
        )
        return frozenset(e["table"]["name"] for each in listed for e in each if "table" in e)

    def counters(self, table: str) -> dict[str, int]:
        """Return packets by named counter of a bridge table; empty if there is no such table."""
        found: Counter[str] = Counter()
        for listed in self._each(
            lambda part: _run(part, ["nft", "-j", "list", "counters", "table", "bridge", table])
        ):
            for entry in json.loads(listed.stdout)["nftables"] if listed.code == 0 else ():
                if "counter" in entry:
                    found[entry["counter"]["name"]] += entry["counter"]["packets"]
        return dict(found)

    def tc(self, commands: Sequence[str]) -> None:
        """Run commands of tc, one after the other, up to the first that fails."""
        done = _run(self._only, ["tc", "-batch", "-"], "\n".join(commands) + "\n")
        done.check("the fabric")

    def qdiscs(self) -> list[dict[str, Any]]:
        """Return all qdiscs on the fabric with their statistics, as tc reports them."""
        listed: list[dict[str, Any]] = _json(self._only, ["tc", "-s", "-j", "qdisc", "show"])
        return listed

    def door(self) -> NetworkDoor:
        """Return a door into the namespace, for sockets of this process; close it."""
        return NetworkDoor(self._lab.here.keeper.keeper, "fabric")

    @property
    def _only(self) -> FabricPart:
        """The one bridge: a qdisc is on the port of one, and has to see all that leaves by it."""
        if len(self._parts) > 1:
            raise FaultError(
                "queues are set up on a fabric of one bridge, and this one spans machines: "
                "cuts and losses can be injected there, delays and rates cannot"
            )
        return self._parts[0]

    def _each(self, work: Callable[[FabricPart], T]) -> list[T]:
        """Ask every bridge, all at once."""
        if len(self._parts) == 1:
            return [work(self._parts[0])]
        with ThreadPoolExecutor(len(self._parts)) as pool:
            return list(pool.map(work, self._parts))


#: Every script that makes a table begins with it.
_MADE = re.compile(r"^create table bridge (\S+)$", re.MULTILINE)


def _for(part: FabricPart, script: str) -> str:
    """Return a script with, where it makes a table, what the bridge must let pass in it."""
    if (made := _MADE.search(script)) is None:
        return script
    rules = (f"insert rule bridge {made[1]} forward {match} accept\n" for match in part.passing)
    return script + "".join(rules)


def _json(part: FabricPart, argv: Sequence[str]) -> Any:
    return json.loads(_run(part, argv).check("the fabric").stdout or b"{}")


def _run(part: FabricPart, argv: Sequence[str], script: str | None = None) -> _Completed:
    try:
        done = part.run_on_fabric(
            argv, stdin=script.encode() if script is not None else None, timeout=_PATIENCE
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
