"""Faults of a name server: it is silent, slow, or lies."""

from __future__ import annotations

import ipaddress

from harness.errors import FaultError, UsageError
from harness.faults.parameter import DURATION, Named, parameter
from harness.faults.service.service_fault import ServiceFault
from harness.services.name_server import NameServer

#: What a lying server may answer instead of an address.
CODES = ("NXDOMAIN", "SERVFAIL", "REFUSED")

_PATIENCE = 2.0  # s that an honest answer may take, on a slow machine


def _answer(text: str) -> str:
    if text not in CODES:
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise UsageError(
                f"{text!r} is not a valid answer: give an IPv4 address or {', '.join(CODES)}"
            ) from None
    return text


class _NameServerFault(ServiceFault[NameServer]):
    of = NameServer
    excludes = ("the answers",)

    def precheck(self) -> None:
        """Require a name that the server can be asked for."""
        super().precheck()
        if not self.service.names:
            raise FaultError(f"{self.service.name} has no names: its faults could not be observed")

    def undo(self) -> None:
        """Answer by the table, at once."""
        self.service.behave("serve")

    def evidence_of_healing(self) -> str:
        """Check that a name of its table is answered with its address."""
        name, address = next(iter(self.service.names.items()))
        seen = self.service.resolve(name, _PATIENCE)
        if seen.addresses != (address,):
            raise FaultError(f"{self.service.name} answers {_shown(seen.addresses, seen.code)}")
        return f"{self.service.name} answers {address} for {name}, in {seen.took:.3f} s"

    def ask(self, timeout: float) -> tuple[str, float]:
        """Return its answer to a name of its table, and after how many seconds it came."""
        seen = self.service.resolve(next(iter(self.service.names)), timeout)
        return _shown(seen.addresses, seen.code), seen.took


class NameServerSilent(_NameServerFault):
    """The name server accepts queries and answers none."""

    name = "name-server-silent"
    summary = "A name server accepts queries and answers none."
    proof = "a query from elsewhere gets no answer; healed: it is answered correctly"

    def apply(self) -> None:
        """Answer nothing."""
        self.service.behave("silent")

    def evidence(self) -> str:
        """Check that a query gets no answer."""
        said, took = self.ask(1.0)
        if said != "silence":
            raise FaultError(f"{self.service.name} still answers: {said}")
        return f"{self.service.name} has not answered within {took:.1f} s"


class NameServerSlow(_NameServerFault):
    """The name server answers late."""

    name = "name-server-slow"
    summary = "A name server answers correctly, but late."
    proof = "an answer to elsewhere takes that long; healed: it is correct, and comes sooner"

    delay: float = parameter(
        DURATION.between("1ms", "1h"), "how late each answer comes", default="2s"
    )

    def apply(self) -> None:
        """Hold each answer back."""
        self.service.behave("slow", delay=self.delay)

    def evidence(self) -> str:
        """Check that an answer takes that long."""
        said, took = self.ask(self.delay + _PATIENCE)
        if said == "silence" or took < self.delay:
            raise FaultError(f"{self.service.name} answers {said} after {took:.3f} s")
        return f"{self.service.name} answers after {took:.3f} s"


class NameServerLies(_NameServerFault):
    """The name server answers everything with the same wrong answer."""

    name = "name-server-lies"
    summary = "A name server answers every query with one address, or with an error."
    proof = "a query from elsewhere gets this answer; healed: the correct one"

    answer: str = parameter(
        Named(_answer), f"an IPv4 address, or one of {', '.join(CODES)}", default="NXDOMAIN"
    )

    def apply(self) -> None:
        """Give one answer to all queries."""
        self.service.behave("lie", answer=self.answer)

    def evidence(self) -> str:
        """Check that a query gets this answer."""
        said, _ = self.ask(_PATIENCE)
        if said != self.answer:
            raise FaultError(f"{self.service.name} answers {said}, not {self.answer}")
        return f"{self.service.name} answers {said}"


def _shown(addresses: tuple[str, ...], code: str) -> str:
    return " ".join(addresses) or code
