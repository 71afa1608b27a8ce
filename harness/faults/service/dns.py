"""Faults of a name server: it is silent, slow, or lies."""

from __future__ import annotations

import ipaddress
from typing import Any

from harness.errors import FaultError, UsageError
from harness.faults.parameter import Parameter, duration
from harness.faults.service.service_fault import ServiceFault
from harness.services import NameServer
from harness.trial import Trial

#: What a lying server may say that is no address.
CODES = ("NXDOMAIN", "SERVFAIL", "REFUSED")

_PATIENCE = 2.0  # s that an honest answer may take, on a slow machine


class _NameServerFault(ServiceFault[NameServer]):
    of = NameServer
    excludes = ("the answers",)

    def precheck(self) -> None:
        """It must know a name to be asked for."""
        super().precheck()
        if not self.service.names:
            raise FaultError(f"{self.service.name} knows no name: nobody could tell what it does")

    def undo(self) -> None:
        """Answer by the table, at once."""
        self.service.behave("serve")

    def evidence_of_healing(self) -> str:
        """A name of its table is answered with its address."""
        name, address = next(iter(self.service.names.items()))
        seen = self.service.resolve(name, _PATIENCE)
        if seen.addresses != (address,):
            raise FaultError(f"{self.service.name} answers {_shown(seen.addresses, seen.code)}")
        return f"{self.service.name} answers {address} for {name}, in {seen.took:.3f} s"

    def ask(self, timeout: float) -> tuple[str, float]:
        """What it says to a name of its table, in a word, and after how many seconds."""
        seen = self.service.resolve(next(iter(self.service.names)), timeout)
        return _shown(seen.addresses, seen.code), seen.took


class NameServerSilent(_NameServerFault):
    """The name server takes questions and answers none."""

    name = "name-server-silent"
    summary = "A name server takes questions and answers none."
    proof = "a question from elsewhere stays without an answer; healed: it is answered rightly"

    def apply(self) -> None:
        """Say nothing."""
        self.service.behave("silent")

    def evidence(self) -> str:
        """A question stays without an answer."""
        said, took = self.ask(1.0)
        if said != "silence":
            raise FaultError(f"{self.service.name} still answers: {said}")
        return f"{self.service.name} has not answered within {took:.1f} s"


class NameServerSlow(_NameServerFault):
    """The name server answers late."""

    name = "name-server-slow"
    summary = "A name server answers rightly, but late."
    parameters = (Parameter("delay", duration, "s", "how late each answer comes", "2s"),)
    proof = "an answer to elsewhere takes that long; healed: it is answered rightly, and sooner"

    def __init__(self, trial: Trial, service: NameServer, *, delay: float = 2.0) -> None:
        super().__init__(trial, service)
        if delay <= 0:
            raise UsageError(f"a name server cannot be {delay:g} s late")
        self.delay = delay

    def describe(self) -> dict[str, Any]:
        """The server, and how late it is."""
        return {**super().describe(), "delay": self.delay}

    def apply(self) -> None:
        """Hold each answer back."""
        self.service.behave("slow", delay=self.delay)

    def evidence(self) -> str:
        """An answer takes that long."""
        said, took = self.ask(self.delay + _PATIENCE)
        if said == "silence" or took < self.delay:
            raise FaultError(f"{self.service.name} answers {said} after {took:.3f} s")
        return f"{self.service.name} answers after {took:.3f} s"


class NameServerLies(_NameServerFault):
    """The name server answers everything with the same untruth."""

    name = "name-server-lies"
    summary = "A name server answers every question with one address, or with an error."
    parameters = (
        Parameter("answer", str, "", f"an IPv4 address, or one of {', '.join(CODES)}", "NXDOMAIN"),
    )
    proof = "a question from elsewhere is answered so; healed: it is answered rightly"

    def __init__(self, trial: Trial, service: NameServer, *, answer: str = "NXDOMAIN") -> None:
        super().__init__(trial, service)
        if answer not in CODES:
            try:
                ipaddress.IPv4Address(answer)
            except ValueError:
                raise UsageError(
                    f"a name server cannot answer {answer!r}",
                    hint=f"an IPv4 address, or one of {', '.join(CODES)}",
                ) from None
        self.answer = answer

    def describe(self) -> dict[str, Any]:
        """The server, and what it says."""
        return {**super().describe(), "answer": self.answer}

    def apply(self) -> None:
        """Say one thing to all."""
        self.service.behave("lie", answer=self.answer)

    def evidence(self) -> str:
        """A question is answered so."""
        said, _ = self.ask(_PATIENCE)
        if said != self.answer:
            raise FaultError(f"{self.service.name} answers {said}, not {self.answer}")
        return f"{self.service.name} answers {said}"


def _shown(addresses: tuple[str, ...], code: str) -> str:
    return " ".join(addresses) or code
