"""A machine that comes back as another one: with another address, without a network, or twice."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from harness.errors import FaultError
from harness.faults.host.rollback import copy_state, digests, kept_state, state_of
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.faults.parameter import DURATION, NAME, parameter, state
from harness.lab.network import PREFIX, node_address

#: Where nodes that were given another address have it: above all that a lab has by itself.
_OTHERS_FROM = 100
_OTHERS = 50

_NONLOCAL_BIND = Path("/proc/sys/net/ipv4/ip_nonlocal_bind")


class HostReaddressed(NodeFault):
    """A host loses its power and comes back with another address, as from DHCP or a cloud.

    Healed by rebooting it with the address it had.
    """

    name = "host-readdressed"
    summary = "A host loses its power and comes back with another address."
    proof = "the API answers and the host has the other address; healed: it has its own again"
    excludes = (DOCKERD,)
    recorded = ("address",)

    address: str = state("")
    _before: str = state("")

    def precheck(self) -> None:
        """Require a running dockerd, and an address that is free."""
        self.require_dockerd()
        self._before = self.node.address
        self.address = node_address(_OTHERS_FROM + self.node.here.place.index % _OTHERS)

    def apply(self) -> None:
        """Cut the power, and switch it on with the other address."""
        self._come_back_at(self.address)

    def evidence(self) -> str:
        """Check that it has that address, and that it answers."""
        return f"it has {self._address_of_link(self.address)} and no longer {self._before}, " + (
            self.answers()
        )

    def undo(self) -> None:
        """Cut the power again, and switch it on with the address it had."""
        if self._before and self.node.address != self._before:
            self._come_back_at(self._before)

    def evidence_of_healing(self) -> str:
        """Check that it has its own address again, and that it answers."""
        return f"it has {self._address_of_link(self._before)} again, {self.answers()}"

    def _come_back_at(self, address: str) -> None:
        if self.node.up:
            self.node.kill()
        self.node.here.address = address
        self.node.start()

    def _address_of_link(self, wanted: str) -> str:
        if wanted not in (said := _addresses(self)):
            raise FaultError(f"{self.node.name} does not have {wanted}: {said.strip()}")
        return wanted


class NetworkLate(NodeFault):
    """A host loses its power, and its dockerd starts before the network does: there is no address.

    It comes ``late`` seconds after dockerd was started. Whether dockerd is there by then is the
    engine's affair, and that of the host's unit (``faults.host.supervise``). Healed by having both.
    """

    name = "network-late"
    summary = (
        "A host loses its power, and its dockerd starts some seconds before the network has an "
        "address."
    )
    proof = (
        "the host had no address when dockerd started nor shortly before it came, and has it now; "
        "healed: the API answers"
    )
    excludes = (DOCKERD,)

    late: float = parameter(DURATION, "how long after dockerd's start", default="10s")
    _without: bool = state(default=False)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()

    def apply(self) -> None:
        """Boot it without its address, start dockerd, and add the address later."""
        node = self.node.here
        self.node.kill()
        self.node.boot()
        node.network_tool(["ip", "address", "flush", "dev", "eth0", "scope", "global"])
        # dockerd's metrics at that address are the harness's own wish: no host's boot fails by them
        node.network.call(lambda: _NONLOCAL_BIND.write_text("1"))
        before = self._has_address()
        try:
            self.node.dockerd.start()
            time.sleep(self.late)
            self._without = not before and not self._has_address()
        finally:
            self._have_address()

    def evidence(self) -> str:
        """Check that there was no address while dockerd started, and that there is one now."""
        if not self._without:
            raise FaultError(f"{self.node.name} had an address before its network came")
        if not self._has_address():
            raise FaultError(f"{self.node.name} has no address")
        return f"the host had no address for {self.late:g} s, and has {self.node.address} now"

    def undo(self) -> None:
        """Have the address there and dockerd running, if something has come between."""
        if self.node.up and not self._has_address():
            self._have_address()
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the host has its address, and that it answers."""
        if not self._has_address():
            raise FaultError(f"{self.node.name} has no address")
        return self.answers()

    def _has_address(self) -> bool:
        return f" {self.node.address}/" in _addresses(self)

    def _have_address(self) -> None:
        node = self.node.here
        address = f"{self.node.address}/{PREFIX}"
        node.network_tool(["ip", "address", "replace", address, "dev", "eth0"])
        node.network.call(lambda: _NONLOCAL_BIND.write_text("0"))


class HostCloned(NodeFault):
    """A second machine comes up with the swarm state of another that goes on: one identity, twice.

    It is what a cloned virtual machine does, or a disk that was put into a spare. The state is what
    ``faults.host.keep_disk(node)`` kept; the target is the machine that becomes the clone, outside
    the swarm. Healed by giving it back what it had.
    """

    name = "host-cloned"
    summary = "Another machine comes up with the swarm state that was kept of a node."
    needs = ("swarm state that was kept (faults.host.keep_disk), a machine outside the swarm",)
    proof = "its state is the one that was kept, the API answers; healed: it has what it had"
    excludes = (DOCKERD, "the swarm's state on disk")

    of: str = parameter(NAME, "the node whose state was kept", kw_only=False)
    _digests: dict[str, str] = state(factory=dict)

    def precheck(self) -> None:
        """Require state that was kept of another node."""
        self.require_dockerd()
        if self.of == self.node.name:
            raise FaultError(f"{self.of} cannot be a clone of itself: name another node")
        if not self._kept.is_dir():
            raise FaultError(
                f"no state of {self.of} was kept: there is nothing to clone",
                hint="call faults.host.keep_disk(node) earlier in the scenario",
            )

    def apply(self) -> None:
        """Exchange the machine's swarm state for the other's, while it is off."""
        self.node.kill()
        own, aside = state_of(self.node), self._aside
        shutil.rmtree(aside, ignore_errors=True)
        if own.is_dir():
            own.rename(aside)
        else:
            aside.mkdir()
        copy_state(self._kept, own)
        self._digests = digests(own)
        self.node.start()

    def evidence(self) -> str:
        """Check that it began with that state, and that it answers."""
        if self._digests != digests(self._kept):
            raise FaultError(f"{self.node.name} did not start with the state of {self.of}")
        return f"{self.node.name} has the swarm state of {self.of}, {self.answers()}"

    def undo(self) -> None:
        """Cut its power, and give it back what it had."""
        if not self._aside.is_dir():
            return
        if self.node.up:
            self.node.kill()
        shutil.rmtree(state_of(self.node), ignore_errors=True)
        self._aside.rename(state_of(self.node))
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that nothing of the other's is left, and that it answers."""
        if self._aside.exists():
            raise FaultError(f"{self.node.name} has not got its own state back")
        return f"it has its own state again, {self.answers()}"

    @property
    def _kept(self) -> Path:
        return kept_state(self.node.here.dir.with_name(self.of))

    @property
    def _aside(self) -> Path:
        return self.node.here.dir / "own-state"


def _addresses(fault: NodeFault) -> str:
    """What `ip address` says of a node's cable."""
    shown = fault.node.here.network_tool(["ip", "-4", "-o", "address", "show", "dev", "eth0"])
    return shown.text
