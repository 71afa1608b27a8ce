"""``faults.service``: faults of outside services, made on record in a trial."""

from __future__ import annotations

from harness.faults.group import FaultGroup
from harness.faults.service.gelf import GelfReset, GelfSlow, GelfStalled
from harness.faults.service.outside import ServiceBlackHole, ServiceMoved, ServiceRefused
from harness.services import GelfSink, OutsideService


class ServiceFaults(FaultGroup):
    """Faults of outside services (:mod:`harness.services`)."""

    # -- any service ---------------------------------------------------------------------------

    def refused(self, service: OutsideService) -> ServiceRefused:
        """Its port and its connections are closed."""
        return self._keep(ServiceRefused(self._trial, service))

    def black_hole(self, service: OutsideService) -> ServiceBlackHole:
        """Packets to its port vanish."""
        return self._keep(ServiceBlackHole(self._trial, service))

    def moved(self, service: OutsideService) -> ServiceMoved:
        """It goes to another address; its name follows."""
        return self._keep(ServiceMoved(self._trial, service))

    # -- a GELF sink ---------------------------------------------------------------------------

    def gelf_stalled(self, sink: GelfSink) -> GelfStalled:
        """It takes connections and reads nothing."""
        return self._keep(GelfStalled(self._trial, sink))

    def gelf_slow(self, sink: GelfSink, *, rate: float = 20480.0) -> GelfSlow:
        """It reads ``rate`` bytes a second."""
        return self._keep(GelfSlow(self._trial, sink, rate=rate))

    def gelf_reset(self, sink: GelfSink) -> GelfReset:
        """It resets every connection."""
        return self._keep(GelfReset(self._trial, sink))
