"""The MTU of a node's link, lowered: what a VPN, or a cloud's new network, does to it."""

from harness.errors import FaultError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import COUNT, parameter, state


class LinkMtuLowered(NodeFault):
    """Lower the MTU of a node's link; the overlay's, which dockerd has set, stays as it is."""

    name = "link-mtu-lowered"
    summary = "Lowers the MTU of a node's link; overlay networks keep theirs."
    proof = "the kernel says the new MTU; healed: it says the old one"
    needed_to_heal = ("before",)

    mtu: int = parameter(COUNT.between("576", "1400"), "the MTU in bytes", default="1200")
    before: int = state(0)

    def precheck(self) -> None:
        """Require a link with a larger MTU."""
        self.require_up()
        self.before = self._mtu()
        if self.before <= self.mtu:
            raise FaultError(f"the link of {self.node.name} has an MTU of {self.before} already")

    def apply(self) -> None:
        """Set it."""
        self.node.run(["ip", "link", "set", "eth0", "mtu", str(self.mtu)])

    def evidence(self) -> str:
        """Ask the kernel."""
        return self._is(self.mtu)

    def undo(self) -> None:
        """Set what it was, unless the node went down meanwhile, and its link with it."""
        if self.node.up:
            self.node.run(["ip", "link", "set", "eth0", "mtu", str(self.before)])

    def evidence_of_healing(self) -> str:
        """Ask the kernel."""
        return self._is(self.before)

    def _is(self, expected: int) -> str:
        if self.node.up and (mtu := self._mtu()) != expected:
            raise FaultError(f"the link of {self.node.name} has an MTU of {mtu}, not {expected}")
        return f"eth0 of {self.node.name} has an MTU of {expected}"

    def _mtu(self) -> int:
        return int(self.node.run(["cat", "/sys/class/net/eth0/mtu"]).stdout)
