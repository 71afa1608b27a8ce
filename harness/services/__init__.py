"""Outside services: real servers on the lab's fabric, at places of their own, that can go wrong."""

from harness.services.gelf_sink import GelfSink
from harness.services.outside import Contact, OutsideService
from harness.services.services import Services

__all__ = ["Contact", "GelfSink", "OutsideService", "Services"]
