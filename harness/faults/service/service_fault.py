"""Faults that any outside service can have: refused, unreachable, moved."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from harness.errors import FaultError, UsageError
from harness.faults.fault import Fault
from harness.services import Contact, ExternalService
from harness.trial import Trial
from harness.wait import NotYet, wait_for

S = TypeVar("S", bound=ExternalService)

#: Seconds for an effect to be seen from elsewhere. Orders are carried out before they are
#: answered; what is left is the network's, and a slow guest's.
SEEN_WITHIN = 10.0

_SILENCE = 1.0  # s: on a fabric without distances, who has not answered by then will not


class ServiceFault(Fault, Generic[S]):
    """A fault of an outside service, which its own server plays. It ends with the server."""

    acts_on = "service"
    lives_here = True
    #: The class of services that can have it.
    of: ClassVar[type[ExternalService]] = ExternalService

    def __init__(self, trial: Trial, service: S) -> None:
        super().__init__(trial)
        if not isinstance(service, self.of):
            raise UsageError(
                f"{getattr(service, 'name', service)} is no {self.of.kind}: "
                f"{self.name} cannot happen to it"
            )
        self.service = service

    def describe(self) -> dict[str, Any]:
        """The service."""
        return {"target": self.service.name}

    def precheck(self) -> None:
        """Its server must be running, and be well."""
        if not self.service.alive:
            raise FaultError(f"the server {self.service.name} has ended: it cannot fail any more")

    def expect_contact(self, *wanted: Contact, at: str | None = None) -> Contact:
        """Have an attempt to connect end as wanted, soon; :class:`FaultError` if it does not."""
        linger = 1.0 if "reset" in wanted else 0.1

        def contact() -> Contact | NotYet:
            seen = self.service.contact(_SILENCE, at=at, linger=linger)
            return seen if seen in wanted else NotYet(f"it is {seen}")

        return wait_for(
            contact,
            state=f"a connection to {self.service.name} to be {' or '.join(wanted)}",
            within=SEEN_WITHIN,
        )

    def heard_again(self) -> str:
        """A connection is taken again."""
        self.expect_contact("open")
        return f"{self.service.name} takes connections"

    def evidence_of_healing(self) -> str:
        """A connection is taken again."""
        return self.heard_again()


class ServiceRefused(ServiceFault[ExternalService]):
    """The server's port is closed."""

    name = "service-refused"
    summary = (
        "An outside service closes its port and its connections: whoever connects is refused. "
        "Healed by opening the port again."
    )
    proof = "a connection from elsewhere is refused; healed: it is taken"
    excludes = ("the answers",)

    def apply(self) -> None:
        """Close port and connections."""
        self.service.behave("refuse")

    def evidence(self) -> str:
        """A connection is refused."""
        self.expect_contact("refused")
        return f"{self.service.name} refuses connections"

    def undo(self) -> None:
        """Open the port."""
        self.service.behave("serve")


class ServiceBlackHole(ServiceFault[ExternalService]):
    """Packets to the server vanish."""

    name = "service-black-hole"
    summary = (
        "All packets to an outside service's port are dropped, those of open connections too, "
        "and nobody is told. Healed by letting them pass."
    )
    proof = "a connection from elsewhere is neither taken nor refused; healed: it is taken"
    excludes = ("the packets",)

    def precheck(self) -> None:
        """The rules must not be there yet."""
        super().precheck()
        if self.service.unreached:
            raise FaultError(f"packets to {self.service.name} are dropped already")

    def apply(self) -> None:
        """Drop what comes in."""
        self.service.drop_packets()

    def evidence(self) -> str:
        """A connection is answered by nothing."""
        self.expect_contact("silent")
        return f"{self.service.name} answers nothing"

    def undo(self) -> None:
        """Let packets pass."""
        self.service.pass_packets()


class ServiceMoved(ServiceFault[ExternalService]):
    """The server is at another address."""

    name = "service-moved"
    summary = (
        "An outside service goes to another address, as a restart elsewhere would take it: its "
        "name follows, connections to the old address hear nothing. Healed by its return."
    )
    proof = "the new address takes a connection, the old one does not; healed: the other way round"
    excludes = ("the address",)

    def __init__(self, trial: Trial, service: ExternalService) -> None:
        super().__init__(trial, service)
        self._old = ""

    def apply(self) -> None:
        """Give it another address."""
        self._old = self.service.address
        self.service.move()

    def evidence(self) -> str:
        """It is reached at the new address and not at the old."""
        self.expect_contact("open")
        self.expect_contact("silent", "unreachable", at=self._old)
        return f"{self.service.name} is at {self.service.address} and no longer at {self._old}"

    def undo(self) -> None:
        """Give it its first address back."""
        self.service.move_back()

    def evidence_of_healing(self) -> str:
        """It is reached at its first address."""
        self.expect_contact("open")
        return f"{self.service.name} is at {self.service.address} again"
