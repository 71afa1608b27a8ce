"""Faults that any external service can have: refused, unreachable, moved."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from harness.errors import FaultError, UsageError
from harness.faults.fault import Fault
from harness.faults.parameter import state, target
from harness.services.base import Contact, ExternalService
from harness.wait import NotYet, wait_for

S = TypeVar("S", bound=ExternalService)

#: Seconds for an effect to be seen from elsewhere. A service answers a command when it has carried
#: it out; what is left is the network, and a slow guest.
SEEN_WITHIN = 10.0

_SILENCE = 1.0  # s: on a local fabric, a server that has not answered by then will not


class ServiceFault(Fault, Generic[S]):
    """A fault of an external service, carried out by its own server. It ends with the server."""

    acts_on = "service"
    ends_with_process = True
    #: The class of services that can have it.
    of: ClassVar[type[ExternalService]] = ExternalService

    service: S = target(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.service, self.of):
            name = getattr(self.service, "name", self.service)
            raise UsageError(f"{name} is not a {self.of.kind}: {self.name} needs one")

    @property
    def target_name(self) -> str:
        """The service's name."""
        return self.service.name

    def precheck(self) -> None:
        """Require that its server is running."""
        if not self.service.alive:
            raise FaultError(f"the server {self.service.name} has ended: it can have no fault")

    def expect_contact(self, *wanted: Contact, at: str | None = None) -> Contact:
        """Wait for an attempt to connect to end as wanted; :class:`FaultError` if none does."""
        linger = 1.0 if "reset" in wanted else 0.1

        def contact() -> Contact | NotYet:
            seen = self.service.contact(_SILENCE, at=at, linger=linger)
            return seen if seen in wanted else NotYet(f"it is {seen}")

        return wait_for(
            contact,
            state=f"a connection to {self.service.name} to be {' or '.join(wanted)}",
            within=SEEN_WITHIN,
        )

    def evidence_of_healing(self) -> str:
        """Check that a connection is accepted again."""
        self.expect_contact("open")
        return f"{self.service.name} accepts connections"


class ServiceRefused(ServiceFault[ExternalService]):
    """The server's port is closed."""

    name = "service-refused"
    summary = (
        "An external service closes its port and its connections: connections are refused. "
        "Healed by opening the port again."
    )
    proof = "a connection from elsewhere is refused; healed: it is accepted"
    excludes = ("the answers",)

    def apply(self) -> None:
        """Close port and connections."""
        self.service.behave("refuse")

    def evidence(self) -> str:
        """Check that a connection is refused."""
        self.expect_contact("refused")
        return f"{self.service.name} refuses connections"

    def undo(self) -> None:
        """Open the port."""
        self.service.behave("serve")


class ServiceBlackHole(ServiceFault[ExternalService]):
    """Packets to the server vanish."""

    name = "service-black-hole"
    summary = (
        "All packets to an external service's port are dropped, those of open connections too, "
        "silently. Healed by letting them pass."
    )
    proof = "a connection from elsewhere is neither accepted nor refused; healed: it is accepted"
    excludes = ("the packets",)

    def precheck(self) -> None:
        """Require that packets are not dropped already."""
        super().precheck()
        if self.service.unreached:
            raise FaultError(f"packets to {self.service.name} are dropped already")

    def apply(self) -> None:
        """Drop what comes in."""
        self.service.drop_packets()

    def evidence(self) -> str:
        """Check that an attempt to connect gets no answer."""
        self.expect_contact("silent")
        return f"{self.service.name} does not answer"

    def undo(self) -> None:
        """Let packets pass."""
        self.service.pass_packets()


class ServiceMoved(ServiceFault[ExternalService]):
    """The server is at another address."""

    name = "service-moved"
    summary = (
        "An external service moves to another address, as by a restart elsewhere: its name "
        "follows, the old address does not answer. Healed by moving back."
    )
    proof = "the new address accepts a connection, the old one does not; healed: the reverse"
    excludes = ("the address",)

    _old: str = state("")

    def apply(self) -> None:
        """Give it another address."""
        self._old = self.service.address
        self.service.move()

    def evidence(self) -> str:
        """Check that it is reached at the new address and not at the old one."""
        self.expect_contact("open")
        self.expect_contact("silent", "unreachable", at=self._old)
        return f"{self.service.name} is at {self.service.address} and no longer at {self._old}"

    def undo(self) -> None:
        """Give it its first address back."""
        self.service.move_back()

    def evidence_of_healing(self) -> str:
        """Check that it is reached at its first address."""
        self.expect_contact("open")
        return f"{self.service.name} is at {self.service.address} again"
