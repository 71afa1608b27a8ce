"""Outside services: real servers on the lab's fabric, at places of their own, that can go wrong."""

from harness.services.base import Contact, OutsideService
from harness.services.gelf_sink import GelfSink
from harness.services.name_server import NameServer, Resolved
from harness.services.registry import Registry, Reply
from harness.services.services import Services, Stock

__all__ = [
    "Contact",
    "GelfSink",
    "NameServer",
    "OutsideService",
    "Registry",
    "Reply",
    "Resolved",
    "Services",
    "Stock",
]
