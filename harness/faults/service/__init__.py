"""Faults of external services: they refuse, vanish, move, stall, or answer wrongly."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.factory import made_by
from harness.faults.service.dns import NameServerLies, NameServerSilent, NameServerSlow
from harness.faults.service.gelf import GelfReset, GelfSlow, GelfStalled
from harness.faults.service.registry import (
    RegistryAnswers,
    RegistryManifestLost,
    RegistryPasswordChanged,
    RegistrySlow,
    RegistryTagMoved,
)
from harness.faults.service.service_fault import (
    ServiceBlackHole,
    ServiceFault,
    ServiceMoved,
    ServiceRefused,
)
from harness.trial import Trial


@dataclass(frozen=True)
class ServiceFaults:
    """``faults.service``: faults of external services (:mod:`harness.services`).

    ::

        with faults.service.registry_answers(registry, status=429):
            ...
    """

    trial: Trial

    refused = made_by(ServiceRefused)
    black_hole = made_by(ServiceBlackHole)
    moved = made_by(ServiceMoved)
    gelf_stalled = made_by(GelfStalled)
    gelf_slow = made_by(GelfSlow)
    gelf_reset = made_by(GelfReset)
    name_server_silent = made_by(NameServerSilent)
    name_server_slow = made_by(NameServerSlow)
    name_server_lies = made_by(NameServerLies)
    registry_answers = made_by(RegistryAnswers)
    registry_slow = made_by(RegistrySlow)
    registry_tag_moved = made_by(RegistryTagMoved)
    registry_manifest_lost = made_by(RegistryManifestLost)
    registry_password_changed = made_by(RegistryPasswordChanged)


__all__ = [
    "GelfReset",
    "GelfSlow",
    "GelfStalled",
    "NameServerLies",
    "NameServerSilent",
    "NameServerSlow",
    "RegistryAnswers",
    "RegistryManifestLost",
    "RegistryPasswordChanged",
    "RegistrySlow",
    "RegistryTagMoved",
    "ServiceBlackHole",
    "ServiceFault",
    "ServiceFaults",
    "ServiceMoved",
    "ServiceRefused",
]
