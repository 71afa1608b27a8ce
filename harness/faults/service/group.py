"""``faults.service``: faults of outside services, made on record in a trial."""

from __future__ import annotations

from harness.faults.group import FaultGroup
from harness.faults.service.dns import NameServerLies, NameServerSilent, NameServerSlow
from harness.faults.service.gelf import GelfReset, GelfSlow, GelfStalled
from harness.faults.service.registry import (
    RegistryAnswers,
    RegistryManifestLost,
    RegistryPasswordChanged,
    RegistrySlow,
    RegistryTagMoved,
)
from harness.faults.service.service_fault import ServiceBlackHole, ServiceMoved, ServiceRefused
from harness.services import ExternalService, GelfSink, NameServer, Registry


class ServiceFaults(FaultGroup):
    """Faults of outside services (:mod:`harness.services`)."""

    # -- any service ---------------------------------------------------------------------------

    def refused(self, service: ExternalService) -> ServiceRefused:
        """Its port and its connections are closed."""
        return ServiceRefused(self._trial, service)

    def black_hole(self, service: ExternalService) -> ServiceBlackHole:
        """Packets to its port vanish."""
        return ServiceBlackHole(self._trial, service)

    def moved(self, service: ExternalService) -> ServiceMoved:
        """It goes to another address; its name follows."""
        return ServiceMoved(self._trial, service)

    # -- a GELF sink ---------------------------------------------------------------------------

    def gelf_stalled(self, sink: GelfSink) -> GelfStalled:
        """It takes connections and reads nothing."""
        return GelfStalled(self._trial, sink)

    def gelf_slow(self, sink: GelfSink, *, rate: float = 20480.0) -> GelfSlow:
        """It reads ``rate`` bytes a second."""
        return GelfSlow(self._trial, sink, rate=rate)

    def gelf_reset(self, sink: GelfSink) -> GelfReset:
        """It resets every connection."""
        return GelfReset(self._trial, sink)

    # -- a name server -------------------------------------------------------------------------

    def name_server_silent(self, server: NameServer) -> NameServerSilent:
        """It answers nothing."""
        return NameServerSilent(self._trial, server)

    def name_server_slow(self, server: NameServer, *, delay: float = 2.0) -> NameServerSlow:
        """It answers ``delay`` seconds late."""
        return NameServerSlow(self._trial, server, delay=delay)

    def name_server_lies(self, server: NameServer, *, answer: str = "NXDOMAIN") -> NameServerLies:
        """It answers all with ``answer``: an IPv4 address, or NXDOMAIN, SERVFAIL, REFUSED."""
        return NameServerLies(self._trial, server, answer=answer)

    # -- a registry ----------------------------------------------------------------------------

    def registry_answers(self, registry: Registry, *, status: int) -> RegistryAnswers:
        """It answers every request with ``status``: 401, 403, 404, 429 or 5xx."""
        return RegistryAnswers(self._trial, registry, status=status)

    def registry_slow(self, registry: Registry, *, delay: float = 10.0) -> RegistrySlow:
        """Each of its answers comes ``delay`` seconds late."""
        return RegistrySlow(self._trial, registry, delay=delay)

    def registry_tag_moved(
        self, registry: Registry, *, repository: str, tag: str, to: str
    ) -> RegistryTagMoved:
        """A tag names the image of the tag ``to``."""
        return RegistryTagMoved(self._trial, registry, repository=repository, tag=tag, to=to)

    def registry_manifest_lost(
        self, registry: Registry, *, repository: str, tag: str
    ) -> RegistryManifestLost:
        """An image's manifest is gone, and all tags that name it."""
        return RegistryManifestLost(self._trial, registry, repository=repository, tag=tag)

    def registry_password_changed(self, registry: Registry) -> RegistryPasswordChanged:
        """Who has the old password is refused."""
        return RegistryPasswordChanged(self._trial, registry)
