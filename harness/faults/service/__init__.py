"""Faults of outside services: they refuse, vanish, move, stand still, or answer wrongly."""

from harness.faults.service.dns import NameServerLies, NameServerSilent, NameServerSlow
from harness.faults.service.gelf import GelfReset, GelfSlow, GelfStalled
from harness.faults.service.group import ServiceFaults
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
