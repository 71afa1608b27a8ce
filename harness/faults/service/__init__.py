"""Faults of outside services: they refuse, vanish, move, stand still, or answer wrongly."""

from harness.faults.service.gelf import GelfReset, GelfSlow, GelfStalled
from harness.faults.service.group import ServiceFaults
from harness.faults.service.outside import (
    ServiceBlackHole,
    ServiceFault,
    ServiceMoved,
    ServiceRefused,
)

__all__ = [
    "GelfReset",
    "GelfSlow",
    "GelfStalled",
    "ServiceBlackHole",
    "ServiceFault",
    "ServiceFaults",
    "ServiceMoved",
    "ServiceRefused",
]
